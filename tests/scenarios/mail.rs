//! What workers write to each other.

use allcores::cluster::Sharing;
use allcores::cluster::balancer::Choice;

use crate::primary::Primary;

fn three() -> Primary {
    let mut primary = Primary::serving(Sharing::HandOver(Choice::RoundRobin), 3);
    primary.chapter();
    primary
}

#[test]
fn a_letter_goes_to_a_slot_to_all_or_to_the_others() {
    let mut primary = three();
    primary.says(1, r#"{"allcores":{"to":2},"n":1}"#);
    primary.says(1, r#"{"allcores":{"to":"all"},"n":2}"#);
    primary.says(1, r#"{"n":3,"allcores":{"to":"others"}}"#);
    primary.went(
        r#"
             0 1: {"allcores":{"to":2},"n":1}
               - mail to 3: {"allcores":{"from":0,"worker":1},"n":1}
             0 1: {"allcores":{"to":"all"},"n":2}
               - mail to 1: {"allcores":{"from":0,"worker":1},"n":2}
               - mail to 2: {"allcores":{"from":0,"worker":1},"n":2}
               - mail to 3: {"allcores":{"from":0,"worker":1},"n":2}
             0 1: {"n":3,"allcores":{"to":"others"}}
               - mail to 2: {"n":3,"allcores":{"from":0,"worker":1}}
               - mail to 3: {"n":3,"allcores":{"from":0,"worker":1}}"#,
    );
}

#[test]
fn what_has_no_recipient_goes_nowhere() {
    let mut primary = three();
    primary.says(1, r#"{"allcores":{"to":9}}"#);
    primary.says(1, r#"{"allcores":"statues"}"#);
    primary.says(1, r#"{"cmd":"NODE_CLUSTER","allcores":{"to":"all"}}"#);
    primary.says(1, r#"{"cmd":"NODE_ANYTHING","seq":"x","allcores":{"to":"all"}}"#);
    primary.says(1, r#"{"cmd":"mine","seq":"x","allcores":{"to":1}}"#);
    primary.went(
        r#"
             0 1: {"allcores":{"to":9}}
             0 1: {"allcores":"statues"}
             0 1: allcores={"to":"all"}
             0 1: ANYTHING allcores={"to":"all"} seq=x
             0 1: {"cmd":"mine","seq":"x","allcores":{"to":1}}
               - mail to 2: {"cmd":"mine","seq":"x","allcores":{"from":0,"worker":1}}"#,
    );
}

#[test]
fn a_descriptor_goes_along_and_our_copy_is_closed() {
    let mut primary = three();
    let letter = br#"{"cmd":"NODE_HANDLE","type":"net.Socket","msg":{"allcores":{"to":"others"}},"key":"k"}"#;
    primary.writes(1, &[letter, &b"\n"[..]].concat(), 1);
    primary.went(
        r#"
             0 1: (net.Socket) {"allcores":{"to":"others"}}
               - to 1: HANDLE_ACK
               - to 2: (net.Socket) {"allcores":{"from":0,"worker":1}}, with connection 0
               - to 3: (net.Socket) {"allcores":{"from":0,"worker":1}}, with connection 0
               - close connection 0"#,
    );
}

#[test]
fn descriptors_that_belong_to_nothing_are_closed() {
    let mut primary = three();
    primary.writes(1, b"\"text\"\n", 2);
    primary.ends(1);
    primary.went(
        r#"
             0 1: text text
               - close connection 0
             0 channel of 1 ends
               - close connection 1"#,
    );
}

#[test]
fn who_acknowledges_nothing_gets_no_more_descriptors() {
    let mut primary = three();
    let letter = b"{\"cmd\":\"NODE_HANDLE\",\"type\":\"net.Socket\",\"msg\":{\"allcores\":{\"to\":1}}}\n";
    for _ in 0..200 {
        primary.writes(1, letter, 1);
    }
    let sent = primary.transcript().matches("to 2: (net.Socket)").count();
    assert_eq!(sent, 64, "a sibling that does not read is not flooded");
}
