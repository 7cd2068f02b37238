//! When a worker is ready by its own word, what happens to one that is not, and what our own supervisor hears of it.

use std::fs::File;
use std::io::Read;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use crate::harness::{Running, allcores, allcores_sh, allcores_with, field, fixture};
use crate::kernel::private_network;

#[test]
fn a_worker_is_ready_when_it_says_so() {
    let mut running = allcores_with("notify.py", &["print:up", "READY=1", "stay"])
        .set("READY", "notify")
        .set("WORKERS", "2")
        .start();
    running.log.next_of(2, "worker ready");
    assert!(running.stop().output.contains("up"));
}

#[test]
fn a_word_counts_whatever_is_awaited() {
    let mut running = allcores_with("notify.py", &["READY=1", "stay"]).set("READY", "alive:1h").start();
    running.log.next("worker ready");
}

#[test]
fn a_process_that_lives_no_longer_than_it_speaks_makes_its_worker_ready() {
    let line = format!("python3 {} READY=1 barrier; exec sleep 1000", fixture("notify.py"));
    let mut running = allcores_sh(&line).set("READY", "notify").start();
    running.log.next("worker ready");
}

#[test]
fn systemds_own_tool_is_understood() {
    let line = "systemd-notify --ready --status='serving all'; exec sleep 1000";
    let mut running = allcores_sh(line).set("READY", "notify").start();
    assert!(running.log.next("notified").contains("serving all"));
    running.log.next("worker ready");
}

#[test]
fn what_somebody_else_says_makes_nobody_ready() {
    // Not below a worker: an orphan, and one that we never had anything to do with. The kernel lists the sockets of a network.
    private_network();
    let line = format!("python3 {} orphan READY=1 barrier; exec sleep 1000", fixture("notify.py"));
    let stranger = r#""$@" & until name=$(grep -ao '@allcores/[0-9a-f]*' /proc/net/unix); do sleep 0.1; done
        NOTIFY_SOCKET=$name python3 "$0" READY=1 barrier; wait"#;
    for through in [&["env"][..], &["sh", "-c", stranger, &fixture("notify.py")]] {
        let mut running = allcores_sh(&line)
            .through(through)
            .set("READY", "notify")
            .set("READY_TIMEOUT", "3s")
            .set("RESTART", "never")
            .start();
        running.log.next("belongs to no worker");
        running.log.next("not ready in time");
        assert!(!running.end().log.contains("worker ready"));
    }
}

#[test]
fn a_worker_that_does_not_say_so_is_stopped_and_has_failed() {
    for (ready, arguments) in [("notify", &["STATUS=slow", "stay"][..]), ("fd:3", &["write:3", "stay"])] {
        let mut running = allcores_with("notify.py", arguments)
            .set("READY", ready)
            .set("READY_TIMEOUT", "1s")
            .set("WORKERS", "1")
            .set("RESTART", "always")
            .start();
        running.log.next("not ready in time");
        assert_eq!(field(&running.log.next("worker died"), "cause"), "ready-timeout");
        running.log.next("rests after a failure");
    }
}

#[test]
fn more_time_is_given_to_a_worker_that_asks_for_it() {
    let script = fixture("notify.py");
    let line = format!(
        "exec python3 -c 'import subprocess as s, time
def say(word): s.run([\"python3\", \"{script}\", word, \"barrier\"], check=True)
say(\"EXTEND_TIMEOUT_USEC=30000000\"); time.sleep(4); say(\"READY=1\"); time.sleep(1000)'"
    );
    let mut running = allcores_sh(&line).set("READY", "notify").set("READY_TIMEOUT", "3s").start();
    running.log.next("worker ready");
}

#[test]
fn a_newline_on_the_agreed_descriptor_is_readiness() {
    for number in ["3", "5", "9", "200"] {
        let newline = format!("newline:{number}");
        let mut running = allcores_with("notify.py", &["print:up", &newline, "stay"])
            .set("READY", &format!("fd:{number}"))
            .set("WORKERS", "3")
            .start();
        running.log.next_of(3, "worker ready");
    }
}

#[test]
fn what_is_written_after_the_newline_neither_kills_nor_halts_a_worker() {
    // 400 KiB are more than a pipe holds.
    let mut running =
        allcores_with("notify.py", &["newline:4", "write:4", "newline:4", "print:through", "stay"])
            .set("READY", "fd:4")
            .start();
    running.output.next("through");
    assert_eq!(running.stop().log.matches("worker ready").count(), 1);
}

#[test]
fn the_descriptors_of_dead_workers_are_closed_whoever_still_holds_them() {
    // Each worker leaves a process behind that holds its descriptor open.
    let mut running = allcores_sh("sleep 1000 & echo >&3; sleep 0.1; exit 1")
        .set("READY", "fd:3")
        .set("WORKERS", "1")
        .set("RESTART", "always")
        .set("BACKOFF", "0..1ms")
        .set("MAX_FAILURES", "0")
        .start();
    let open = |running: &Running| std::fs::read_dir(format!("/proc/{}/fd", running.pid())).unwrap().count();
    running.log.next("worker died");
    let before = open(&running);
    running.log.next_of(10, "worker died");
    assert!(open(&running) <= before + 1, "{} after {before}", open(&running));
}

#[test]
fn a_descriptor_that_cannot_be_is_a_wrong_setting() {
    let ended = allcores(&["true"]).set("READY", "fd:500").through(&["prlimit", "--nofile=300"]).end();
    assert_eq!(ended.code, Some(78));
    assert!(ended.log.contains("ALLCORES_READY") && ended.log.contains("300"), "{}", ended.log);
}

#[test]
fn a_silent_worker_is_told_to_leave_a_trace_and_killed() {
    let script = fixture("notify.py");
    // One that dies of ABRT, and one that does not.
    for (prefix, signal) in [("", "ABRT"), ("trap '' ABRT; ", "KILL")] {
        let line = format!("{prefix}exec python3 {script} READY=1 WATCHDOG=1 stay");
        let mut running =
            allcores_sh(&line).set("WATCHDOG", "500ms").set("WORKERS", "1").set("RESTART", "always").start();
        running.log.next("worker ready");
        running.log.next("hung");
        let died = running.log.next("worker died");
        assert_eq!((field(&died, "signal"), field(&died, "cause")), (signal, "watchdog"), "{died}");
        running.log.next("worker started");
    }
}

#[test]
fn a_worker_that_shows_that_it_lives_is_left_alone() {
    let line = format!(
        "python3 -c '
import os, socket, time
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.connect(\"\\0\" + os.environ[\"NOTIFY_SOCKET\"][1:])
s.send(b\"READY=1\")
for _ in range({}):
    s.send(b\"WATCHDOG=1\")
    time.sleep(float(os.environ[\"WATCHDOG_USEC\"]) / 1e6 / 4)
s.send(b\"WATCHDOG=trigger\")
time.sleep(1000)
'",
        12
    );
    let mut running = allcores_sh(&line).set("WATCHDOG", "2s").set("STOP_SIGNAL", "KILL").start();
    running.log.next("worker ready");
    let hung = running.log.next("hung");
    assert!(field(&hung, "silent").parse::<f64>().is_err(), "{hung}");
    let died = running.log.next("worker died");
    let age: f64 = field(&died, "age").trim_end_matches('s').parse().unwrap();
    assert!(age > 5.5, "{died}");
}

/// A socket for us to be told on, by path or abstract.
fn supervisor(address: &SocketAddr) -> UnixDatagram {
    let socket = UnixDatagram::bind_addr(address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(40))).unwrap();
    socket
}

/// The next datagrams, up to the one with this in it.
fn told(socket: &UnixDatagram, part: &str) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        let read = socket.recv(&mut buffer).unwrap_or_else(|error| panic!("{error} after {all:?}"));
        all.push(String::from_utf8_lossy(&buffer[..read]).into_owned());
        if all.last().is_some_and(|last| last.contains(part)) {
            return all;
        }
    }
}

#[test]
fn our_own_supervisor_is_told_when_we_are_ready_reload_and_stop() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let name = format!("{}", path.display());
    for (address, variable) in [
        (SocketAddr::from_pathname(&path).unwrap(), name.clone()),
        (SocketAddr::from_abstract_name(&name).unwrap(), format!("@{name}")),
    ] {
        let socket = supervisor(&address);
        // A worker is ready when there is something in the pipe that all of them read.
        let (mut theirs, ours) = std::io::pipe().unwrap();
        let mut command = allcores(&[
            "sh",
            "-c",
            "trap 'exit 0' TERM; read go; python3 \"$0\" READY=1 barrier; sleep 1000 & wait",
            &fixture("notify.py"),
        ])
        .set("MODE", "ports")
        .set("FIRST_PORT", "9000")
        .set("READY", "notify")
        .set("WORKERS", "2")
        .set("MIN_READY", "100%")
        .env("NOTIFY_SOCKET", variable)
        .command();
        command.stdin(theirs.try_clone().unwrap());
        let running = Running::watch(command);
        let go = || std::io::Write::write_all(&mut &ours, b"\n").unwrap();
        assert!(told(&socket, "STATUS=0 of 2").iter().all(|line| line.starts_with("STATUS=")));
        go();
        assert!(told(&socket, "STATUS=1 of 2").iter().all(|line| line.starts_with("STATUS=")));
        go();
        told(&socket, "READY=1");
        running.send(libc::SIGHUP);
        let reloading = told(&socket, "RELOADING=1").pop().unwrap();
        let (_, time) = reloading.split_once("\nMONOTONIC_USEC=").unwrap();
        let mut uptime = String::new();
        File::open("/proc/uptime").unwrap().read_to_string(&mut uptime).unwrap();
        let seconds: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
        assert!((time.parse::<f64>().unwrap() / 1e6 - seconds).abs() < 60.0, "{reloading} at {uptime}");
        go();
        go();
        told(&socket, "READY=1");
        running.send(libc::SIGTERM);
        told(&socket, "STOPPING=1");
        assert_eq!(running.end().code, Some(0));
        drop(theirs.read(&mut []));
    }
}

#[test]
fn a_supervisor_that_does_not_listen_is_said_once_and_no_harm() {
    let mut running = allcores(&["sleep", "1000"]).env("NOTIFY_SOCKET", "/nonexistent/notify").start();
    running.log.next("worker ready");
    let ended = running.stop();
    assert_eq!(ended.log.matches("WARN NOTIFY_SOCKET").count(), 1, "{}", ended.log);
}
