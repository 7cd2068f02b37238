//! What is asked, and what is counted: event loops, the status, figures.

use std::collections::BTreeMap;
use std::time::Duration;

use allcores::cluster::Sharing;
use allcores::cluster::balancer::Choice;
use allcores::cluster::figures::{AcceptError, Histogram, WorkerFigures};
use allcores::ids::{Slot, WorkerId};

use crate::primary::{ACK, NACK, Primary, answer};

const ROUND_ROBIN: Sharing = Sharing::HandOver(Choice::RoundRobin);

#[test]
fn an_event_loop_is_asked_once_and_says_how_late_it_is() {
    let mut primary = Primary::serving(ROUND_ROBIN, 1);
    primary.is_asked(1);
    primary.pass(100);
    primary.is_asked(1);
    primary.pass(1400);
    primary.says(1, NACK);
    primary.is_asked(1);
    primary.is_asked(7);
    primary.went(
        "
             0 1 is asked
               - ask 1: (net.Native)
           100 1 is asked
          1500 1: HANDLE_NACK
               - write to 1 again
               - worker 1 is alive after 1500ms
          1500 1 is asked
               - ask 1: (net.Native)
          1500 7 is asked",
    );
    let known = WorkerFigures { taken: 0, lag: Some(Duration::from_millis(1500)) };
    assert_eq!(primary.cluster.worker(WorkerId(1)), Some(known));
    assert_eq!(primary.cluster.worker(WorkerId(7)), None);
}

#[test]
fn answers_to_questions_and_handles_come_in_order() {
    let mut primary = Primary::quick(ROUND_ROBIN, 1);
    primary.clients(1);
    primary.is_asked(1);
    primary.clients(1);
    primary.says(1, NACK);
    primary.says(1, NACK);
    primary.says(1, ACK);
    primary.says(1, &answer(3, true));
    primary.went(
        "
           0 clients: 1
             - accept up to 8 at listener 0
             - to 1: (net.Native) newconn key=:8000:4:-1 seq=2, with connection 1
           0 1 is asked
             - ask 1: (net.Native)
           0 clients: 1
             - accept up to 7 at listener 0
             - to 1: (net.Native) newconn key=:8000:4:-1 seq=3, with connection 2
           0 1: HANDLE_NACK
           0 1: HANDLE_NACK
             - write to 1 again
             - worker 1 is alive after 0ms
           0 1: HANDLE_ACK
           0 1: accepted=true ack=3 seq=9
             - close connection 2
             - to 1: (net.Native) newconn key=:8000:4:-1 seq=4, with connection 1",
    );
}

#[test]
fn who_takes_a_question_for_a_handle_has_answered_it_as_well() {
    let mut primary = Primary::serving(ROUND_ROBIN, 1);
    primary.is_asked(1);
    primary.says(1, ACK);
    primary.went(
        "
             0 1 is asked
               - ask 1: (net.Native)
             0 1: HANDLE_ACK
               - write to 1 again
               - worker 1 is alive after 0ms",
    );
}

#[test]
fn a_worker_may_ask_for_the_status() {
    let mut primary = Primary::serving(ROUND_ROBIN, 1);
    primary.says(1, r#"{"allcores":"status"}"#);
    primary.is_told_the_status(1, r#"{"ready":true}"#);
    primary.ends(1);
    primary.is_told_the_status(1, r#"{"ready":true}"#);
    primary.went(
        r#"
             0 1: {"allcores":"status"}
               - worker 1 asks for the status
             0 1 is told
               - mail to 1: {"allcores":{"status":{"ready":true}}}
             0 channel of 1 ends
             0 1 is told"#,
    );
}

#[test]
fn what_passes_is_counted() {
    let mut primary = Primary::serving(ROUND_ROBIN, 2);
    primary.clients(5);
    primary.pass(3);
    primary.answers(1, 1, true);
    primary.answers(2, 1, false);
    primary.pass(1000);
    primary.answers(1, 2, true);
    primary.pass(1);
    assert_eq!(primary.cluster.figures().handoffs, BTreeMap::from([(Slot(0), 2)]));
    assert_eq!(primary.cluster.worker(WorkerId(1)), Some(WorkerFigures { taken: 2, lag: None }));
    assert!(primary.cluster.pending() > primary.cluster.waiting());
    let mut counts = [0; Histogram::BOUNDS.len() + 1];
    (counts[3], counts[10]) = (1, 1);
    assert_eq!(primary.cluster.figures().seconds.counts, counts);
    assert_eq!(primary.cluster.figures().seconds.sum, Duration::from_millis(3 + 1000));
    // What a slot has done outlives its worker.
    primary.ends(1);
    assert_eq!(primary.cluster.figures().handoffs, BTreeMap::from([(Slot(0), 2)]));
}

#[test]
fn failures_to_accept_are_counted() {
    let mut primary = Primary::serving(ROUND_ROBIN, 1);
    primary.cannot_accept(true);
    primary.clients(1);
    primary.pass(250);
    let expected = BTreeMap::from([(AcceptError::TooManyFiles, 3)]);
    assert_eq!(primary.cluster.figures().accept_errors, expected);
}
