//! Who gets a connection, and what becomes of one that nobody takes.

use allcores::cluster::Sharing;
use allcores::cluster::balancer::Choice;

use crate::primary::{ACK, NACK, Primary, answer, key, query};

const ROUND_ROBIN: Sharing = Sharing::HandOver(Choice::RoundRobin);

#[test]
fn whoever_has_been_free_for_longest_is_next() {
    let mut primary = Primary::serving(ROUND_ROBIN, 2);
    primary.clients(1);
    primary.answers(1, 1, true);
    primary.clients(1);
    primary.answers(2, 1, true);
    primary.clients(1);
    primary.went(
        "
           0 clients: 1
             - accept up to 2 at listener 0
             - to 1: (net.Native) newconn key=:8000:4:-1 seq=1, with connection 0
           0 1: HANDLE_ACK | accepted=true ack=1 seq=9
             - close connection 0
           0 clients: 1
             - accept up to 9 at listener 0
             - to 2: (net.Native) newconn key=:8000:4:-1 seq=1, with connection 1
           0 2: HANDLE_ACK | accepted=true ack=1 seq=9
             - close connection 1
           0 clients: 1
             - accept up to 16 at listener 0
             - to 1: (net.Native) newconn key=:8000:4:-1 seq=2, with connection 2",
    );
}

#[test]
fn what_nobody_has_room_for_stays_in_the_kernel() {
    let mut primary = Primary::quick(ROUND_ROBIN, 2);
    primary.clients(18);
    primary.answers(2, 2, true);
    primary.went(
        "
           0 clients: 18
             - accept up to 16 at listener 0
             - to 1: (net.Native) newconn key=:8000:4:-1 seq=2, with connection 2
             - to 2: (net.Native) newconn key=:8000:4:-1 seq=2, with connection 3
             - to 1: (net.Native) newconn key=:8000:4:-1 seq=3, with connection 4
             - to 2: (net.Native) newconn key=:8000:4:-1 seq=3, with connection 5
             - to 1: (net.Native) newconn key=:8000:4:-1 seq=4, with connection 6
             - to 2: (net.Native) newconn key=:8000:4:-1 seq=4, with connection 7
             - to 1: (net.Native) newconn key=:8000:4:-1 seq=5, with connection 8
             - to 2: (net.Native) newconn key=:8000:4:-1 seq=5, with connection 9
             - to 1: (net.Native) newconn key=:8000:4:-1 seq=6, with connection 10
             - to 2: (net.Native) newconn key=:8000:4:-1 seq=6, with connection 11
             - to 1: (net.Native) newconn key=:8000:4:-1 seq=7, with connection 12
             - to 2: (net.Native) newconn key=:8000:4:-1 seq=7, with connection 13
             - to 1: (net.Native) newconn key=:8000:4:-1 seq=8, with connection 14
             - to 2: (net.Native) newconn key=:8000:4:-1 seq=8, with connection 15
             - to 1: (net.Native) newconn key=:8000:4:-1 seq=9, with connection 16
             - to 2: (net.Native) newconn key=:8000:4:-1 seq=9, with connection 17
           0 2: HANDLE_ACK | accepted=true ack=2 seq=9
             - close connection 3
             - accept up to 1 at listener 0
             - to 2: (net.Native) newconn key=:8000:4:-1 seq=10, with connection 18",
    );
}

#[test]
fn who_has_the_fewest_to_answer_is_next() {
    let mut primary = Primary::quick(ROUND_ROBIN, 2);
    primary.clients(2);
    primary.answers(2, 2, true);
    primary.clients(1);
    primary.answers(2, 3, true);
    primary.clients(2);
    primary.went(
        "
           0 clients: 2
             - accept up to 16 at listener 0
             - to 1: (net.Native) newconn key=:8000:4:-1 seq=2, with connection 2
             - to 2: (net.Native) newconn key=:8000:4:-1 seq=2, with connection 3
           0 2: HANDLE_ACK | accepted=true ack=2 seq=9
             - close connection 3
           0 clients: 1
             - accept up to 15 at listener 0
             - to 2: (net.Native) newconn key=:8000:4:-1 seq=3, with connection 4
           0 2: HANDLE_ACK | accepted=true ack=3 seq=9
             - close connection 4
           0 clients: 2
             - accept up to 15 at listener 0
             - to 2: (net.Native) newconn key=:8000:4:-1 seq=4, with connection 5
             - to 1: (net.Native) newconn key=:8000:4:-1 seq=3, with connection 6",
    );
}

#[test]
fn whoever_has_taken_one_a_moment_ago_may_have_several() {
    let mut primary = Primary::serving(ROUND_ROBIN, 1);
    primary.clients(4);
    primary.answers(1, 1, true);
    primary.pass(5);
    primary.answers(1, 2, true);
    primary.pass(5);
    primary.clients(1);
    primary.went(
        "
           0 clients: 4
             - accept up to 1 at listener 0
             - to 1: (net.Native) newconn key=:8000:4:-1 seq=1, with connection 0
           0 1: HANDLE_ACK | accepted=true ack=1 seq=9
             - close connection 0
             - accept up to 8 at listener 0
             - to 1: (net.Native) newconn key=:8000:4:-1 seq=2, with connection 1
             - to 1: (net.Native) newconn key=:8000:4:-1 seq=3, with connection 2
             - to 1: (net.Native) newconn key=:8000:4:-1 seq=4, with connection 3
           5 1: HANDLE_ACK | accepted=true ack=2 seq=9
             - close connection 1
          10 clients: 1",
    );
}

#[test]
fn answers_may_come_in_any_order() {
    let mut primary = Primary::quick(ROUND_ROBIN, 2);
    primary.clients(4);
    primary.says(1, ACK);
    primary.says(1, ACK);
    primary.says(1, &answer(3, true));
    primary.says(1, &answer(2, false));
    primary.says(1, &answer(2, true));
    primary.went(
        "
           0 clients: 4
             - accept up to 16 at listener 0
             - to 1: (net.Native) newconn key=:8000:4:-1 seq=2, with connection 2
             - to 2: (net.Native) newconn key=:8000:4:-1 seq=2, with connection 3
             - to 1: (net.Native) newconn key=:8000:4:-1 seq=3, with connection 4
             - to 2: (net.Native) newconn key=:8000:4:-1 seq=3, with connection 5
           0 1: HANDLE_ACK
           0 1: HANDLE_ACK
           0 1: accepted=true ack=3 seq=9
             - close connection 4
           0 1: accepted=false ack=2 seq=9
             - to 2: (net.Native) newconn key=:8000:4:-1 seq=4, with connection 2
           0 1: accepted=true ack=2 seq=9",
    );
}

#[test]
fn a_connection_that_is_declined_is_offered_to_another_and_all_declining_is_a_pause() {
    let mut primary = Primary::serving(ROUND_ROBIN, 2);
    primary.clients(1);
    primary.answers(1, 1, false);
    primary.answers(2, 1, false);
    primary.pass(100);
    primary.answers(1, 2, false);
    primary.answers(2, 2, true);
    primary.pass(10_000);
    primary.went(
        "
             0 clients: 1
               - accept up to 2 at listener 0
               - to 1: (net.Native) newconn key=:8000:4:-1 seq=1, with connection 0
             0 1: HANDLE_ACK | accepted=false ack=1 seq=9
               - to 2: (net.Native) newconn key=:8000:4:-1 seq=1, with connection 0
             0 2: HANDLE_ACK | accepted=false ack=1 seq=9
            10 deadline
               - to 1: (net.Native) newconn key=:8000:4:-1 seq=2, with connection 0
           100 1: HANDLE_ACK | accepted=false ack=2 seq=9
               - to 2: (net.Native) newconn key=:8000:4:-1 seq=2, with connection 0
           100 2: HANDLE_ACK | accepted=true ack=2 seq=9
               - close connection 0",
    );
}

#[test]
fn declined_by_all_that_are_left_is_declined_by_all() {
    let mut primary = Primary::serving(ROUND_ROBIN, 2);
    primary.clients(1);
    primary.answers(1, 1, false);
    primary.ends(2);
    primary.pass(100);
    primary.answers(1, 2, true);
    primary.went(
        "
             0 clients: 1
               - accept up to 2 at listener 0
               - to 1: (net.Native) newconn key=:8000:4:-1 seq=1, with connection 0
             0 1: HANDLE_ACK | accepted=false ack=1 seq=9
               - to 2: (net.Native) newconn key=:8000:4:-1 seq=1, with connection 0
             0 channel of 2 ends
            10 deadline
               - to 1: (net.Native) newconn key=:8000:4:-1 seq=2, with connection 0
           100 1: HANDLE_ACK | accepted=true ack=2 seq=9
               - close connection 0",
    );
}

#[test]
fn while_all_decline_nothing_is_accepted_for_them_and_then_they_are_tried_with_one() {
    let mut primary = Primary::quick(ROUND_ROBIN, 1);
    primary.clients(2);
    primary.answers(1, 2, false);
    primary.answers(1, 3, false);
    primary.clients(1);
    primary.pass(10);
    primary.answers(1, 4, true);
    primary.went(
        "
           0 clients: 2
             - accept up to 8 at listener 0
             - to 1: (net.Native) newconn key=:8000:4:-1 seq=2, with connection 1
             - to 1: (net.Native) newconn key=:8000:4:-1 seq=3, with connection 2
           0 1: HANDLE_ACK | accepted=false ack=2 seq=9
           0 1: HANDLE_ACK | accepted=false ack=3 seq=9
           0 clients: 1
          10 deadline
             - to 1: (net.Native) newconn key=:8000:4:-1 seq=4, with connection 1
          10 1: HANDLE_ACK | accepted=true ack=4 seq=9
             - close connection 1
             - to 1: (net.Native) newconn key=:8000:4:-1 seq=5, with connection 2
             - accept up to 7 at listener 0
             - to 1: (net.Native) newconn key=:8000:4:-1 seq=6, with connection 3",
    );
}

#[test]
fn a_worker_without_descriptors_is_left_alone_for_a_while() {
    let mut primary = Primary::serving(ROUND_ROBIN, 1);
    primary.clients(1);
    primary.says(1, NACK);
    primary.pass(1000);
    primary.went(
        "
             0 clients: 1
               - accept up to 1 at listener 0
               - to 1: (net.Native) newconn key=:8000:4:-1 seq=1, with connection 0
             0 1: HANDLE_NACK
           500 deadline
               - to 1: (net.Native) newconn key=:8000:4:-1 seq=2, with connection 0",
    );
}

#[test]
fn what_a_dead_worker_did_not_answer_is_offered_to_the_next_but_not_for_ever() {
    let mut primary = Primary::serving(ROUND_ROBIN, 4);
    primary.clients(1);
    primary.says(1, ACK);
    primary.ends(1);
    primary.ends(2);
    primary.ends(3);
    primary.went(
        "
             0 clients: 1
               - accept up to 4 at listener 0
               - to 1: (net.Native) newconn key=:8000:4:-1 seq=1, with connection 0
             0 1: HANDLE_ACK
             0 channel of 1 ends
               - to 2: (net.Native) newconn key=:8000:4:-1 seq=1, with connection 0
             0 channel of 2 ends
               - to 3: (net.Native) newconn key=:8000:4:-1 seq=1, with connection 0
             0 channel of 3 ends
               - close connection 0",
    );
}

#[test]
fn only_what_a_dead_worker_had_next_in_hand_counts_its_death() {
    let mut primary = Primary::quick(ROUND_ROBIN, 1);
    primary.clients(2);
    for worker in 2..=4 {
        primary.ends(worker - 1);
        primary.joins(worker);
        primary.says(worker, &query(1, 8000));
    }
    primary.chapter();
    primary.ends(4);
    primary.joins(5);
    primary.says(5, &query(1, 8000));
    primary.went(
        "
             0 channel of 4 ends
             0 5: queryServer port=8000 seq=1
               - to 5: ack=1 errno=0 key=:8000:4:-1 seq=0
               - to 5: (net.Native) newconn key=:8000:4:-1 seq=1, with connection 2",
    );
}

#[test]
fn a_request_made_while_nobody_lives_is_the_next_workers() {
    let mut primary = Primary::serving(ROUND_ROBIN, 1);
    primary.ends(1);
    primary.clients(1);
    primary.pass(5000);
    primary.joins(2);
    primary.says(2, &query(1, 8000));
    primary.went(
        "
             0 channel of 1 ends
             0 clients: 1
          5000 2: queryServer port=8000 seq=1
               - to 2: ack=1 errno=0 key=:8000:4:-1 seq=0
               - accept up to 1 at listener 0
               - to 2: (net.Native) newconn key=:8000:4:-1 seq=1, with connection 0",
    );
}

#[test]
fn a_worker_that_closes_and_listens_again_still_answers_what_it_was_offered() {
    let mut primary = Primary::serving(ROUND_ROBIN, 1);
    primary.clients(1);
    primary.says(1, &format!(r#"{{"cmd":"NODE_CLUSTER","act":"close","key":"{}","seq":2}}"#, key(8000)));
    primary.says(1, &query(3, 8000));
    primary.answers(1, 1, false);
    primary.pass(10);
    primary.went(
        "
             0 clients: 1
               - accept up to 1 at listener 0
               - to 1: (net.Native) newconn key=:8000:4:-1 seq=1, with connection 0
             0 1: close key=:8000:4:-1 seq=2
             0 1: queryServer port=8000 seq=3
               - to 1: ack=3 errno=0 key=:8000:4:-1 seq=2
             0 1: HANDLE_ACK | accepted=false ack=1 seq=9
            10 deadline
               - to 1: (net.Native) newconn key=:8000:4:-1 seq=3, with connection 0",
    );
}

#[test]
fn a_worker_out_of_rotation_keeps_what_it_was_offered_and_gets_nothing_more() {
    let mut primary = Primary::serving(ROUND_ROBIN, 2);
    primary.clients(2);
    primary.is_retired(1);
    primary.answers(1, 1, true);
    primary.clients(2);
    primary.went(
        "
             0 clients: 2
               - accept up to 2 at listener 0
               - to 1: (net.Native) newconn key=:8000:4:-1 seq=1, with connection 0
               - to 2: (net.Native) newconn key=:8000:4:-1 seq=1, with connection 1
             0 1 is retired
             0 1: HANDLE_ACK | accepted=true ack=1 seq=9
               - close connection 0
             0 clients: 2",
    );
}

#[test]
fn a_failure_to_accept_is_tried_again_soon_and_not_at_once() {
    let mut primary = Primary::serving(ROUND_ROBIN, 1);
    primary.cannot_accept(true);
    primary.clients(1);
    primary.pass(250);
    primary.cannot_accept(false);
    primary.pass(100);
    primary.went(
        "
             0 clients: 1
               - accept up to 1 at listener 0
           100 deadline
               - accept up to 1 at listener 0
           200 deadline
               - accept up to 1 at listener 0
           300 deadline
               - accept up to 1 at listener 0
               - to 1: (net.Native) newconn key=:8000:4:-1 seq=1, with connection 0",
    );
}

#[test]
fn one_address_has_one_worker() {
    let mut primary = Primary::serving(Sharing::HandOver(Choice::SourceIp), 3);
    let mut seen = Vec::new();
    for (turn, address) in ["192.0.2.1", "192.0.2.1", "2001:db8::1", "192.0.2.1"].into_iter().enumerate() {
        primary.chapter();
        primary.client_of(address);
        let worker: u64 = (1..=3)
            .find(|worker| primary.transcript().contains(&format!("to {worker}: (net.Native)")))
            .unwrap();
        let seq = 1 + seen.iter().filter(|seen| **seen == worker).count() as u64;
        primary.says(worker, ACK);
        primary.says(worker, &answer(seq, true));
        assert!(primary.transcript().contains(&format!("close connection {turn}")));
        seen.push(worker);
    }
    assert!(seen[0] == seen[1] && seen[1] == seen[3], "{seen:?}");
}
