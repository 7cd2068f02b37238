//! The life of a worker.

use allcores::supervisor::event::SpawnFailureKind;

use crate::story::Story;

#[test]
fn workers_are_started_one_by_one_and_are_ready_when_they_live() {
    let mut story = Story::pool(&[]);
    story.pass(5000);
    story.went(
        "
             0 started
             0 a worker is due
               - start worker 1 in slot 0
             0 a worker is due
               - start worker 2 in slot 1
          1000 a worker becomes ready
               - worker 1 is ready
               - worker 2 is ready",
    );
}

#[test]
fn a_dead_worker_is_replaced_in_its_slot_under_a_new_number() {
    let mut story = Story::pool(&[]);
    story.pass(1000);
    story.chapter();
    story.is_killed(2, "KILL");
    story.pass(2000);
    story.went(
        "
          1000 2 ends: killed by KILL
               - worker 1 crashed
               - slot 0 rests 104ms, failures: 1
          1104 a worker is due
               - start worker 3 in slot 0
          2104 a worker becomes ready
               - worker 3 is ready",
    );
}

#[test]
fn a_worker_that_was_stable_is_replaced_at_once() {
    let mut story = Story::pool(&[]);
    story.pass(20_000);
    story.chapter();
    story.is_killed(3, "SEGV");
    story.exits(2, 0);
    story.went(
        "
         20000 3 ends: killed by SEGV
               - worker 2 crashed
         20000 a worker is due
               - start worker 3 in slot 1
         20000 2 ends: exit 0
               - worker 1 exited
         20000 a worker is due
               - start worker 4 in slot 0",
    );
}

#[test]
fn an_early_end_with_code_0_is_no_failure_but_does_not_spin() {
    let mut story = Story::pool(&[("ready", "alive:0")]);
    story.chapter();
    for pid in [2, 4, 5] {
        story.exits(pid, 0);
        story.pass(150);
    }
    story.went(
        "
             0 2 ends: exit 0
               - worker 1 exited
           104 a worker is due
               - start worker 3 in slot 0
           104 a worker becomes ready
               - worker 3 is ready
           150 4 ends: exit 0
               - worker 3 exited
           255 a worker is due
               - start worker 4 in slot 0
           255 a worker becomes ready
               - worker 4 is ready
           300 5 ends: exit 0
               - worker 4 exited
           410 a worker is due
               - start worker 5 in slot 0
           410 a worker becomes ready
               - worker 5 is ready",
    );
}

#[test]
fn on_failure_finishes_a_slot_that_ended_well_and_leaves_when_all_have() {
    let mut story = Story::pool(&[("restart", "on-failure")]);
    story.pass(1000);
    story.chapter();
    story.exits(2, 0);
    story.exits(3, 1);
    story.pass(200);
    story.exits(4, 0);
    story.went(
        "
          1000 2 ends: exit 0
               - worker 1 exited
          1000 3 ends: exit 1
               - worker 2 crashed
               - slot 1 rests 104ms, failures: 1
          1104 a worker is due
               - start worker 3 in slot 1
          1200 4 ends: exit 0
               - worker 3 exited
               - reap
               - exit 0: all work finished",
    );
}

#[test]
fn never_leaves_with_the_first_code_that_is_not_0() {
    let mut story = Story::pool(&[("restart", "never"), ("workers", "3")]);
    story.chapter();
    story.exits(2, 0);
    story.is_killed(3, "RTMIN+3");
    story.exits(4, 9);
    story.went(
        "
             0 2 ends: exit 0
               - worker 1 exited
             0 3 ends: killed by RTMIN+3
               - worker 2 crashed
             0 4 ends: exit 9
               - worker 3 crashed
               - reap
               - exit 165: all workers ended, the first failure was: killed by RTMIN+3",
    );
}

#[test]
fn a_single_program_ends_us_with_its_code() {
    let mut story = Story::new(&[]);
    story.begin();
    story.exits(2, 7);
    story.went(
        "
             0 started
             0 a worker is due
               - start worker 1 in slot 0
             0 2 ends: exit 7
               - worker 1 crashed
               - reap
               - exit 7: the program ended: exit 7",
    );
}

#[test]
fn what_a_program_leaves_behind_is_stopped_before_we_leave() {
    let mut story = Story::new(&[]);
    story.begin();
    story.adopts(50);
    story.exits(2, 3);
    story.is_killed(50, "TERM");
    story.went(
        "
             0 started
             0 a worker is due
               - start worker 1 in slot 0
             0 2 ends: exit 3
               - worker 1 crashed
               - reap
               - TERM to all descendants
             0 50 ends: killed by TERM
               - exit 3: the program ended: exit 3",
    );
}

#[test]
fn the_kernels_kill_for_memory_is_told_from_others() {
    let mut story = Story::pool(&[]);
    story.chapter();
    story.is_out_of_memory(2);
    story.went(
        "
             0 2 ends: killed by KILL
               - worker 1 oom
               - slot 0 rests 104ms, failures: 1",
    );
}

#[test]
fn an_orphan_is_nobodys_death() {
    let mut story = Story::pool(&[]);
    story.chapter();
    story.exits(99, 1);
    story.went(
        "
             0 99 ends: exit 1",
    );
}

#[test]
fn a_command_that_cannot_be_executed_at_start_ends_us_at_once() {
    for (kind, expected) in [(SpawnFailureKind::NotFound, 127), (SpawnFailureKind::NotExecutable, 126)] {
        let mut story = Story::new(&[("listen", "8080"), ("workers", "2")]);
        story.cannot_start(kind);
        story.begin();
        story.went(&format!(
            "0 started
             0 a worker is due
             - start worker 1 in slot 0
             - Worker(WorkerId(1)) cannot be started
             - reap
             - exit {expected}: {kind:?}"
        ));
    }
}

#[test]
fn a_command_that_is_gone_later_is_a_failure_like_others() {
    let mut story = Story::pool(&[]);
    story.pass(20_000);
    story.chapter();
    story.cannot_start(SpawnFailureKind::NotFound);
    story.exits(2, 1);
    story.pass(100);
    story.can_start();
    story.pass(300);
    story.went(
        "
         20000 2 ends: exit 1
               - worker 1 crashed
         20000 a worker is due
               - start worker 3 in slot 0
               - Worker(WorkerId(3)) cannot be started
               - slot 0 rests 104ms, failures: 1
         20104 a worker is due
               - start worker 4 in slot 0",
    );
}

#[test]
fn a_system_without_room_is_asked_again_also_at_start() {
    let mut story = Story::new(&[("listen", "8080"), ("workers", "1")]);
    story.cannot_start(SpawnFailureKind::System);
    story.begin();
    story.can_start();
    story.pass(120);
    story.went(
        "
             0 started
             0 a worker is due
               - start worker 1 in slot 0
               - Worker(WorkerId(1)) cannot be started
               - slot 0 rests 104ms, failures: 1
           104 a worker is due
               - start worker 2 in slot 0",
    );
}

#[test]
fn prestart_runs_to_its_end_before_the_first_worker() {
    let mut story = Story::new(&[("prestart", "./migrate"), ("listen", "8080")]);
    story.begin();
    story.pass(60_000);
    story.exits(2, 0);
    story.went(
        "
             0 started
               - start PRESTART
         60000 2 ends: exit 0
         60000 a worker is due
               - start worker 1 in slot 0
         60000 a worker is due
               - start worker 2 in slot 1",
    );
}

#[test]
fn a_prestart_that_fails_is_our_exit_code() {
    let mut story = Story::new(&[("prestart", "./migrate"), ("listen", "8080")]);
    story.begin();
    story.exits(2, 42);
    story.went(
        "
             0 started
               - start PRESTART
             0 2 ends: exit 42
               - reap
               - exit 42: PRESTART failed: exit 42",
    );
}
