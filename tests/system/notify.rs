//! What workers say on the notification socket, and who is heard there.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use crate::harness::{Running, allcores, allcores_sh, allcores_with, field, fixture, until};
use crate::kernel::{self, private_network};

/// The pids of a `notified` line: the sender, its parent, and so on.
fn lineage(line: &str) -> Vec<i32> {
    let (_, rest) = line.split_once("lineage=").unwrap();
    let rest = rest.trim_start_matches(['"', '[']);
    let numbers = rest.split(']').next().unwrap().split(|c: char| !c.is_ascii_digit());
    numbers.filter_map(|number| number.parse().ok()).collect()
}

/// The pid in there of the worker that was started next.
fn worker(running: &mut Running) -> i32 {
    field(&running.log.next("worker started"), "pid").parse().unwrap()
}

#[test]
fn every_mode_has_a_socket_and_it_is_never_our_parents() {
    private_network();
    let mut names = Vec::new();
    for (mode, setting, value) in [
        ("plain", "LOG", "info"),
        ("inherit", "LISTEN", "127.0.0.1:8080"),
        ("reuseport", "LISTEN", "127.0.0.1:8080"),
        ("ports", "FIRST_PORT", "9000"),
        ("cluster", "LOG", "info"),
    ] {
        let ended = allcores_sh("echo $NOTIFY_SOCKET ${WATCHDOG_USEC-none} ${WATCHDOG_PID-none}")
            .set("MODE", mode)
            .set(setting, value)
            .set("WORKERS", "1")
            .set("RESTART", "never")
            .env("NOTIFY_SOCKET", "/run/parent")
            .env("WATCHDOG_USEC", "7")
            .env("WATCHDOG_PID", "1")
            .end();
        assert!(ended.output.starts_with("@allcores/"), "{mode}: {}\n{}", ended.output, ended.log);
        assert!(ended.output.ends_with(" none none"), "{mode}: {}", ended.output);
        names.push(ended.output);
    }
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 5, "a name can be guessed: {names:?}");
}

#[test]
fn the_command_before_the_first_worker_is_none() {
    let ended = allcores(&["true"]).set("PRESTART", "echo ${NOTIFY_SOCKET-none} ${WATCHDOG_PID-none}").end();
    assert_eq!(ended.output, "none none");
}

#[test]
fn a_watchdog_is_told_to_each_worker_with_its_own_pid() {
    private_network();
    let ended = allcores_sh("echo $$ $WATCHDOG_PID $LISTEN_PID $WATCHDOG_USEC")
        .set("WATCHDOG", "1500ms")
        .set("LISTEN", "127.0.0.1:8080")
        .set("RESTART", "never")
        .set("WORKERS", "5")
        .end();
    assert_eq!(ended.output.lines().count(), 5);
    for line in ended.output.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        assert_eq!(words, [words[0], words[0], words[0], "1500000"]);
    }
}

#[test]
fn a_worker_and_its_descendants_speak_for_it() {
    for (forks, generations) in [(&[][..], 1), (&["fork"], 2), (&["fork", "fork"], 3)] {
        let mut running =
            allcores_with("notify.py", &[forks, &["READY=1\\nSTATUS=a b", "stay"]].concat()).start();
        let pid = worker(&mut running);
        let line = running.log.next("notified");
        assert_eq!((lineage(&line).len(), lineage(&line).last()), (generations, Some(&pid)), "{line}");
        assert!(line.contains("[Ready, Status("), "{line}");
    }
}

#[test]
fn a_sender_that_waits_for_its_barrier_is_known_however_short_it_lives() {
    // As systemd-notify does.
    let line = format!("python3 {} READY=1 barrier; exec sleep 1000", fixture("notify.py"));
    let mut running = allcores_sh(&line).start();
    let pid = worker(&mut running);
    let line = running.log.next("notified");
    assert_eq!((lineage(&line).len(), lineage(&line)[1]), (2, pid), "{line}");
}

#[test]
fn last_words_are_heard_before_the_death() {
    for _ in 0..5 {
        let mut running = allcores_with("notify.py", &["ERRNO=2"]).start();
        let pid = worker(&mut running);
        assert_eq!(lineage(&running.log.next("notified")), [pid]);
        running.log.next("worker died");
    }
}

#[test]
fn an_orphan_speaks_for_nobody() {
    let line = format!("python3 {} orphan READY=1 barrier; exec sleep 1000", fixture("notify.py"));
    let mut running = allcores_sh(&line).start();
    let pid = worker(&mut running);
    let line = running.log.next("notified");
    assert!(lineage(&line).len() == 1 && !lineage(&line).contains(&pid), "{line}");
}

#[test]
fn without_proc_a_worker_speaks_for_itself_alone() {
    let script = fixture("notify.py");
    let mut running = allcores(&["python3", &script, "READY=1", "fork", "READY=1", "stay"])
        .through(&["sh", "-c", "mount -t tmpfs none /proc; exec \"$@\"", "sh"])
        .start();
    let pid = worker(&mut running);
    assert_eq!(lineage(&running.log.next("notified")), [pid]);
    let child = lineage(&running.log.next("notified"));
    assert!(child.len() == 1 && child != [pid], "{child:?}");
}

#[test]
fn who_is_in_another_pid_namespace_is_not_heard() {
    let mut running = allcores_sh("echo $NOTIFY_SOCKET; exec sleep 1000").start();
    let name = running.output.next("@allcores/");
    let address = SocketAddr::from_abstract_name(&name[1..]).unwrap();
    let stranger = UnixDatagram::unbound().unwrap();
    stranger.send_to_addr(b"READY=1", &address).unwrap();
    running.log.next("another pid namespace");
    assert!(!running.stop().log.contains("notified"));
}

#[test]
fn what_is_too_long_or_means_nothing_is_dropped() {
    let mut running = allcores_with("notify.py", &["long", "X=1", "READY=2", "STATUS=heard", "stay"]).start();
    running.log.next("too long");
    assert!(running.log.next("notified").contains("heard"));
    assert_eq!(running.stop().log.matches("notified").count(), 1);
}

#[test]
fn descriptors_that_come_along_are_closed_at_once() {
    let mut running =
        allcores_with("notify.py", &["print:before", "descriptor", "print:after", "stay"]).start();
    running.output.next("before");
    let open = || std::fs::read_dir(format!("/proc/{}/fd", running.pid())).unwrap().count();
    let before = open();
    let line = running.log.next("with descriptors");
    assert_eq!(lineage(&line), [2]);
    running.output.next("after");
    let open = || std::fs::read_dir(format!("/proc/{}/fd", running.pid())).unwrap().count();
    assert_eq!(open(), before);
}

#[test]
fn a_flood_costs_neither_memory_nor_the_hearing_of_signals() {
    let mut running = allcores_with("notify.py", &["flood"])
        .set("LOG", "info")
        .set("WORKERS", "3")
        .set("STOP_SIGNAL", "KILL")
        .start();
    running.log.next_of(3, "worker ready");
    let pid = running.pid();
    // Not what is mapped of the binary: its pages go when nothing is due and come back as it is used.
    let memory = || -> u64 {
        let text = kernel::status(pid, "RssAnon").unwrap();
        text.trim_end_matches(" kB").parse().unwrap()
    };
    let early = until("allcores has heard a lot", || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let ticks: u64 = stat.rsplit(") ").next()?.split(' ').nth(12)?.parse().ok()?;
        (ticks > 20).then(memory)
    });
    std::thread::sleep(Duration::from_secs(1));
    assert!(memory() < early + 512, "{} after {early}", memory());
    let asked = std::time::Instant::now();
    running.send(libc::SIGTERM);
    let ended = running.end();
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}\n{}", asked.elapsed(), ended.log);
}
