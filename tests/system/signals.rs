//! What each signal does: the table, its changes, and that nothing is lost or doubled on the way.

use std::time::Duration;

use crate::harness::{Launch, Running, allcores_sh, allcores_with, fixture};

/// Forwarded in every column of the table, and the last that the kernel hands out: a mark behind what was sent before.
const MARK: i32 = 64;

const NEVER: [i32; 7] =
    [libc::SIGPIPE, libc::SIGALRM, libc::SIGURG, libc::SIGIO, libc::SIGTTIN, libc::SIGTTOU, libc::SIGCHLD];

/// Every signal that the table may forward: not the kernel's own two, not a process's own faults, not glibc's own two.
fn candidates() -> impl Iterator<Item = i32> {
    let faults = [libc::SIGILL, libc::SIGTRAP, libc::SIGBUS, libc::SIGFPE, libc::SIGSEGV, libc::SIGSYS];
    let kernels = [libc::SIGKILL, libc::SIGSTOP, 32, 33];
    (1..MARK).filter(move |signal| !faults.contains(signal) && !kernels.contains(signal))
}

/// A pool of workers that print what they get; each said `up`.
fn listening(launch: Launch, workers: usize) -> Running {
    let mut running = launch.set("WORKERS", &workers.to_string()).start();
    running.output.next_of(workers, "up");
    running
}

/// Sends one signal and then the mark, and gives how many of the workers got the signal.
fn receivers(running: &mut Running, workers: usize, signal: i32) -> usize {
    let before = running.output.text().lines().count();
    running.send(signal);
    running.send(MARK);
    running.output.next_of(workers, &format!("got {MARK}"));
    let text = running.output.text();
    text.lines().skip(before).filter(|line| *line == format!("got {signal}")).count()
}

/// Holds a column of the table: which signals are forwarded to all, which to none; those that stop are left out.
fn hold_column(launch: Launch, workers: usize, ignored: &[i32], stopping: &[i32]) {
    let mut running = listening(launch, workers);
    for signal in candidates().filter(|signal| !stopping.contains(signal)) {
        let expected = if NEVER.contains(&signal) || ignored.contains(&signal) { 0 } else { workers };
        assert_eq!(
            receivers(&mut running, workers, signal),
            expected,
            "signal {signal}\n{}",
            running.log.text()
        );
    }
    assert!(running.is_running());
}

#[test]
fn plain_forwards_all_but_stops_and_its_own_affairs() {
    let launch = allcores_with("signals.py", &["keep"]);
    hold_column(launch, 1, &[libc::SIGTSTP], &[libc::SIGTERM, libc::SIGINT]);
}

#[test]
fn plain_with_several_workers_stops_on_quit() {
    let launch = allcores_with("signals.py", &["keep"]);
    hold_column(launch, 2, &[libc::SIGTSTP], &[libc::SIGTERM, libc::SIGINT, libc::SIGQUIT]);
}

#[test]
fn a_pool_keeps_hup_and_winch_to_itself() {
    let launch = allcores_with("signals.py", &["keep"]).set("FIRST_PORT", "9000");
    let ignored = [libc::SIGTSTP, libc::SIGHUP, libc::SIGWINCH];
    hold_column(launch, 3, &ignored, &[libc::SIGTERM, libc::SIGINT, libc::SIGQUIT]);
}

#[test]
fn term_int_and_in_a_pool_quit_stop_and_workers_are_sent_stop_signal() {
    for (workers, port, stopping) in
        [(1, "", &[15, 2][..]), (2, "", &[15, 2, 3]), (1, "9000", &[15, 2, 3]), (2, "9000", &[15, 2, 3])]
    {
        for signal in stopping {
            let running = listening(allcores_with("signals.py", &[]).set("FIRST_PORT", port), workers);
            running.send(*signal);
            let ended = running.end();
            assert_eq!(ended.code, Some(0), "{workers} {signal}: {}", ended.log);
            assert_eq!(ended.output.matches("got").count(), workers, "{}", ended.output);
            assert_eq!(ended.output.matches("got 15").count(), workers, "{}", ended.output);
        }
    }
}

#[test]
fn every_real_time_signal_arrives_as_often_as_it_was_sent() {
    let mut running = listening(allcores_with("signals.py", &["keep"]).set("STOP_TIMEOUT", "500ms"), 2);
    let sent = [(34, 50), (35, 7), (49, 33), (63, 100), (MARK, 3)];
    for (signal, times) in sent {
        (0..times).for_each(|_| running.send(signal));
    }
    let total: usize = sent.iter().map(|(_, times)| 2 * times).sum();
    running.output.next_of(total, "got");
    let ended = running.stop();
    for (signal, times) in sent {
        let got = ended.output.lines().filter(|line| **line == format!("got {signal}")).count();
        assert_eq!(got, 2 * times, "signal {signal}");
    }
}

#[test]
fn signals_changes_rows_of_the_table() {
    let changes =
        "QUIT=forward,HUP=forward,USR1=ignore,USR2=HUP,INT=RTMIN+1,WINCH=RTMIN+1,TTIN=forward,ALRM=TERM";
    let launch = allcores_with("signals.py", &["keep"]).set("FIRST_PORT", "9000").set("SIGNALS", changes);
    let mut running = listening(launch, 2);
    for (sent, got) in [(3, 3), (1, 1), (12, 1), (2, 35), (28, 35), (21, 21), (14, 15)] {
        let before = running.output.text().lines().count();
        receivers(&mut running, 2, sent);
        let text = running.output.text();
        let new: Vec<&str> = text.lines().skip(before).filter(|line| !line.ends_with(" 64")).collect();
        assert_eq!(new, vec![format!("got {got}"); 2], "sent {sent}");
    }
    assert_eq!(receivers(&mut running, 2, libc::SIGUSR1), 0);
    assert!(running.is_running());
}

#[test]
fn signals_can_make_any_signal_stop_or_kill() {
    let stopping = listening(allcores_with("signals.py", &[]).set("SIGNALS", "WINCH=stop"), 1);
    stopping.send(libc::SIGWINCH);
    let ended = stopping.end();
    assert_eq!((ended.code, ended.output.as_str()), (Some(0), "up\ngot 15"), "{}", ended.log);
    let killing =
        listening(allcores_with("signals.py", &[]).set("SIGNALS", "TERM=quit").set("STOP_TIMEOUT", "off"), 1);
    let ended = killing.stop();
    assert_eq!((ended.code, ended.output.as_str()), (Some(137), "up"), "{}", ended.log);
    assert!(ended.after < Duration::from_secs(10));
}

#[test]
fn forward_says_whether_the_process_or_its_group_is_meant() {
    let script = fixture("signals.py");
    let line = format!("python3 {script} keep & exec python3 {script} keep");
    for (target, expected) in [("process", 1), ("group", 2)] {
        let mut running = allcores_sh(&line).set("FORWARD", target).set("STOP_TIMEOUT", "500ms").start();
        running.output.next_of(2, "up");
        assert_eq!(receivers(&mut running, expected, libc::SIGUSR2), expected, "{target}");
        running.send(libc::SIGTERM);
        running.output.next_of(expected, "got 15");
        assert_eq!(running.end().code, Some(137));
    }
}

#[test]
fn signals_are_heard_that_were_blocked_and_ignored_when_we_were_started() {
    let odd = ["python3", &fixture("odd_parent.py")];
    let mut running = listening(allcores_with("signals.py", &["keep"]).through(&odd), 1);
    for signal in [libc::SIGHUP, libc::SIGQUIT, libc::SIGUSR2, 34] {
        assert_eq!(receivers(&mut running, 1, signal), 1, "signal {signal}");
    }
    let stopped = listening(allcores_with("signals.py", &[]).through(&odd), 2);
    stopped.send(libc::SIGINT);
    assert_eq!(stopped.end().code, Some(0));
}

#[test]
fn a_signal_reaches_all_workers_but_none_that_rests() {
    let script = fixture("signals.py");
    let line = format!("[ $ALLCORES_SLOT = 0 ] && exit 1; exec python3 {script} keep");
    let mut running = allcores_sh(&line).set("WORKERS", "3").set("BACKOFF", "60s..60s").start();
    running.output.next_of(2, "up");
    running.log.next("slot rests");
    assert_eq!(receivers(&mut running, 2, libc::SIGUSR1), 2);
    assert!(!running.log.text().contains("could not be sent"), "{}", running.log.text());
}
