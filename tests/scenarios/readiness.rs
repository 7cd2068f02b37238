//! Who is ready, whether that is enough, and who is told.

use std::time::Duration;

use allcores::supervisor::event::Notification;
use allcores::supervisor::status::{PhaseStatus, Status};

use crate::story::Story;

fn ready(status: &Status) -> (bool, bool) {
    (status.ready, status.was_ready)
}

#[test]
fn a_quorum_makes_the_pool_ready() {
    let mut story = Story::pool(&[("ready", "notify"), ("min_ready", "100%")]);
    story.notifies(&[2], vec![Notification::Ready]);
    assert_eq!(ready(&story.status()), (false, false));
    story.notifies(&[3], vec![Notification::Ready]);
    assert_eq!(ready(&story.status()), (true, true));
    story.exits(2, 1);
    assert_eq!(ready(&story.status()), (false, true));
}

#[test]
fn whoever_drains_is_not_ready() {
    let mut story = Story::pool(&[("ready", "alive:0"), ("drain_delay", "3s")]);
    assert!(story.status().ready);
    story.signal("TERM");
    let status = story.status();
    assert_eq!((status.ready, status.phase), (false, PhaseStatus::Draining));
}

#[test]
fn ready_always_counts_when_it_is_said() {
    for awaited in ["alive:20s", "notify", "fd:9"] {
        let mut story = Story::pool(&[("ready", awaited)]);
        story.chapter();
        story.notifies(&[2], vec![Notification::Ready]);
        story.went("0 2 notifies\n- worker 1 is ready");
    }
}

#[test]
fn only_a_workers_own_processes_speak_for_it() {
    let mut story = Story::pool(&[("ready", "notify")]);
    story.chapter();
    story.notifies(&[9], vec![Notification::Ready]);
    story.notifies(&[9, 8, 3], vec![Notification::Ready]);
    story.went("0 9 notifies\n- notified by a stranger\n0 9 notifies\n- worker 2 is ready");
}

#[test]
fn who_asks_for_more_time_gets_it() {
    let mut story = Story::pool(&[("ready", "notify"), ("ready_timeout", "5s"), ("workers", "1")]);
    story.chapter();
    story.notifies(&[2], vec![Notification::Extend(Duration::from_secs(30))]);
    story.pass(29_999);
    story.notifies(&[2], vec![Notification::Ready]);
    story.went("0 2 notifies\n29999 2 notifies\n- worker 1 is ready");
}

#[test]
fn who_says_that_it_stops_is_not_ready_and_has_time() {
    let mut story = Story::pool(&[("ready", "alive:0"), ("workers", "1")]);
    story.pass(20_000);
    story.chapter();
    story.notifies(&[2], vec![Notification::Stopping]);
    assert!(!story.status().ready);
    story.pass(8000);
    story.is_killed(2, "TERM");
    story.went(
        "
        20000 2 notifies
        28000 a worker does not leave
            - TERM to 2
        28000 2 ends: killed by TERM
            - worker 1 stopped
        28000 a worker is due
            - start worker 2 in slot 0
        28000 a worker becomes ready
            - worker 2 is ready
        ",
    );
}

#[test]
fn a_silent_worker_is_made_to_leave_a_trace_and_then_killed() {
    let mut story =
        Story::pool(&[("ready", "alive:0"), ("workers", "1"), ("watchdog", "3s"), ("stable_after", "1s")]);
    story.pass(2000);
    story.notifies(&[2], vec![Notification::Alive]);
    story.chapter();
    story.pass(8000);
    story.is_killed(2, "KILL");
    story.went(
        "
        5000 a worker is silent
            - worker 1 is hung, silent for 3000ms
            - ABRT to 2
        10000 a worker does not stop
            - KILL to 2
        10000 2 ends: killed by KILL
            - worker 1 watchdog
        10000 a worker is due
            - start worker 2 in slot 0
        10000 a worker becomes ready
            - worker 2 is ready
        ",
    );
}

#[test]
fn unready_for_too_long_ends_with_its_own_code() {
    let mut story = Story::pool(&[("ready", "notify"), ("exit_when_unready", "20s"), ("workers", "1")]);
    story.chapter();
    story.pass(20_000);
    story.exits(2, 0);
    story.went(
        "
        20000 unready for too long
            - TERM to 2
        20000 2 ends: exit 0
            - worker 1 stopped
            - exit 70: unready for longer than EXIT_WHEN_UNREADY: 0 of 1 workers ready, 1 needed
        ",
    );
}

#[test]
fn our_own_supervisor_hears_how_we_are() {
    let mut story =
        Story::below(&[("ready", "alive:0"), ("listen", "8080"), ("workers", "1")], "/run/notify");
    story.begin();
    story.signal("HUP");
    story.pass(0);
    story.exits(2, 0);
    story.signal("TERM");
    story.went(
        r#"
        0 started
            - announce Status("0 of 1 workers ready")
        0 a worker is due
            - start worker 1 in slot 0
        0 a worker becomes ready
            - worker 1 is ready
            - announce Ready
            - announce Status("1 of 1 workers ready")
        0 HUP
            - announce Reloading
            - reload to generation 2: 1 workers
        0 a worker is due
            - start worker 2 in slot 0
        0 a worker becomes ready
            - worker 2 is ready
            - TERM to 2
        0 2 ends: exit 0
            - worker 1 stopped
            - reload done: 1 workers replaced
            - announce Ready
        0 TERM
            - announce Stopping
            - TERM to 3
        "#,
    );
}

#[test]
fn an_extension_has_a_limit_and_none_is_for_who_hangs() {
    let mut story =
        Story::pool(&[("ready", "notify"), ("ready_timeout", "5s"), ("workers", "1"), ("watchdog", "3s")]);
    story.notifies(&[2], vec![Notification::Extend(Duration::MAX)]);
    story.chapter();
    story.pass(3_599_999);
    story.notifies(
        &[2],
        vec![Notification::Ready, Notification::Hung, Notification::Extend(Duration::from_secs(60))],
    );
    story.pass(5000);
    story.went(
        "
        3599999 2 notifies
            - worker 1 is ready
            - worker 1 is hung, silent for 0ms
            - ABRT to 2
        3604999 a worker does not stop
            - KILL to 2
        ",
    );
    let mut late = Story::pool(&[("ready", "notify"), ("ready_timeout", "5s"), ("workers", "1")]);
    late.notifies(&[2], vec![Notification::Extend(Duration::MAX)]);
    late.chapter();
    late.pass(3_600_000);
    late.went("3600000 a worker is not ready in time\n- worker 1 is not ready after 3600000ms\n- TERM to 2");
}
