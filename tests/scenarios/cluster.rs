//! A worker in mode `cluster`: when it is ready, and what its end means.

use crate::primary::{NACK, answer, query, says};
use crate::story::Story;

/// A pool of one Node program that has begun.
pub fn one(flags: &[(&'static str, &str)]) -> Story {
    pool("1", flags)
}

pub fn pool(workers: &'static str, flags: &[(&'static str, &str)]) -> Story {
    let all: Vec<_> = [("mode", "cluster"), ("workers", workers)].iter().chain(flags).copied().collect();
    let mut story = Story::new(&all);
    story.begin();
    story
}

/// The same, and it is ready.
pub fn serving(flags: &[(&'static str, &str)]) -> Story {
    let mut story = one(flags);
    story.says(1, &query(1, 8000));
    story.says(1, &says("listening", 2));
    story.pass(1000);
    story.chapter();
    story
}

#[test]
fn a_worker_is_ready_when_it_listens() {
    let mut story = one(&[]);
    story.pass(700);
    story.says(1, &says("online", 0));
    story.says(1, &query(1, 8000));
    story.pass(50);
    story.says(1, &says("listening", 2));
    story.says(1, &says("listening", 3));
    story.pass(100_000);
    story.went(
        "
             0 started
             0 a worker is due
               - start worker 1 in slot 0
           700 worker 1 writes
           700 worker 1 writes
               - bind listener 0: TCP *:8000
               - to 1: ack=1 errno=0 key=:8000:4:-1 seq=0
           750 worker 1 writes
               - worker 1 is ready
           750 worker 1 writes",
    );
}

#[test]
fn a_worker_is_ready_when_it_says_so() {
    let mut story = one(&[]);
    story.pass(700);
    story.says(1, "\"ready\"");
    story.says(1, &says("listening", 2));
    story.went(
        "
             0 started
             0 a worker is due
               - start worker 1 in slot 0
           700 worker 1 writes
               - worker 1 is ready
           700 worker 1 writes",
    );
}

#[test]
fn only_the_word_that_was_asked_for_counts() {
    let mut story = one(&[("ready", "message")]);
    story.says(1, &says("listening", 2));
    story.pass(100);
    story.says(1, "\"ready\"");
    story.went(
        "
             0 started
             0 a worker is due
               - start worker 1 in slot 0
             0 worker 1 writes
           100 worker 1 writes
               - worker 1 is ready",
    );
}

#[test]
fn to_say_ready_is_not_to_listen() {
    let mut story = one(&[("ready", "listening")]);
    story.says(1, "\"ready\"");
    story.pass(100);
    story.says(1, &says("listening", 2));
    story.went(
        "
             0 started
             0 a worker is due
               - start worker 1 in slot 0
             0 worker 1 writes
           100 worker 1 writes
               - worker 1 is ready",
    );
}

#[test]
fn who_is_not_ready_in_time_is_stopped_then_killed_and_has_failed() {
    let mut story = one(&[]);
    story.says(1, &query(1, 8000));
    story.pass(62_000);
    story.client(0);
    story.pass(6000);
    story.is_killed(2, "KILL");
    story.pass(200);
    story.went(
        "
             0 started
             0 a worker is due
               - start worker 1 in slot 0
             0 worker 1 writes
               - bind listener 0: TCP *:8000
               - to 1: ack=1 errno=0 key=:8000:4:-1 seq=0
         60000 a worker is not ready in time
               - worker 1 is not ready after 60000ms
               - TERM to 2
         62000 a client
         68000 a worker does not stop
               - KILL to 2
         68000 channel of 1 ends
         68000 2 ends: killed by KILL
               - worker 1 ready-timeout
               - slot 0 rests 104ms, failures: 1
         68104 a worker is due
               - start worker 2 in slot 0",
    );
}

#[test]
fn who_is_not_ready_in_time_and_says_so_later_is_stopped_all_the_same() {
    let mut story = one(&[("ready_timeout", "5s"), ("max_failures", "1")]);
    story.pass(6000);
    story.says(1, "\"ready\"");
    story.exits(2, 0);
    story.went(
        "
             0 started
             0 a worker is due
               - start worker 1 in slot 0
          5000 a worker is not ready in time
               - worker 1 is not ready after 5000ms
               - TERM to 2
          6000 worker 1 writes
          6000 channel of 1 ends
          6000 2 ends: exit 0
               - worker 1 ready-timeout
               - reap
               - exit 1: gave up: every worker failed 1 times without becoming stable; the last ended with: exit 0",
    );
}

#[test]
fn ready_may_take_for_ever() {
    let mut story = one(&[("ready_timeout", "off")]);
    story.chapter();
    story.pass(1_000_000);
    story.went("");
}

#[test]
fn code_0_that_nobody_wished_is_a_failure() {
    let mut story = serving(&[]);
    story.exits(2, 0);
    story.went(
        "
          1000 channel of 1 ends
          1000 2 ends: exit 0
               - worker 1 exited
               - slot 0 rests 104ms, failures: 1",
    );
}

#[test]
fn who_leaves_by_its_own_wish_has_not_failed() {
    let mut story = serving(&[]);
    story.says(1, &says("exitedAfterDisconnect", 3));
    story.pass(10);
    story.exits(2, 0);
    story.pass(200);
    story.went(
        "
          1000 worker 1 writes
               - to 1: ack=3 seq=1
          1010 channel of 1 ends
          1010 2 ends: exit 0
               - worker 1 exited
          1114 a worker is due
               - start worker 2 in slot 0",
    );
}

#[test]
fn who_leaves_by_its_own_wish_and_is_hurried_by_our_signal_has_not_failed_either() {
    let mut story = serving(&[]);
    story.says(1, &says("exitedAfterDisconnect", 3));
    story.channel_ends(1);
    story.pass(100);
    story.is_killed(2, "TERM");
    story.pass(200);
    story.went(
        "
          1000 worker 1 writes
               - to 1: ack=3 seq=1
          1000 channel of 1 ends
          1100 a worker does not leave
               - TERM to 2
          1100 2 ends: killed by TERM
               - worker 1 stopped
          1204 a worker is due
               - start worker 2 in slot 0",
    );
}

#[test]
fn who_writes_nonsense_loses_its_channel_and_is_stopped() {
    let mut story = serving(&[]);
    story.says(1, "nonsense");
    story.pass(10);
    story.exits(2, 0);
    story.went(
        "
          1000 worker 1 writes
               - end the channel of 1: a line that is no JSON
          1000 channel of 1 ends
          1010 2 ends: exit 0
               - worker 1 exited
               - slot 0 rests 104ms, failures: 1",
    );
}

#[test]
fn the_dead_ones_answers_are_not_heard() {
    let mut story = serving(&[]);
    story.exits(2, 1);
    story.chapter();
    story.says(1, &answer(1, true));
    story.says(1, "\"ready\"");
    story.went(
        "
          1000 worker 1 writes
          1000 worker 1 writes",
    );
}

#[test]
fn a_channel_that_ends_while_the_process_lives_is_followed_by_signals() {
    let mut story = serving(&[]);
    story.channel_ends(1);
    story.pass(8100);
    story.is_killed(2, "KILL");
    story.went(
        "
          1000 channel of 1 ends
          1100 a worker does not leave
               - TERM to 2
          9100 a worker does not stop
               - KILL to 2
          9100 2 ends: killed by KILL
               - worker 1 stopped
               - slot 0 rests 104ms, failures: 1",
    );
}

#[test]
fn a_program_that_asks_for_the_status_gets_it() {
    let mut story = serving(&[]);
    story.says(1, r#"{"allcores":"status"}"#);
    story.went(
        "
          1000 worker 1 writes
               - show worker 1 the status
               - mail to 1: {\"allcores\":{\"status\":{}}}",
    );
}

#[test]
fn whoever_looks_has_the_loops_asked() {
    let mut story = serving(&[]);
    assert_eq!(story.status().workers[0].lag, None);
    story.is_looked_at();
    story.pass(30);
    story.says(1, NACK);
    story.went(
        "
          1000 looked
               - ask 1: (net.Native)
          1030 worker 1 writes
               - write to 1 again",
    );
    assert_eq!(story.status().workers[0].lag, Some(std::time::Duration::from_millis(30)));
}
