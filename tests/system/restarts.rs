//! A worker that dies comes back in its slot, later each time that it fails, until all have failed too often.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::harness::{Running, allcores, allcores_sh, field, until};
use crate::kernel::{self, send};

/// The delay of a log line `slot rests`, in milliseconds.
fn delay(line: &str) -> u64 {
    let text = field(line, "delay");
    match text.strip_suffix("ms") {
        Some(millis) => millis.parse().unwrap(),
        None => (text.trim_end_matches('s').parse::<f64>().unwrap() * 1000.0) as u64,
    }
}

#[test]
fn one_worker_that_is_killed_comes_back_and_the_others_stay() {
    let mut running =
        allcores_sh("echo up $ALLCORES_SLOT $ALLCORES_WORKER; exec sleep 1000").set("WORKERS", "3").start();
    running.output.next_of(3, "up");
    running.worker();
    let (line, pid) = running.worker();
    assert_eq!(field(&line, "slot"), "1");
    send(pid, libc::SIGKILL);
    let died = running.log.next("worker died");
    assert_eq!(
        (field(&died, "signal"), field(&died, "cause"), field(&died, "slot")),
        ("KILL", "crashed", "1")
    );
    running.output.next("up 1 4");
    let ended = running.stop();
    assert_eq!(ended.log.matches("worker started").count(), 4, "{}", ended.log);
    assert_eq!(ended.log.matches("cause=crashed").count(), 1, "{}", ended.log);
}

#[test]
fn delays_double_per_slot_up_to_the_ceiling_and_then_we_give_up() {
    let ended =
        allcores_sh("exit 2").set("WORKERS", "2").set("BACKOFF", "20ms..70ms").set("MAX_FAILURES", "5").end();
    assert_eq!(ended.code, Some(2), "{}", ended.log);
    let mut delays: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for line in ended.log.lines().filter(|line| line.contains("slot rests")) {
        delays.entry(field(line, "slot")).or_default().push(delay(line));
    }
    assert_eq!(delays.keys().collect::<Vec<_>>(), [&"0", &"1"]);
    for of_slot in delays.values() {
        assert!(of_slot.len() >= 4, "{delays:?}");
        for (found, wanted) in of_slot.iter().zip([20, 40, 70, 70, 70]) {
            assert!((wanted * 8 / 10 - 1..=(wanted * 12 / 10).min(70)).contains(found), "{delays:?}");
        }
    }
}

#[test]
fn a_stable_spell_forgets_the_failures() {
    let mut running = allcores_sh("echo up; exec sleep 1000")
        .set("WORKERS", "2")
        .set("READY", "alive:10ms")
        .set("STABLE_AFTER", "400ms")
        .set("BACKOFF", "10ms..10s")
        .start();
    running.worker();
    let kill_slot_1 = |running: &mut Running| {
        let (line, pid) = running.worker();
        assert_eq!(field(&line, "slot"), "1");
        send(pid, libc::SIGKILL);
        running.log.next("worker died")
    };
    for failures in ["1", "2", "3"] {
        kill_slot_1(&mut running);
        assert_eq!(field(&running.log.next("slot rests"), "failures"), failures);
    }
    let (_, pid) = running.worker();
    running.log.next("worker ready");
    // Stability is the age that nobody tells of; the clock is allcores' own.
    std::thread::sleep(std::time::Duration::from_millis(600));
    send(pid, libc::SIGKILL);
    // It had been stable: no failure, no rest, and the next failure is a first one.
    kill_slot_1(&mut running);
    assert_eq!(field(&running.log.next("slot rests"), "failures"), "1");
}

#[test]
fn one_bad_worker_among_healthy_ones_never_ends_the_pool() {
    let line = "[ $ALLCORES_SLOT = 1 ] && exit 3; echo up; exec sleep 1000";
    let mut running =
        allcores_sh(line).set("WORKERS", "3").set("BACKOFF", "0..5ms").set("MAX_FAILURES", "3").start();
    running.output.next_of(2, "up");
    let rests = running.log.next_of(12, "slot rests");
    assert!(rests.iter().all(|line| field(line, "slot") == "1"), "{rests:?}");
    let ended = running.stop();
    assert!(ended.log.contains("stopped as asked"), "{}", ended.log);
}

#[test]
fn max_failures_0_never_gives_up() {
    let mut running =
        allcores_sh("exit 3").set("WORKERS", "2").set("BACKOFF", "0..1ms").set("MAX_FAILURES", "0").start();
    running.log.next_of(30, "slot rests");
    assert!(running.stop().log.contains("stopped as asked"));
}

#[test]
fn a_fork_that_fails_for_want_of_room_is_tried_again() {
    let faults = [
        "-e",
        "trace=clone,clone3,fork,vfork",
        "-e",
        "inject=clone,clone3,fork,vfork:error=EAGAIN:when=2..4",
    ];
    let mut running = allcores_sh("echo up; exec sleep 1000")
        .through(&[&["strace", "-qq", "-o", "/dev/null"], &faults[..]].concat())
        .set("WORKERS", "2")
        .set("BACKOFF", "10ms..50ms")
        .start();
    for line in running.log.next_of(3, "worker cannot be started") {
        assert!(line.contains("the system has no room"), "{line}");
    }
    running.output.next_of(2, "up");
    let ended = running.stop();
    assert_eq!(ended.log.matches("worker started").count(), 2, "{}", ended.log);
    assert_eq!(ended.code, Some(143), "{}", ended.log);
}

#[test]
fn no_room_from_the_start_is_retried_too_and_ends_as_giving_up() {
    let faults = ["-e", "trace=clone,clone3,fork,vfork", "-e", "inject=clone,clone3,fork,vfork:error=EAGAIN"];
    let ended = allcores(&["true"])
        .through(&[&["strace", "-qq", "-o", "/dev/null"], &faults[..]].concat())
        .set("WORKERS", "2")
        .set("BACKOFF", "1ms..5ms")
        .end();
    assert_eq!(ended.code, Some(71), "{}", ended.log);
    assert!(ended.log.contains("gave up"), "{}", ended.log);
}

#[test]
fn a_command_that_disappears_is_a_failure_with_a_rest_and_comes_back() {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("program");
    let elsewhere = directory.path().join("elsewhere");
    fs::write(&program, "#!/bin/sh\necho up\nexec sleep 1000\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let mut running =
        allcores(&[program.to_str().unwrap()]).set("WORKERS", "2").set("BACKOFF", "10ms..50ms").start();
    running.output.next_of(2, "up");
    let (_, pid) = running.worker();
    fs::rename(&program, &elsewhere).unwrap();
    send(pid, libc::SIGKILL);
    let line = running.log.next("worker cannot be started");
    assert!(line.contains("No such file"), "{line}");
    running.log.next("slot rests");
    fs::rename(&elsewhere, &program).unwrap();
    running.output.next("up");
    assert!(running.stop().log.contains("stopped as asked"));
}

#[test]
fn code_0_too_soon_is_no_failure_but_waits_a_little() {
    let mut running = allcores_sh("sleep 0.05; exit 0")
        .set("WORKERS", "2")
        .set("READY", "alive:1ms")
        .set("BACKOFF", "20ms..30s")
        .set("MAX_FAILURES", "1")
        .start();
    running.log.next_of(10, "cause=exited");
    assert!(!running.log.text().contains("slot rests"), "{}", running.log.text());
    assert!(running.is_running());
}

#[test]
fn two_hundred_workers_start_and_stop() {
    let mut running = allcores_sh("echo up; exec sleep 1000").set("WORKERS", "200").start();
    running.output.next_of(200, "up");
    let ended = running.stop();
    assert_eq!(ended.log.matches("cause=stopped").count(), 200, "{}", ended.log);
}

#[test]
fn with_nothing_to_do_we_do_not_wake() {
    let mut running =
        allcores_sh("echo up; exec sleep 1000").set("WORKERS", "2").set("READY", "alive:10ms").start();
    running.log.next_of(2, "worker ready");
    let ours = running.pid();
    let wakes = || kernel::status(ours, "voluntary_ctxt_switches").unwrap().parse::<u32>().unwrap();
    until("it waits", || kernel::status(ours, "State").filter(|state| state.starts_with('S')));
    let before = wakes();
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert_eq!(wakes(), before);
}
