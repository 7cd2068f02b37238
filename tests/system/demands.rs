//! What is changed through the control socket: done, told line by line, and with a verdict.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;

use crate::client::demand;
use crate::control::{Controlled, controlled, ctl, pool};
use crate::harness::{allcores_sh, until};

fn status(socket: &Path) -> serde_json::Value {
    serde_json::from_str(&ctl(socket, &["status", "--json"]).1).unwrap()
}

/// The workers' numbers, slot by slot.
fn workers(socket: &Path) -> Vec<(u64, String)> {
    let status = status(socket);
    let workers = status["workers"].as_array().unwrap().iter();
    workers
        .filter_map(|worker| Some((worker["worker"].as_u64()?, worker["role"].as_str()?.to_owned())))
        .collect()
}

/// Waits until just these are there.
fn until_workers(socket: &Path, expected: &[u64]) {
    until(&format!("the workers are {expected:?}"), || {
        let there = workers(socket);
        (there.iter().map(|(worker, _)| *worker).collect::<Vec<_>>() == expected).then_some(())
    });
}

fn ready(launch: crate::harness::Launch) -> Controlled {
    let mut controlled = controlled(launch);
    controlled.running.log.next_of(2, "worker ready");
    controlled
}

#[test]
fn a_reload_replaces_everybody_and_tells_how() {
    let Controlled { running: _running, socket, _directory } = ready(pool());
    let (code, said, told) = ctl(&socket, &["reload"]);
    assert_eq!(code, 0, "{said}{told}");
    let lines: Vec<&str> = said.lines().collect();
    let parts = [
        "slot 0: worker 3 started",
        "slot 0: worker 3 ready",
        "slot 1: worker 4 started",
        "slot 1: worker 4 ready",
        "done: 2 workers replaced",
    ];
    assert!(lines.len() == 5 && lines.iter().zip(parts).all(|(line, part)| line.starts_with(part)), "{said}");
    until_workers(&socket, &[3, 4]);
    let status = status(&socket);
    assert_eq!((&status["generation"], &status["last_reload"]["verdict"]), (&2.into(), &"done".into()));
    assert!(ctl(&socket, &["status"]).1.contains("last reload: done in "));
}

#[test]
fn a_reload_that_fails_says_why_and_changes_nothing() {
    let line = "[ $ALLCORES_GENERATION = 1 ] || exit 9; exec sleep 1000";
    let launch = allcores_sh(line).set("WORKERS", "2").set("RESTART", "always").set("READY", "alive:200ms");
    let Controlled { running: _running, socket, _directory } = ready(launch);
    let (code, said, _) = ctl(&socket, &["reload"]);
    let verdict = said.lines().last().unwrap();
    assert!(
        code == 1 && verdict.starts_with("failed: slot 0") && verdict.contains("exit 9"),
        "{code} {said}"
    );
    until_workers(&socket, &[1, 2]);
    assert_eq!(ctl(&socket, &["check"]).0, 0);
}

#[test]
fn whoever_follows_hears_each_line_as_it_comes() {
    let Controlled { running: _running, socket, _directory } = ready(pool());
    let mut stream = UnixStream::connect(&socket).unwrap();
    stream.write_all(b"POST /reload HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
    assert_eq!(lines.next().unwrap(), "HTTP/1.1 200 OK");
    assert!(lines.by_ref().skip_while(|line| !line.is_empty()).nth(1).unwrap().starts_with("slot 0: "));
    // The second slot's turn comes after the first has been told.
    assert_ne!(status(&socket)["reload"], serde_json::Value::Null);
    assert!(lines.last().unwrap().starts_with("done: "), "the connection ends with the verdict");
}

#[test]
fn two_who_ask_for_a_reload_both_hear_how_it_ends() {
    let Controlled { running: _running, socket, _directory } = ready(pool());
    let ask = |socket: std::path::PathBuf| thread::spawn(move || ctl(&socket, &["reload"]));
    let both = [ask(socket.clone()), ask(socket.clone())];
    for asked in both {
        let (code, said, _) = asked.join().unwrap();
        assert!(code == 0 && said.contains("done: "), "{code} {said}");
    }
}

#[test]
fn whoever_leaves_does_not_take_the_reload_along() {
    let Controlled { mut running, socket, _directory } = ready(pool());
    let mut stream = UnixStream::connect(&socket).unwrap();
    stream.write_all(b"POST /reload HTTP/1.1\r\n\r\n").unwrap();
    running.log.next("worker started");
    drop(stream);
    running.log.next("reload done");
    until_workers(&socket, &[3, 4]);
}

#[test]
fn whoever_said_all_still_hears_the_verdict() {
    let Controlled { running: _running, socket, _directory } = ready(pool());
    let mut stream = UnixStream::connect(&socket).unwrap();
    stream.write_all(b"POST /reload HTTP/1.1\r\n\r\n").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    assert!(said.lines().last().unwrap().starts_with("done: "), "{said}");
}

#[test]
fn one_slot_can_be_restarted() {
    let Controlled { running: _running, socket, _directory } = ready(pool());
    let (code, said, _) = ctl(&socket, &["restart", "1"]);
    assert!(code == 0 && said.starts_with("done: slot 1: worker 3 ready"), "{code} {said}");
    until_workers(&socket, &[1, 3]);
    let (code, said, _) = ctl(&socket, &["restart", "7"]);
    assert!(code == 1 && said.contains("slot 7"), "{code} {said}");
    assert_eq!(demand(&socket, "POST", "/restart/7").code(), 409);
    assert_eq!(demand(&socket, "POST", "/restart/x").code(), 400);
}

#[test]
fn a_pool_grows_and_shrinks() {
    let Controlled { running: _running, socket, _directory } = ready(pool());
    for (word, workers) in
        [("4", &[1, 2, 3, 4][..]), ("+1", &[1, 2, 3, 4, 5]), ("-2", &[1, 2, 3]), ("auto", &[1, 2])]
    {
        let (code, said, _) = ctl(&socket, &["scale", word]);
        assert!(code == 0 && said.starts_with("done: "), "{word}: {code} {said}");
        until_workers(&socket, workers);
    }
    let (code, said, _) = ctl(&socket, &["scale", "0"]);
    assert!(code == 1 && said.starts_with("failed: "), "{code} {said}");
}

#[test]
fn a_stop_stops_and_a_reload_of_what_stops_fails() {
    let launch = allcores_sh("trap '' TERM; while :; do sleep 0.1; done").set("WORKERS", "2");
    let launch = launch.set("RESTART", "always").set("READY", "alive:100ms").set("STOP_TIMEOUT", "2s");
    let Controlled { running, socket, _directory } = ready(launch);
    assert_eq!(ctl(&socket, &["stop"]).0, 0);
    let (code, said, _) = ctl(&socket, &["reload"]);
    assert!(code == 1 && said.starts_with("failed: "), "{code} {said}");
    assert_eq!(ctl(&socket, &["check"]).1, "draining\n");
    let ended = running.end();
    assert_eq!(ended.code, Some(137), "{}", ended.log);
}

#[test]
fn a_slow_reload_that_a_stop_ends_has_failed() {
    let line = "[ $ALLCORES_GENERATION = 1 ] && echo up; exec sleep 1000";
    let launch = allcores_sh(line).set("WORKERS", "2").set("RESTART", "always").set("READY", "alive:1s");
    let Controlled { mut running, socket, _directory } = ready(launch);
    let asked = {
        let socket = socket.clone();
        thread::spawn(move || ctl(&socket, &["reload"]))
    };
    running.log.next("worker started");
    running.send(libc::SIGTERM);
    let (code, said, told) = asked.join().unwrap();
    assert!(code == 1 && said.contains("failed: "), "{code} {said} {told}");
}
