//! How the workers of a cluster are made to leave when we stop.

use crate::cluster::{one, pool, serving};
use crate::primary::says;

#[test]
fn a_stop_settles_disconnects_waits_for_the_end_of_the_channel_and_then_signals() {
    let mut story = serving(&[]);
    story.signal("TERM");
    story.pass(1000);
    story.channel_ends(1);
    story.pass(500);
    story.exits(2, 0);
    story.went(
        "
          1000 TERM
               - let nobody in at listener 0
               - accept up to 64 at listener 0
          1150 a listener goes on
               - accept up to 64 at listener 0
               - close listener 0
          1200 a worker is out of rotation
               - to 1: disconnect seq=1
          2000 channel of 1 ends
          2100 a worker does not leave
               - TERM to 2
          2500 2 ends: exit 0
               - worker 1 stopped
               - exit 0: stopped as asked",
    );
}

#[test]
fn a_worker_that_ends_with_its_channel_is_sent_nothing_that_hurts() {
    let mut story = serving(&[]);
    story.signal("TERM");
    story.pass(300);
    story.exits(2, 0);
    story.went(
        "
          1000 TERM
               - let nobody in at listener 0
               - accept up to 64 at listener 0
          1150 a listener goes on
               - accept up to 64 at listener 0
               - close listener 0
          1200 a worker is out of rotation
               - to 1: disconnect seq=1
          1300 channel of 1 ends
          1300 2 ends: exit 0
               - worker 1 stopped
               - exit 0: stopped as asked",
    );
}

#[test]
fn a_channel_that_does_not_end_is_waited_for_half_the_time() {
    let mut story = serving(&[]);
    story.signal("TERM");
    story.pass(8000);
    story.is_killed(2, "KILL");
    story.went(
        "
          1000 TERM
               - let nobody in at listener 0
               - accept up to 64 at listener 0
          1150 a listener goes on
               - accept up to 64 at listener 0
               - close listener 0
          1200 a worker is out of rotation
               - to 1: disconnect seq=1
          5000 a worker does not leave
               - TERM to 2
          9000 the stop timeout is over
               - KILL to 2
               - KILL to all descendants
          9000 channel of 1 ends
          9000 2 ends: killed by KILL
               - worker 1 stopped
               - exit 137: stopped as asked; what was still there was killed",
    );
}

#[test]
fn a_short_stop_has_no_time_to_settle() {
    let mut story = serving(&[("stop_timeout", "100ms")]);
    story.signal("TERM");
    story.pass(100);
    story.is_killed(2, "KILL");
    story.went(
        "
          1000 TERM
               - let nobody in at listener 0
               - accept up to 64 at listener 0
          1100 the stop timeout is over
               - KILL to 2
               - KILL to all descendants
          1100 channel of 1 ends
          1100 2 ends: killed by KILL
               - worker 1 stopped
               - exit 137: stopped as asked; what was still there was killed",
    );
}

#[test]
fn a_stop_that_is_hardly_longer_signals_right_after_the_disconnect() {
    let mut story = serving(&[("stop_timeout", "300ms")]);
    story.signal("TERM");
    story.pass(250);
    story.is_killed(2, "TERM");
    story.went(
        "
          1000 TERM
               - let nobody in at listener 0
               - accept up to 64 at listener 0
          1150 a listener goes on
               - accept up to 64 at listener 0
               - close listener 0
          1200 a worker is out of rotation
               - to 1: disconnect seq=1
          1200 a worker does not leave
               - TERM to 2
          1250 channel of 1 ends
          1250 2 ends: killed by TERM
               - worker 1 stopped
               - exit 0: stopped as asked",
    );
}

#[test]
fn without_a_deadline_the_end_of_the_channel_is_waited_for() {
    let mut story = serving(&[("stop_timeout", "off"), ("stop_message", "on")]);
    story.signal("TERM");
    story.pass(1_000_000);
    story.channel_ends(1);
    story.pass(100);
    story.went(
        "
          1000 TERM
               - let nobody in at listener 0
               - accept up to 64 at listener 0
          1150 a listener goes on
               - accept up to 64 at listener 0
               - close listener 0
          1200 a worker is out of rotation
               - to 1: text shutdown
               - to 1: disconnect seq=1
        1001000 channel of 1 ends
        1001100 a worker does not leave
               - TERM to 2",
    );
}

#[test]
fn a_worker_without_a_channel_is_sent_the_signal_once() {
    let mut story = serving(&[]);
    story.channel_ends(1);
    story.pass(1000);
    story.signal("TERM");
    story.pass(1000);
    story.is_killed(2, "TERM");
    story.went(
        "
          1000 channel of 1 ends
          1100 a worker does not leave
               - TERM to 2
          2000 TERM
               - let nobody in at listener 0
               - accept up to 64 at listener 0
          2150 a listener goes on
               - accept up to 64 at listener 0
               - close listener 0
          3000 2 ends: killed by TERM
               - worker 1 stopped
               - exit 0: stopped as asked",
    );
}

#[test]
fn all_leave_at_the_same_time() {
    let mut story = pool("2", &[]);
    story.says(1, &says("listening", 2));
    story.chapter();
    story.signal("TERM");
    story.pass(300);
    story.exits(2, 0);
    story.exits(3, 0);
    story.went(
        "
             0 TERM
           200 a worker is out of rotation
               - to 1: disconnect seq=0
               - to 2: disconnect seq=0
           300 channel of 1 ends
           300 2 ends: exit 0
               - worker 1 stopped
           300 channel of 2 ends
           300 3 ends: exit 0
               - worker 2 stopped
               - exit 0: stopped as asked",
    );
}

#[test]
fn who_is_being_stopped_is_not_asked_to_leave_as_well() {
    let mut story = one(&[("ready_timeout", "5s")]);
    story.pass(6000);
    story.chapter();
    story.signal("TERM");
    story.pass(1000);
    story.is_killed(2, "TERM");
    story.went(
        "
          6000 TERM
          7000 channel of 1 ends
          7000 2 ends: killed by TERM
               - worker 1 stopped
               - exit 0: stopped as asked",
    );
}
