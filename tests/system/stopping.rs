//! A stop: who is asked, when patience is over, and that we leave the moment nothing is left.

use std::time::{Duration, Instant};

use crate::harness::{Ended, Launch, allcores, allcores_sh, allcores_with, field, fixture, until};
use crate::kernel;

/// What a stop may take when nothing has to be waited for, on a busy machine.
const PROMPT: Duration = Duration::from_secs(4);

/// Starts it, sends TERM once a worker said `up`, and gives the end and how long it took.
fn stop_when_up(launch: Launch) -> (Ended, Duration) {
    let mut running = launch.start();
    running.output.next("up");
    let asked = Instant::now();
    (running.stop(), asked.elapsed())
}

#[test]
fn a_stop_in_plain_has_the_programs_own_code() {
    let (ended, _) = stop_when_up(allcores_sh("trap 'exit 7' TERM; echo up; while :; do sleep 0.1; done"));
    assert_eq!(ended.code, Some(7), "{}", ended.log);
    let (ended, _) = stop_when_up(allcores_sh("echo up; exec sleep 1000"));
    assert_eq!(ended.code, Some(143), "{}", ended.log);
}

#[test]
fn a_stop_of_a_pool_is_0_or_what_exit_on_stop_says() {
    let pool = || {
        allcores_sh("trap 'exit 7' TERM; echo up; while :; do sleep 0.1; done")
            .set("MODE", "ports")
            .set("FIRST_PORT", "9000")
            .set("WORKERS", "1")
    };
    assert_eq!(stop_when_up(pool()).0.code, Some(0));
    assert_eq!(stop_when_up(pool().set("EXIT_ON_STOP", "worker")).0.code, Some(7));
    assert_eq!(stop_when_up(pool().set("EXIT_ON_STOP", "33")).0.code, Some(33));
}

#[test]
fn a_worker_that_ignores_term_is_killed_at_the_timeout_and_not_before() {
    let stubborn = || allcores(&["sh", &fixture("stubborn.sh")]).set("STOP_TIMEOUT", "1s");
    let (ended, took) = stop_when_up(stubborn());
    assert_eq!(ended.code, Some(137), "{}", ended.log);
    assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(1) + PROMPT, "{took:?}");
    assert!(ended.log.contains("worker still there, killing it"), "{}", ended.log);
    let (ended, _) = stop_when_up(stubborn().set("EXIT_ON_STOP", "0"));
    assert_eq!(ended.code, Some(0), "{}", ended.log);
}

#[test]
fn a_descendant_that_ignores_term_is_killed_at_the_timeout_too() {
    // The worker leaves at once; what it left behind ignores TERM, in a session of its own.
    let line = "setsid sh -c 'trap \"\" TERM; echo up; while :; do sleep 1; done' & exec sleep 1000";
    let (ended, took) = stop_when_up(allcores_sh(line).set("STOP_TIMEOUT", "1s"));
    assert_eq!(ended.code, Some(137), "{}", ended.log);
    assert!(took >= Duration::from_secs(1), "{took:?}");
    assert!(ended.log.contains("process still there, killing it"), "{}", ended.log);
}

#[test]
fn descendants_are_asked_after_the_workers_are_gone() {
    // The worker is ready for its TERM before anybody can say that it is up.
    let worker = "trap 'sleep 0.5; echo worker; exit' TERM
                  setsid sh -c 'trap \"echo descendant; exit\" TERM; echo up; while :; do sleep 0.1; done' &
                  while :; do sleep 0.1; done";
    let (ended, took) = stop_when_up(allcores_sh(worker).set("STOP_TIMEOUT", "60s"));
    assert_eq!(ended.output, "up\nworker\ndescendant", "{}", ended.log);
    assert!(took < Duration::from_secs(1) + PROMPT, "{took:?}");
    assert_eq!(ended.code, Some(0));
}

#[test]
fn a_program_that_ends_by_itself_leaves_nobody_behind() {
    let ended = allcores_sh("setsid sleep 1000 & exit 4").set("STOP_TIMEOUT", "60s").end();
    assert_eq!(ended.code, Some(4));
    assert!(ended.after < PROMPT && ended.log.contains("what they left behind"), "{}", ended.log);
}

#[test]
fn we_leave_the_moment_nothing_is_left() {
    let (ended, took) =
        stop_when_up(allcores_with("signals.py", &[]).set("WORKERS", "3").set("STOP_TIMEOUT", "60s"));
    assert!(took < PROMPT, "{took:?}: {}", ended.log);
}

#[test]
fn the_same_request_twice_in_a_second_counts_once() {
    let mut running = allcores_with("signals.py", &["keep"]).set("STOP_TIMEOUT", "3s").start();
    running.output.next("up");
    running.send(libc::SIGTERM);
    running.output.next("got 15");
    let asked = Instant::now();
    running.send(libc::SIGTERM);
    running.send(libc::SIGINT);
    let ended = running.end();
    assert_eq!(ended.code, Some(137));
    assert!(asked.elapsed() > Duration::from_secs(2), "{}", ended.log);
}

#[test]
fn a_second_request_after_a_second_kills_at_once() {
    let mut running = allcores_with("signals.py", &["keep"]).set("STOP_TIMEOUT", "off").start();
    running.output.next("up");
    running.send(libc::SIGTERM);
    running.output.next("got 15");
    // The clock that counts is allcores' own: nothing tells of its second.
    std::thread::sleep(Duration::from_millis(1100));
    let ended = running.stop();
    assert_eq!(ended.code, Some(137), "{}", ended.log);
}

#[test]
fn a_stop_timeout_of_0_kills_without_asking() {
    let (ended, took) = stop_when_up(allcores_with("signals.py", &[]).set("STOP_TIMEOUT", "0"));
    assert_eq!((ended.code, ended.output.as_str()), (Some(137), "up"), "{}", ended.log);
    assert!(took < PROMPT, "{took:?}");
}

#[test]
fn a_stop_timeout_of_off_waits_for_as_long_as_it_takes() {
    let line = "trap 'sleep 1.5; exit 6' TERM; echo up; while :; do sleep 0.1; done";
    let (ended, took) = stop_when_up(allcores_sh(line).set("STOP_TIMEOUT", "off"));
    assert_eq!(ended.code, Some(6), "{}", ended.log);
    assert!(took >= Duration::from_millis(1500), "{took:?}");
}

#[test]
fn stop_signal_is_what_a_worker_is_sent() {
    for (name, number) in [("QUIT", 3), ("RTMIN+3", 37), ("SIGWINCH", 28)] {
        let mut running = allcores_with("signals.py", &["keep"])
            .set("STOP_SIGNAL", name)
            .set("STOP_TIMEOUT", "1s")
            .set("WORKERS", "2")
            .start();
        running.output.next_of(2, "up");
        let ended = running.stop();
        assert_eq!(ended.output.matches(&format!("got {number}")).count(), 2, "{name}: {}", ended.output);
        assert!(!ended.output.contains("got 15"), "{name}: {}", ended.output);
    }
}

#[test]
fn term_during_prestart_ends_it_and_starts_no_worker() {
    let mut running =
        allcores_sh("echo worker").set("PRESTART", "echo up; sleep 1000").set("WORKERS", "2").start();
    running.output.next("up");
    let ended = running.stop();
    assert!(!ended.output.contains("worker") && ended.after < PROMPT, "{}\n{}", ended.output, ended.log);
}

#[test]
fn a_prestart_that_ignores_term_is_killed_at_the_timeout() {
    let (ended, took) = stop_when_up(
        allcores_sh("echo worker")
            .set("PRESTART", "trap '' TERM; echo up; while :; do sleep 1000; done")
            .set("STOP_TIMEOUT", "1s"),
    );
    assert_eq!((ended.code, ended.output.as_str()), (Some(137), "up"), "{}", ended.log);
    assert!(took >= Duration::from_secs(1), "{took:?}");
}

#[test]
fn term_that_was_there_before_us_is_heard_before_the_first_worker() {
    // Blocked and pending across exec, as when a container is stopped while its runtime still starts it.
    let send_to_itself = "import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
os.kill(os.getpid(), signal.SIGTERM)
os.execv(sys.argv[1], sys.argv[1:])";
    let ended = allcores_sh("echo worker").through(&["python3", "-c", send_to_itself]).end();
    assert_eq!(ended.output, "", "{}", ended.log);
    assert!(ended.log.contains("stopped as asked"), "{}", ended.log);
}

#[test]
fn term_during_backoff_ends_at_once() {
    let mut running = allcores_sh("exit 1").set("WORKERS", "2").set("BACKOFF", "60s..60s").start();
    running.log.next_of(2, "slot rests");
    let asked = Instant::now();
    let ended = running.stop();
    assert!(asked.elapsed() < PROMPT, "{}", ended.log);
    assert!(ended.log.contains("stopped as asked"), "{}", ended.log);
}

#[test]
fn term_between_fork_and_exec_reaches_the_program() {
    let slow_exec = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=execve"];
    let running = allcores(&["/bin/sleep", "1000"])
        .through(&[&slow_exec[..], &["-e", "inject=execve:delay_enter=1s"]].concat())
        .start();
    until("a child that is still allcores", || (!running.below().is_empty()).then_some(()));
    let ended = running.stop();
    assert_eq!(ended.code, Some(143), "{}", ended.log);
    assert!(ended.after < Duration::from_secs(3) + PROMPT, "{:?}", ended.after);
}

#[test]
fn drain_delay_keeps_serving_and_then_stops() {
    kernel::private_network();
    let mut running = allcores_with("serve.py", &[])
        .set("LISTEN", "127.0.0.1:8080")
        .set("WORKERS", "2")
        .set("DRAIN_DELAY", "1s")
        .start();
    running.output.next_of(2, "up");
    running.send(libc::SIGTERM);
    let line = running.log.next("stop asked for");
    assert_eq!(field(&line, "signal"), "TERM");
    let asked = Instant::now();
    let answer = crate::sockets::ask("127.0.0.1:8080");
    assert!(answer.ends_with("unknown"), "{answer}");
    running.log.next("stopping");
    assert!(asked.elapsed() > Duration::from_millis(700), "{:?}", asked.elapsed());
    assert_eq!(running.end().code, Some(0));
}
