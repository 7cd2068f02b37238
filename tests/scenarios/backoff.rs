//! How long slots rest, and when the pool gives up.

use crate::story::Story;

/// Lets the process die once it is started, with code 1, and waits until the slot has rested.
fn crash(story: &mut Story, pid: i32) {
    story.exits(pid, 1);
    story.pass(3000);
}

#[test]
fn a_slot_rests_twice_as_long_each_time_within_a_fifth() {
    let mut story = Story::pool(&[("max_failures", "0"), ("ready", "alive:1h")]);
    story.chapter();
    for pid in [2, 4, 5, 6] {
        crash(&mut story, pid);
    }
    story.went(
        "
             0 2 ends: exit 1
               - worker 1 crashed
               - slot 0 rests 104ms, failures: 1
           104 a worker is due
               - start worker 3 in slot 0
          3000 4 ends: exit 1
               - worker 3 crashed
               - slot 0 rests 210ms, failures: 2
          3210 a worker is due
               - start worker 4 in slot 0
          6000 5 ends: exit 1
               - worker 4 crashed
               - slot 0 rests 441ms, failures: 3
          6441 a worker is due
               - start worker 5 in slot 0
          9000 6 ends: exit 1
               - worker 5 crashed
               - slot 0 rests 770ms, failures: 4
          9770 a worker is due
               - start worker 6 in slot 0",
    );
}

#[test]
fn each_slot_has_a_history_of_its_own() {
    let mut story = Story::pool(&[("ready", "alive:1h")]);
    story.chapter();
    crash(&mut story, 2);
    crash(&mut story, 4);
    crash(&mut story, 3);
    story.went(
        "
             0 2 ends: exit 1
               - worker 1 crashed
               - slot 0 rests 104ms, failures: 1
           104 a worker is due
               - start worker 3 in slot 0
          3000 4 ends: exit 1
               - worker 3 crashed
               - slot 0 rests 210ms, failures: 2
          3210 a worker is due
               - start worker 4 in slot 0
          6000 3 ends: exit 1
               - worker 2 crashed
               - slot 1 rests 110ms, failures: 1
          6110 a worker is due
               - start worker 5 in slot 1",
    );
}

#[test]
fn a_stable_spell_forgets() {
    let mut story = Story::pool(&[("stable_after", "5s")]);
    story.chapter();
    story.exits(2, 1);
    story.pass(200);
    story.exits(4, 1);
    story.pass(6500);
    story.exits(5, 1);
    story.exits(6, 1);
    story.went(
        "
             0 2 ends: exit 1
               - worker 1 crashed
               - slot 0 rests 104ms, failures: 1
           104 a worker is due
               - start worker 3 in slot 0
           200 4 ends: exit 1
               - worker 3 crashed
               - slot 0 rests 210ms, failures: 2
           410 a worker is due
               - start worker 4 in slot 0
          1000 a worker becomes ready
               - worker 2 is ready
          1410 a worker becomes ready
               - worker 4 is ready
          6700 5 ends: exit 1
               - worker 4 crashed
          6700 a worker is due
               - start worker 5 in slot 0
          6700 6 ends: exit 1
               - worker 5 crashed
               - slot 0 rests 110ms, failures: 1",
    );
}

#[test]
fn the_pool_gives_up_when_every_slot_failed_too_often() {
    let mut story = Story::pool(&[("max_failures", "2"), ("ready", "alive:1h")]);
    story.chapter();
    crash(&mut story, 2);
    story.exits(4, 3);
    story.exits(3, 4);
    story.pass(200);
    story.is_killed(5, "SEGV");
    story.went("
             0 2 ends: exit 1
               - worker 1 crashed
               - slot 0 rests 104ms, failures: 1
           104 a worker is due
               - start worker 3 in slot 0
          3000 4 ends: exit 3
               - worker 3 crashed
               - slot 0 rests 210ms, failures: 2
          3000 3 ends: exit 4
               - worker 2 crashed
               - slot 1 rests 110ms, failures: 1
          3110 a worker is due
               - start worker 4 in slot 1
          3200 5 ends: killed by SEGV
               - worker 4 crashed
               - reap
               - exit 139: gave up: every worker failed 2 times without becoming stable; the last ended with: killed by SEGV",
    );
}

#[test]
fn one_bad_worker_never_ends_a_pool_with_a_healthy_one() {
    let mut story = Story::pool(&[("max_failures", "2"), ("stable_after", "1h")]);
    let mut pid = 2;
    for next in 4..40 {
        story.exits(pid, 1);
        story.pass(30_000);
        pid = next;
    }
    story.chapter();
    story.exits(pid, 1);
    story.went(
        "
        1080000 39 ends: exit 1
               - worker 38 crashed
               - slot 0 rests 30000ms, failures: 37",
    );
}

#[test]
fn one_that_recovers_is_no_reason_to_give_up() {
    let mut story = Story::pool(&[("max_failures", "1")]);
    story.exits(2, 1);
    story.pass(1500);
    story.chapter();
    // Slot 0 failed once, and is ready again; slot 1 fails once: both have failed, but one serves.
    story.exits(3, 1);
    story.went(
        "
          1500 3 ends: exit 1
               - worker 2 crashed
               - slot 1 rests 105ms, failures: 1",
    );
}

#[test]
fn giving_up_on_workers_that_end_with_0_is_no_success() {
    let mut story = Story::new(&[("listen", "8080"), ("workers", "1"), ("max_failures", "1")]);
    story.begin();
    story.chapter();
    story.exits(2, 0);
    story.went("
             0 2 ends: exit 0
               - worker 1 exited
               - reap
               - exit 1: gave up: every worker failed 1 times without becoming stable; the last ended with: exit 0",
    );
}
