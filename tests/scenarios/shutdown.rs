//! The end.

use allcores::supervisor::event::SpawnFailureKind;

use crate::story::Story;

#[test]
fn a_stop_asks_every_worker_and_leaves_with_the_last() {
    let mut story = Story::pool(&[]);
    story.pass(1000);
    story.chapter();
    story.signal("TERM");
    story.is_killed(2, "TERM");
    story.pass(100);
    story.exits(3, 0);
    story.went(
        "
          1000 TERM
               - TERM to 2
               - TERM to 3
          1000 2 ends: killed by TERM
               - worker 1 stopped
          1100 3 ends: exit 0
               - worker 2 stopped
               - exit 0: stopped as asked",
    );
}

#[test]
fn who_is_still_there_at_the_deadline_is_killed() {
    let mut story = Story::pool(&[]);
    story.chapter();
    story.signal("TERM");
    story.exits(2, 0);
    story.pass(7999);
    story.pass(1);
    story.is_killed(3, "KILL");
    story.went(
        "
             0 TERM
               - TERM to 2
               - TERM to 3
             0 2 ends: exit 0
               - worker 1 stopped
          8000 the stop timeout is over
               - KILL to 3
               - KILL to all descendants
          8000 3 ends: killed by KILL
               - worker 2 stopped
               - exit 137: stopped as asked; what was still there was killed",
    );
}

#[test]
fn descendants_are_asked_when_workers_are_gone_and_killed_at_the_same_deadline() {
    let mut story = Story::pool(&[]);
    story.chapter();
    story.adopts(50);
    story.signal("TERM");
    story.pass(1000);
    story.exits(2, 0);
    story.exits(3, 0);
    story.pass(7000);
    story.is_killed(50, "KILL");
    story.went(
        "
             0 TERM
               - TERM to 2
               - TERM to 3
          1000 2 ends: exit 0
               - worker 1 stopped
          1000 3 ends: exit 0
               - worker 2 stopped
               - TERM to all descendants
          8000 the stop timeout is over
               - KILL to all descendants
          8000 50 ends: killed by KILL
               - exit 137: stopped as asked; what was still there was killed",
    );
}

#[test]
fn what_survives_a_kill_does_not_keep_us() {
    let mut story = Story::pool(&[("workers", "1")]);
    story.chapter();
    story.signal("TERM");
    story.pass(8000);
    story.chapter();
    story.pass(4850);
    story.chapter();
    story.pass(1000);
    story.went(
        "
         12900 the killed are looked for
               - KILL to all descendants
         13000 the killed are looked for
               - something survived
               - exit 137: stopped as asked; what was still there was killed",
    );
}

#[test]
fn the_same_request_within_a_second_counts_once_and_later_it_kills() {
    let mut story = Story::pool(&[]);
    story.chapter();
    story.signal("TERM");
    story.pass(999);
    story.signal("INT");
    story.pass(1);
    story.signal("TERM");
    story.is_killed(2, "KILL");
    story.is_killed(3, "KILL");
    story.went(
        "
             0 TERM
               - TERM to 2
               - TERM to 3
           999 INT
          1000 TERM
               - KILL to 2
               - KILL to 3
               - KILL to all descendants
          1000 2 ends: killed by KILL
               - worker 1 stopped
          1000 3 ends: killed by KILL
               - worker 2 stopped
               - exit 137: stopped as asked; what was still there was killed",
    );
}

#[test]
fn quit_by_a_changed_row_kills_at_once() {
    let mut story = Story::pool(&[("signals", "USR1=quit")]);
    story.chapter();
    story.signal("USR1");
    story.is_killed(2, "KILL");
    story.is_killed(3, "KILL");
    story.went(
        "
             0 USR1
               - KILL to 2
               - KILL to 3
               - KILL to all descendants
             0 2 ends: killed by KILL
               - worker 1 stopped
             0 3 ends: killed by KILL
               - worker 2 stopped
               - exit 137: stopped as asked; what was still there was killed",
    );
}

#[test]
fn who_has_nothing_to_kill_has_not_killed() {
    let mut story = Story::pool(&[("workers", "1"), ("signals", "USR1=quit"), ("ready", "alive:1h")]);
    story.exits(2, 1);
    story.chapter();
    story.signal("USR1");
    story.went(
        "
             0 USR1
               - reap
               - exit 0: stopped as asked",
    );
}

#[test]
fn a_stop_timeout_of_0_kills_at_once_and_off_waits_for_ever() {
    let mut story = Story::pool(&[("stop_timeout", "0"), ("workers", "1")]);
    story.chapter();
    story.signal("TERM");
    story.is_killed(2, "KILL");
    story.went(
        "
             0 TERM
               - KILL to 2
               - KILL to all descendants
             0 2 ends: killed by KILL
               - worker 1 stopped
               - exit 137: stopped as asked; what was still there was killed",
    );

    let mut story = Story::pool(&[("stop_timeout", "off"), ("workers", "1")]);
    story.chapter();
    story.signal("TERM");
    story.pass(1_000_000);
    story.exits(2, 0);
    story.went(
        "
             0 TERM
               - TERM to 2
        1000000 2 ends: exit 0
               - worker 1 stopped
               - exit 0: stopped as asked",
    );
}

#[test]
fn a_drain_delay_serves_on_and_restarts_nobody() {
    let mut story = Story::pool(&[("drain_delay", "5s")]);
    story.pass(1000);
    story.chapter();
    story.signal("TERM");
    story.exits(2, 1);
    story.pass(5000);
    story.pass(7999);
    story.exits(3, 0);
    story.went(
        "
          1000 TERM
               - draining for 5000ms
          1000 2 ends: exit 1
               - worker 1 crashed
          6000 the drain delay is over
               - TERM to 3
         13999 3 ends: exit 0
               - worker 2 stopped
               - exit 0: stopped as asked",
    );
}

#[test]
fn nobody_left_ends_a_drain_delay() {
    let mut story = Story::pool(&[("drain_delay", "5s")]);
    story.chapter();
    story.signal("TERM");
    story.exits(2, 1);
    story.exits(3, 1);
    story.went(
        "
             0 TERM
               - draining for 5000ms
             0 2 ends: exit 1
               - worker 1 crashed
             0 3 ends: exit 1
               - worker 2 crashed
               - reap
               - exit 0: stopped as asked",
    );
}

#[test]
fn a_stop_while_slots_rest_starts_nobody() {
    let mut story = Story::pool(&[("ready", "alive:1h"), ("drain_delay", "5s")]);
    story.exits(2, 1);
    story.exits(3, 1);
    story.chapter();
    story.signal("TERM");
    story.pass(60_000);
    story.went(
        "
             0 TERM
               - reap
               - exit 0: stopped as asked",
    );
}

#[test]
fn a_stop_before_the_first_worker_ends_what_runs_before_it() {
    let mut story = Story::new(&[("prestart", "./migrate"), ("listen", "8080")]);
    story.begin();
    story.chapter();
    story.signal("TERM");
    story.is_killed(2, "TERM");
    story.went(
        "
             0 TERM
               - TERM to group 2
             0 2 ends: killed by TERM
               - exit 0: stopped as asked",
    );
}

#[test]
fn a_stop_that_is_earlier_than_the_start_starts_nobody() {
    let mut story = Story::new(&[("listen", "8080")]);
    story.signal("TERM");
    story.begin();
    story.went(
        "
             0 TERM
               - reap
               - exit 0: stopped as asked
             0 started",
    );
}

#[test]
fn a_stop_while_the_system_has_no_room_starts_nobody() {
    let mut story = Story::new(&[("listen", "8080"), ("workers", "2")]);
    story.cannot_start(SpawnFailureKind::System);
    story.begin();
    story.can_start();
    story.signal("TERM");
    story.pass(1000);
    story.went(
        "
             0 started
             0 a worker is due
               - start worker 1 in slot 0
               - Worker(WorkerId(1)) cannot be started
               - slot 0 rests 104ms, failures: 1
             0 a worker is due
               - start worker 2 in slot 1
               - Worker(WorkerId(2)) cannot be started
               - slot 1 rests 105ms, failures: 1
             0 TERM
               - reap
               - exit 0: stopped as asked",
    );
}

#[test]
fn the_exit_code_of_a_stop_is_what_was_asked_for() {
    let pool = ("listen", "8080");
    for (flags, expected) in [
        (&[pool][..], 0),
        (&[], 5),
        (&[pool, ("exit_on_stop", "worker")], 5),
        (&[pool, ("exit_on_stop", "77")], 77),
    ] {
        let mut story = Story::new(&[flags, &[("workers", "1")]].concat());
        story.begin();
        story.signal("TERM");
        story.chapter();
        story.exits(2, 5);
        story.went(&format!("0 2 ends: exit 5\n- worker 1 stopped\n- exit {expected}: stopped as asked"));
    }
}

#[test]
fn a_kill_is_an_exit_code_of_its_own_unless_another_was_asked_for() {
    for (flags, expected) in [(("exit_on_stop", "auto"), 137), (("exit_on_stop", "0"), 0)] {
        let mut story = Story::new(&[("listen", "8080"), ("workers", "1"), flags]);
        story.begin();
        story.signal("TERM");
        story.pass(8000);
        story.chapter();
        story.is_killed(2, "KILL");
        story.went(&format!(
            "8000 2 ends: killed by KILL\n- worker 1 stopped\n- exit {expected}: stopped as asked; what was still there was killed"
        ));
    }
}

#[test]
fn a_stop_signal_and_a_group_can_be_asked_for() {
    let mut story = Story::pool(&[("stop_signal", "RTMIN+3"), ("forward", "group"), ("workers", "1")]);
    story.chapter();
    story.signal("INT");
    story.exits(2, 0);
    story.went(
        "
             0 INT
               - RTMIN+3 to group 2
             0 2 ends: exit 0
               - worker 1 stopped
               - exit 0: stopped as asked",
    );
}
