//! What becomes of who has connected when we end.

use allcores::cluster::Sharing;
use allcores::cluster::balancer::Choice;

use crate::primary::{Primary, query};

const ROUND_ROBIN: Sharing = Sharing::HandOver(Choice::RoundRobin);

#[test]
fn whoever_is_in_is_accepted_and_offered_and_nobody_else_is_let_in() {
    let mut primary = Primary::quick(ROUND_ROBIN, 1);
    primary.clients(9);
    primary.chapter();
    primary.closes();
    primary.answers(1, 2, true);
    primary.pass(10);
    // One had sent its first packet.
    primary.clients(1);
    primary.pass(190);
    primary.is_told_to_leave(1, false);
    primary.answers(1, 3, true);
    primary.went(
        "
           0 we end
             - let nobody in at listener 0
             - accept up to 64 at listener 0
           0 1: HANDLE_ACK | accepted=true ack=2 seq=9
             - close connection 1
             - to 1: (net.Native) newconn key=:8000:4:-1 seq=10, with connection 9
          10 clients: 1
             - accept up to 64 at listener 0
         150 deadline
             - accept up to 64 at listener 0
             - close listener 0
         200 1 is told to leave
             - to 1: disconnect seq=11
             - close connection 10
         200 1: HANDLE_ACK | accepted=true ack=3 seq=9
             - close connection 2",
    );
}

#[test]
fn what_nobody_in_rotation_can_take_is_closed() {
    let mut primary = Primary::quick(ROUND_ROBIN, 2);
    primary.clients(20);
    primary.closes();
    primary.chapter();
    primary.is_told_to_leave(1, false);
    primary.is_told_to_leave(2, false);
    primary.ends(2);
    primary.went(
        "
           0 1 is told to leave
             - to 1: disconnect seq=10
           0 2 is told to leave
             - to 2: disconnect seq=10
             - close connection 18
             - close connection 19
             - close connection 20
             - close connection 21
           0 channel of 2 ends
             - close connection 3
             - close connection 5
             - close connection 7
             - close connection 9
             - close connection 11
             - close connection 13
             - close connection 15
             - close connection 17",
    );
}

#[test]
fn where_workers_accept_nobody_else_is_let_in_either() {
    for sharing in [Sharing::OneForAll, Sharing::OnePerSlot] {
        let mut primary = Primary::serving(sharing, 1);
        // Datagrams do not connect, and a UNIX socket cannot be shut without the workers taking that for an error.
        primary
            .says(1, r#"{"cmd":"NODE_CLUSTER","act":"queryServer","addressType":"udp4","port":53,"seq":2}"#);
        primary.says(
            1,
            r#"{"cmd":"NODE_CLUSTER","act":"queryServer","address":"/s","addressType":-1,"port":-1,"seq":3}"#,
        );
        primary.chapter();
        primary.closes();
        primary.went(
            "
               0 we end
                 - let nobody in at listener 0",
        );
    }
}

#[test]
fn nobody_gets_a_listener_any_more() {
    let mut primary = Primary::serving(ROUND_ROBIN, 1);
    primary.closes();
    primary.chapter();
    primary.says(1, &query(5, 9000));
    primary.joins(2);
    primary.says(2, &query(1, 8000));
    primary.went(
        "
             0 1: queryServer port=9000 seq=5
             0 2: queryServer port=8000 seq=1",
    );
}
