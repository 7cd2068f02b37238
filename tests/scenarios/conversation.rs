//! What is said between the primary and a worker.

use allcores::cluster::Sharing;
use allcores::cluster::balancer::Choice;

use crate::primary::{ACK, NACK, Primary, answer, key, query, says};

const ROUND_ROBIN: Sharing = Sharing::HandOver(Choice::RoundRobin);

#[test]
fn the_first_who_asks_has_it_bound_and_all_are_given_its_name() {
    let mut primary = Primary::new(ROUND_ROBIN);
    primary.joins(1);
    primary.joins(2);
    primary.says(1, &says("online", 0));
    primary.says(1, &query(1, 8000));
    primary.says(1, &says("listening", 2));
    primary.says(2, &query(1, 8000));
    primary.went(
        "
             0 1: online seq=0
             0 1: queryServer port=8000 seq=1
               - bind listener 0: TCP *:8000
               - to 1: ack=1 errno=0 key=:8000:4:-1 seq=0
             0 1: listening seq=2
               - worker 1 listens
             0 2: queryServer port=8000 seq=1
               - to 2: ack=1 errno=0 key=:8000:4:-1 seq=0",
    );
}

#[test]
fn one_socket_for_all_is_given_away() {
    let mut primary = Primary::new(Sharing::OneForAll);
    primary.joins(1);
    primary.joins(2);
    primary.says(1, &query(1, 8000));
    primary.says(2, &query(1, 8000));
    primary.says(1, ACK);
    primary.went(
        "
             0 1: queryServer port=8000 seq=1
               - bind listener 0: TCP *:8000
               - to 1: (net.Native) ack=1 errno=0 key=:8000:4:-1 seq=0, with listener 0
             0 2: queryServer port=8000 seq=1
               - to 2: (net.Native) ack=1 errno=0 key=:8000:4:-1 seq=0, with listener 0
             0 1: HANDLE_ACK",
    );
}

#[test]
fn one_socket_for_each_slot_has_one_port() {
    let mut primary = Primary::new(Sharing::OnePerSlot);
    primary.joins(1);
    primary.joins(2);
    primary.says(1, &query(1, 0));
    primary.says(2, &query(1, 0));
    primary.went(
        "
             0 1: queryServer port=0 seq=1
               - bind listener 0: TCP *:0
               - to 1: (net.Native) ack=1 errno=0 key=:0:4:-1:0 seq=0, with listener 0
             0 2: queryServer port=0 seq=1
               - bind listener 1: TCP *:40000
               - to 2: (net.Native) ack=1 errno=0 key=:0:4:-1:0 seq=0, with listener 1",
    );
}

#[test]
fn udp_is_given_away_however_connections_are_balanced() {
    let mut primary = Primary::new(ROUND_ROBIN);
    primary.joins(1);
    primary.says(1, r#"{"cmd":"NODE_CLUSTER","act":"queryServer","address":"127.0.0.1","addressType":"udp4","port":53,"fd":-1,"index":0,"seq":1}"#);
    primary.went(
        "
             0 1: queryServer address=127.0.0.1 fd=-1 port=53 seq=1
               - bind listener 0: UDP 127.0.0.1:53
               - to 1: (dgram.Native) ack=1 errno=0 key=127.0.0.1:53:udp4:-1 seq=0, with listener 0",
    );
}

#[test]
fn what_cannot_be_bound_is_an_error_and_may_be_asked_for_again() {
    let mut primary = Primary::new(ROUND_ROBIN);
    primary.joins(1);
    primary.cannot_bind(Some(-98));
    primary.says(1, &query(1, 8000));
    primary.cannot_bind(None);
    primary.says(1, &query(2, 8000));
    primary.says(1, &query(3, 8000));
    primary.went(
        "
             0 1: queryServer port=8000 seq=1
               - bind listener 0: TCP *:8000
               - to 1: ack=1 errno=-98 key=:8000:4:-1 seq=0
             0 1: queryServer port=8000 seq=2
               - bind listener 1: TCP *:8000
               - to 1: ack=2 errno=0 key=:8000:4:-1 seq=1
             0 1: queryServer port=8000 seq=3
               - to 1: ack=3 errno=-98 key=:8000:4:-1 seq=2",
    );
}

#[test]
fn what_the_first_servers_data_are_everybody_is_told() {
    let mut primary = Primary::new(ROUND_ROBIN);
    primary.joins(1);
    primary.joins(2);
    let with = |data: &str| query(1, 443).replace(r#""data":null"#, &format!(r#""data":"{data}""#));
    primary.says(1, &with("first"));
    primary.says(2, &with("second"));
    primary.went(
        "
             0 1: queryServer data=first port=443 seq=1
               - bind listener 0: TCP *:443
               - to 1: ack=1 data=first errno=0 key=:443:4:-1 seq=0
             0 2: queryServer data=second port=443 seq=1
               - to 2: ack=1 data=first errno=0 key=:443:4:-1 seq=0",
    );
}

#[test]
fn a_worker_that_leaves_by_itself_is_acknowledged_and_offered_nothing_more() {
    let mut primary = Primary::serving(ROUND_ROBIN, 1);
    primary.says(1, &says("exitedAfterDisconnect", 7));
    primary.clients(1);
    primary.says(1, &query(8, 9000));
    primary.ends(1);
    primary.went(
        "
             0 1: exitedAfterDisconnect seq=7
               - to 1: ack=7 seq=1
             0 clients: 1
             0 1: queryServer port=9000 seq=8
             0 channel of 1 ends",
    );
    assert!(primary.is_reaped(1), "it wished to leave");
}

#[test]
fn who_is_told_to_leave_wished_to() {
    let mut primary = Primary::serving(ROUND_ROBIN, 2);
    primary.is_retired(1);
    primary.is_told_to_leave(1, true);
    primary.ends(1);
    primary.ends(2);
    primary.is_told_to_leave(2, false);
    primary.went(
        "
             0 1 is retired
             0 1 is told to leave
               - to 1: text shutdown
               - to 1: disconnect seq=1
             0 channel of 1 ends
             0 channel of 2 ends
             0 2 is told to leave",
    );
    assert!(primary.is_reaped(1));
    assert!(!primary.is_reaped(2), "its channel just ended");
    assert!(!primary.is_reaped(1), "it is forgotten");
}

#[test]
fn lines_come_in_pieces_and_in_heaps() {
    let mut primary = Primary::serving(ROUND_ROBIN, 1);
    primary.clients(1);
    let text = format!("{ACK}\n{}\n\"ready\"\n", answer(1, true));
    for piece in text.as_bytes().chunks(7) {
        primary.chapter();
        primary.writes(1, piece, 0);
    }
    primary.went(
        "
             0 1: ady
               - worker 1 says ready",
    );
}

#[test]
fn a_handle_is_acknowledged_once_and_one_that_was_lost_is_refused() {
    let mut primary = Primary::serving(ROUND_ROBIN, 1);
    let handle = b"{\"cmd\":\"NODE_HANDLE\",\"type\":\"net.Socket\",\"msg\":1,\"key\":\"k\"}\n";
    primary.writes(1, handle, 1);
    primary.writes(1, handle, 0);
    primary.says(1, r#"{"cmd":"NODE_SOCKET_NOTIFY_CLOSE","key":"k"}"#);
    primary.says(1, r#"{"cmd":"NODE_SOCKET_GET_COUNT","key":"k"}"#);
    primary.went(
        "
             0 1: (net.Socket) 1
               - to 1: HANDLE_ACK
               - close connection 0
             0 1: (net.Socket) 1
               - to 1: HANDLE_NACK
             0 1: SOCKET_NOTIFY_CLOSE key=k
               - to 1: SOCKET_ALL_CLOSED key=k
             0 1: SOCKET_GET_COUNT key=k
               - to 1: SOCKET_COUNT count=0 key=k",
    );
}

#[test]
fn what_means_nothing_is_ignored() {
    let mut primary = Primary::serving(ROUND_ROBIN, 1);
    for line in [
        "null",
        "1e3",
        r#""shutdown""#,
        "[1,2]",
        r#"{"cmd":"NODE_"}"#,
        r#"{"cmd":"NODE_NEWS","key":1}"#,
        r#"{"cmd":"NODE_CLUSTER","act":"suicide","seq":3}"#,
        r#"{"cmd":"NODE_CLUSTER","act":"queryServer"}"#,
        r#"{"cmd":"NODE_CLUSTER","act":"close","key":"unknown"}"#,
        r#"{"cmd":{"cmd":"NODE_HANDLE"}}"#,
        &answer(77, true),
        ACK,
        NACK,
    ] {
        primary.chapter();
        primary.says(1, line);
        assert!(!primary.transcript().contains("- "), "{}", primary.transcript());
    }
}

#[test]
fn who_breaks_the_protocol_has_no_channel_any_more() {
    let deep = format!("{}{}", "[".repeat(1000), "]".repeat(1000));
    let long = vec![b' '; 8 * 1024 * 1024 + 1];
    for bytes in [&b"\n"[..], b"nonsense\n", b"{\n", b"\"\xff\"\n", b"{\"x\":\"\xff\"}\n", &long] {
        let mut primary = Primary::serving(ROUND_ROBIN, 2);
        primary.clients(1);
        primary.chapter();
        primary.writes(1, bytes, 0);
        assert!(primary.transcript().contains("end the channel of 1: "), "{}", primary.transcript());
        assert!(primary.transcript().contains("to 2: (net.Native) newconn"), "{}", primary.transcript());
        primary.chapter();
        primary.says(1, "\"ready\"");
        assert!(!primary.transcript().contains("- "), "{}", primary.transcript());
    }
    let mut primary = Primary::serving(ROUND_ROBIN, 1);
    primary.says(1, &deep);
    assert!(!primary.transcript().contains("- "), "any JSON is a message: {}", primary.transcript());
}

#[test]
fn one_worker_has_one_server_of_a_name() {
    let mut primary = Primary::new(ROUND_ROBIN);
    primary.joins(1);
    primary.writes(1, format!("{}\n{}\n", query(1, 8000), query(2, 8000)).as_bytes(), 0);
    primary.says(1, &format!(r#"{{"cmd":"NODE_CLUSTER","act":"close","key":"{}","seq":3}}"#, key(8000)));
    primary.says(1, &query(4, 8000));
    primary.went(
        "
             0 1: queryServer port=8000 seq=1 | queryServer port=8000 seq=2
               - bind listener 0: TCP *:8000
               - to 1: ack=1 errno=0 key=:8000:4:-1 seq=0
               - to 1: ack=2 errno=-98 key=:8000:4:-1 seq=1
             0 1: close key=:8000:4:-1 seq=3
             0 1: queryServer port=8000 seq=4
               - to 1: ack=4 errno=0 key=:8000:4:-1 seq=2",
    );
}

#[test]
fn who_goes_out_of_rotation_while_a_socket_is_bound_does_not_get_it() {
    let mut primary = Primary::new(ROUND_ROBIN);
    primary.joins(1);
    let leaving = format!("{}\n{}\n", query(1, 8000), says("exitedAfterDisconnect", 2));
    primary.writes(1, leaving.as_bytes(), 0);
    primary.clients(1);
    primary.went(
        "
             0 1: queryServer port=8000 seq=1 | exitedAfterDisconnect seq=2
               - bind listener 0: TCP *:8000
               - to 1: ack=2 seq=0
             0 clients: 1",
    );
}
