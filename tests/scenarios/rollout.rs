//! Replacing workers that live: reload, restart, limits.

use allcores::ids::Slot;
use allcores::supervisor::event::{Demand, Notification};

use crate::story::Story;

/// Two workers that are ready, and say so when they are.
fn two(flags: &[(&'static str, &str)]) -> Story {
    let all: Vec<_> = [("ready", "notify")].iter().chain(flags).copied().collect();
    let mut story = Story::pool(&all);
    for pid in [2, 3] {
        story.notifies(&[pid], vec![Notification::Ready]);
    }
    story.pass(20_000);
    story.chapter();
    story
}

#[test]
fn the_next_goes_only_when_the_new_one_is_ready_and_the_old_one_gone() {
    let mut story = two(&[]);
    story.signal("HUP");
    story.pass(300);
    story.notifies(&[4], vec![Notification::Ready]);
    story.pass(100);
    story.exits(2, 0);
    story.notifies(&[5], vec![Notification::Ready]);
    story.is_killed(3, "TERM");
    story.went(
        "
        20000 HUP
            - reload to generation 2: 2 workers
        20000 a worker is due
            - start worker 3 in slot 0
        20300 4 notifies
            - worker 3 is ready
            - TERM to 2
        20400 2 ends: exit 0
            - worker 1 stopped
        20400 a worker is due
            - start worker 4 in slot 1
        20400 5 notifies
            - worker 4 is ready
            - TERM to 3
        20400 3 ends: killed by TERM
            - worker 2 stopped
            - reload done: 2 workers replaced
        ",
    );
}

#[test]
fn a_replacement_that_crashes_ends_the_roll_out_and_the_old_ones_stay() {
    let mut story = two(&[]);
    story.demands(7, Demand::Reload);
    story.exits(4, 1);
    story.pass(60_000);
    story.went(
        r#"
        20000 client 7 asks
            - reload to generation 2: 2 workers
        20000 a worker is due
            - start worker 3 in slot 0
            - to client 7: Progress("slot 0: worker 3 started")
        20000 4 ends: exit 1
            - worker 3 crashed
            - replacement in slot 0 failed: worker 3 was not ready: crashed (exit 1)
            - reload failed: slot 0: worker 3 was not ready: crashed (exit 1)
            - to client 7: Failed("slot 0: worker 3 was not ready: crashed (exit 1); 1 of 2 slots were begun, the other workers stay")
        "#,
    );
    let status = story.status();
    assert!(status.ready && status.workers.len() == 2);
}

#[test]
fn a_replacement_that_is_not_ready_in_time_goes() {
    let mut story = two(&[("ready_timeout", "5s")]);
    story.signal("HUP");
    story.pass(5000);
    story.is_killed(4, "TERM");
    story.went(
        "
        20000 HUP
            - reload to generation 2: 2 workers
        20000 a worker is due
            - start worker 3 in slot 0
        25000 a worker is not ready in time
            - worker 3 is not ready after 5000ms
            - TERM to 4
            - replacement in slot 0 failed: worker 3 was not ready in time
            - reload failed: slot 0: worker 3 was not ready in time
        25000 4 ends: killed by TERM
            - worker 3 ready-timeout
        ",
    );
}

#[test]
fn a_reload_during_a_reload_starts_again() {
    let mut story = two(&[]);
    story.demands(7, Demand::Reload);
    story.demands(8, Demand::Reload);
    story.is_killed(4, "TERM");
    story.notifies(&[5], vec![Notification::Ready]);
    story.chapter();
    story.exits(2, 0);
    story.notifies(&[6], vec![Notification::Ready]);
    story.exits(3, 0);
    let status = story.status();
    assert!(status.workers.iter().all(|worker| worker.generation.0 == 3), "{status:?}");
    story.went(
        r#"
        20000 2 ends: exit 0
            - worker 1 stopped
        20000 a worker is due
            - start worker 5 in slot 1
            - to client 7: Progress("slot 1: worker 5 started")
            - to client 8: Progress("slot 1: worker 5 started")
        20000 6 notifies
            - worker 5 is ready
            - TERM to 3
            - to client 7: Progress("slot 1: worker 5 ready after 0ns")
            - to client 8: Progress("slot 1: worker 5 ready after 0ns")
        20000 3 ends: exit 0
            - worker 2 stopped
            - reload done: 2 workers replaced
            - to client 7: Done("2 workers replaced in 0ns")
            - to client 8: Done("2 workers replaced in 0ns")
        "#,
    );
}

#[test]
fn a_stop_ends_a_reload() {
    let mut story = two(&[("drain_delay", "3s")]);
    story.demands(7, Demand::Reload);
    story.signal("TERM");
    story.went(
        r#"
        20000 client 7 asks
            - reload to generation 2: 2 workers
        20000 a worker is due
            - start worker 3 in slot 0
            - to client 7: Progress("slot 0: worker 3 started")
        20000 TERM
            - draining for 3000ms
            - TERM to 4
            - reload ended: a stop was asked for
            - to client 7: Failed("a stop was asked for; 1 of 2 slots were begun, the other workers stay")
        "#,
    );
}

#[test]
fn an_old_worker_that_does_not_leave_is_killed_in_its_own_time() {
    let mut story = two(&[("stop_timeout", "8s")]);
    story.demands(7, Demand::Restart(Slot(1)));
    story.notifies(&[4], vec![Notification::Ready]);
    story.chapter();
    story.pass(8000);
    story.is_killed(3, "KILL");
    story.went(
        "
        28000 a worker does not stop
            - KILL to 3
        28000 3 ends: killed by KILL
            - worker 2 stopped
        ",
    );
}

#[test]
fn a_slot_that_nobody_has_is_not_restarted() {
    let mut story = two(&[]);
    story.demands(7, Demand::Restart(Slot(2)));
    story.went(
        r#"
        20000 client 7 asks
            - to client 7: Failed("there is no worker to replace in slot 2")
        "#,
    );
}

#[test]
fn surge_says_how_many_at_once() {
    let mut story = two(&[("surge", "100%")]);
    story.signal("HUP");
    story.pass(0);
    story.went(
        "
        20000 HUP
            - reload to generation 2: 2 workers
        20000 a worker is due
            - start worker 3 in slot 0
        20000 a worker is due
            - start worker 4 in slot 1
        ",
    );
}

#[test]
fn where_a_port_is_a_slots_the_old_one_makes_room_first() {
    let mut story =
        Story::new(&[("mode", "ports"), ("first_port", "9000"), ("workers", "2"), ("ready", "notify")]);
    story.begin();
    story.notifies(&[2], vec![Notification::Ready]);
    story.notifies(&[3], vec![Notification::Ready]);
    story.chapter();
    story.signal("HUP");
    story.exits(2, 0);
    story.exits(4, 1);
    story.went(
        "
        0 HUP
            - reload to generation 2: 2 workers
            - TERM to 2
        0 2 ends: exit 0
            - worker 1 stopped
        0 a worker is due
            - start worker 3 in slot 0
        0 4 ends: exit 1
            - worker 3 crashed
            - slot 0 rests 104ms, failures: 1
            - replacement in slot 0 failed: worker 3 was not ready: crashed (exit 1)
            - reload failed: slot 0: worker 3 was not ready: crashed (exit 1)
        ",
    );
}

#[test]
fn a_worker_that_has_lived_long_enough_is_replaced() {
    let mut story = Story::pool(&[("ready", "alive:0"), ("max_lifetime", "1h")]);
    story.chapter();
    story.pass(3_240_000);
    story.went("");
    story.pass(100_000);
    story.exits(3, 0);
    story.pass(620_000);
    let text = story.transcript();
    assert!(
        text.contains("slot 0 came to MAX_LIFETIME") && text.contains("slot 1 came to MAX_LIFETIME"),
        "{text}"
    );
    assert!(text.contains("TERM to"), "the old one leaves: {text}");
}

#[test]
fn a_worker_that_stays_too_big_is_replaced() {
    let mut story = two(&[("max_memory", "1MiB")]);
    story.is_measured(2, &[(2, 2 << 20), (3, 1 << 20)]);
    story.is_measured(2, &[(2, 0), (3, 0)]);
    story.is_measured(2, &[(2, 2 << 20), (3, 0)]);
    story.is_measured(2, &[(2, 2 << 20), (3, 0)]);
    story.notifies(&[4], vec![Notification::Ready]);
    story.exits(2, 0);
    story.went(
        "
        20000 measured
        20000 measured
        20000 measured
        20000 measured
            - slot 0 came to MAX_MEMORY
        20000 a worker is due
            - start worker 3 in slot 0
        20000 4 notifies
            - worker 3 is ready
            - TERM to 2
        20000 2 ends: exit 0
            - worker 1 memory
        ",
    );
}

#[test]
fn who_asked_hears_once_that_we_stop_however_long_that_takes() {
    let flags = [("mode", "ports"), ("first_port", "9000"), ("workers", "1"), ("restart", "always")];
    let mut story = Story::new(&[&flags[..], &[("ready", "alive:0"), ("drain_delay", "3s")]].concat());
    story.begin();
    story.chapter();
    story.demands(7, Demand::Restart(Slot(0)));
    story.signal("TERM");
    story.pass(3000);
    assert_eq!(story.transcript().matches("to client 7").count(), 1, "{}", story.transcript());
}
