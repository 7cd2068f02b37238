//! A real terminal: its keys reach the one worker of `plain` once, and a pool stops on Ctrl-C.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::process::Stdio;

use nix::pty::openpty;
use nix::unistd::tcgetpgrp;

use crate::harness::{Launch, Lines, Running, allcores, allcores_with, field, fixture, until};
use crate::kernel;

const CTRL_C: &[u8] = b"\x03";
const CTRL_BACKSLASH: &[u8] = b"\x1c";
const CTRL_Z: &[u8] = b"\x1a";

/// Our end of the terminal on which something runs.
struct Terminal(File);

impl Terminal {
    /// Starts it on a terminal of its own, of whose session it is to become the leader. What is shown there is `output`.
    fn run(launch: Launch) -> (Self, Running) {
        let pty = openpty(None, None).unwrap();
        let mut command = launch.command();
        let end = |fd: &OwnedFd| Stdio::from(fd.try_clone().unwrap());
        command.stdin(end(&pty.slave)).stdout(pty.slave);
        let mut running = Running::watch(command);
        running.output = Lines::of("terminal", Some(File::from(pty.master.try_clone().unwrap())));
        (Self(pty.master.into()), running)
    }

    /// Types.
    fn press(&mut self, keys: &[u8]) {
        self.0.write_all(keys).unwrap();
    }

    /// The group that the keys' signals go to.
    fn foreground(&self) -> i32 {
        tcgetpgrp(&self.0).unwrap().as_raw()
    }
}

/// As PID 1 and leader of the terminal's session, as in `docker run -t`.
fn as_pid_1(launch: Launch) -> (Terminal, Running) {
    Terminal::run(launch.through(&["setsid", "--ctty"]))
}

fn is_suspended(pid: i32) -> bool {
    kernel::status(pid, "State").is_some_and(|state| state.starts_with('T'))
}

#[test]
fn the_worker_of_plain_is_the_foreground_and_gets_every_key_once() {
    let (mut terminal, mut running) = as_pid_1(allcores_with("signals.py", &["keep"]));
    running.output.next("up");
    assert_eq!(terminal.foreground(), running.worker().1);
    for (key, signal) in [(CTRL_C, 2), (CTRL_BACKSLASH, 3)] {
        terminal.press(key);
        running.output.next(&format!("got {signal}"));
        running.send(64);
        running.output.next("got 64");
        let text = running.output.text();
        assert_eq!(text.matches(&format!("got {signal}")).count(), 1, "{text}");
    }
}

#[test]
fn ctrl_c_ends_a_program_that_lets_it() {
    let (mut terminal, mut running) = as_pid_1(allcores(&["sleep", "1000"]));
    let worker = running.worker().1;
    until("the worker has the terminal", || (terminal.foreground() == worker).then_some(()));
    terminal.press(CTRL_C);
    assert_eq!(running.end().code, Some(130));
}

#[test]
fn a_pool_on_a_terminal_stops_on_ctrl_c() {
    let (mut terminal, mut running) = as_pid_1(allcores_with("signals.py", &[]).set("WORKERS", "2"));
    running.output.next_of(2, "up");
    terminal.press(CTRL_C);
    running.output.next_of(2, "got 15");
    let ended = running.end();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert!(!ended.output.contains("got 2"), "{}", ended.output);
}

#[test]
fn ctrl_z_suspends_the_worker_and_cont_continues_it_even_below_pid_1() {
    let (mut terminal, mut running) = as_pid_1(allcores_with("suspendable.py", &[]));
    running.output.next("up");
    let worker = running.worker().1;
    terminal.press(CTRL_Z);
    until("the worker is suspended", || is_suspended(worker).then_some(()));
    running.send(libc::SIGCONT);
    running.output.next("on");
    assert_eq!(terminal.foreground(), worker);
    assert!(!is_suspended(running.pid()));
}

#[test]
fn ctrl_z_suspends_both_and_fg_continues_both() {
    let shell = ["python3", &fixture("job_shell.py")];
    let (mut terminal, mut running) = Terminal::run(allcores_with("suspendable.py", &[]).through(&shell));
    running.output.next("up");
    let (worker, ours) = (running.worker().1, running.pid());
    for _ in 0..2 {
        terminal.press(CTRL_Z);
        running.output.next("job suspended");
        assert!(is_suspended(worker) && is_suspended(ours));
        terminal.press(b"fg\n");
        running.output.next("on");
        until("the worker has the terminal", || (terminal.foreground() == worker).then_some(()));
        assert!(!is_suspended(ours));
    }
    terminal.press(CTRL_C);
    running.output.next("job ended 130");
}

#[test]
fn tstp_that_is_sent_to_us_suspends_both_too() {
    let shell = ["python3", &fixture("job_shell.py")];
    let (mut terminal, mut running) = Terminal::run(allcores_with("suspendable.py", &[]).through(&shell));
    running.output.next("up");
    let worker = running.worker().1;
    running.send(libc::SIGTSTP);
    running.output.next("job suspended");
    assert!(is_suspended(worker) && is_suspended(running.pid()));
    terminal.press(b"fg\n");
    running.output.next("on");
    let ours = running.pid();
    running.send(libc::SIGTERM);
    running.output.next("job ended 143");
    assert!(!kernel::is_alive(worker) && !kernel::is_alive(ours));
}

#[test]
fn a_replacement_has_the_terminal_too() {
    let (mut terminal, mut running) =
        as_pid_1(allcores(&["sleep", "1000"]).set("RESTART", "always").set("BACKOFF", "1ms..9ms"));
    for _ in 0..3 {
        let worker = running.worker().1;
        until("the worker has the terminal", || (terminal.foreground() == worker).then_some(()));
        terminal.press(CTRL_C);
        assert_eq!(field(&running.log.next("worker died"), "signal"), "INT");
    }
}

#[test]
fn a_stop_ends_a_suspended_worker_without_waiting_for_the_timeout() {
    let (mut terminal, mut running) = as_pid_1(allcores(&["sleep", "1000"]).set("STOP_TIMEOUT", "60s"));
    let worker = running.worker().1;
    until("the worker has the terminal", || (terminal.foreground() == worker).then_some(()));
    terminal.press(CTRL_Z);
    until("the worker is suspended", || is_suspended(worker).then_some(()));
    let ended = running.stop();
    assert_eq!(ended.code, Some(143), "{}", ended.log);
    assert!(ended.after < std::time::Duration::from_secs(20));
}

#[test]
fn a_job_in_the_background_leaves_the_terminal_alone() {
    let shell = ["python3", &fixture("job_shell.py"), "background"];
    let (terminal, mut running) = Terminal::run(allcores_with("signals.py", &[]).through(&shell));
    running.output.next("up");
    let (worker, ours) = (running.worker().1, running.pid());
    assert!(![worker, ours].contains(&terminal.foreground()));
    running.send(libc::SIGTERM);
    running.output.next("job ended 0");
}

#[test]
fn a_key_that_comes_before_the_workers_exec_suspends_nobody_for_ever() {
    let slow = ["-e", "trace=prctl", "-e", "inject=prctl:delay_exit=1s"];
    let strace = ["setsid", "--ctty", "strace", "-f", "-qq", "-o", "/dev/null"];
    let launch = allcores_with("suspendable.py", &[]).through(&[&strace[..], &slow].concat());
    let (mut terminal, mut running) = Terminal::run(launch);
    let child = until("a child that is still allcores", || running.below().first().copied());
    until("the child has the terminal", || (terminal.foreground() == child).then_some(()));
    terminal.press(CTRL_Z);
    running.output.next("up");
    assert_eq!(running.stop().code, Some(143));
}
