//! Mode `cluster` for programs that are not Node: the channel of the README, as the worker in Python speaks it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use crate::control::{Controlled, controlled, ctl};
use crate::harness::{Launch, Running, allcores, allcores_sh, allcores_with, until};
use crate::kernel::{self, private_network, send};

const ADDRESS: &str = "127.0.0.1:8000";

/// Two workers of the example, in a network of the test's own.
fn example() -> Launch {
    private_network();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/channel/worker.py");
    allcores(&["python3", example.to_str().unwrap()]).set("MODE", "cluster").set("WORKERS", "2")
}

/// Both ready.
fn pool() -> Running {
    let mut running = example().start();
    running.log.next_of(2, "worker ready");
    running
}

#[test]
fn the_worker_in_python_answers_whoever_looks_and_serves_on() {
    let Controlled { mut running, socket, _directory } = controlled(example());
    running.log.next_of(2, "worker ready");
    until("both have answered", || {
        let status: serde_json::Value = serde_json::from_str(&ctl(&socket, &["status", "--json"]).1).unwrap();
        status["workers"].as_array().unwrap().iter().all(|worker| worker["lag"].is_number()).then_some(())
    });
    let mut answers = [ask(), ask()];
    answers.sort();
    assert_eq!(answers, ["1", "2"]);
    assert_eq!(running.stop().code, Some(0));
}

/// The number of the worker that answers.
fn ask() -> String {
    let mut connection = TcpStream::connect(ADDRESS).unwrap();
    connection.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    body.strip_prefix("worker ").unwrap().split(',').next().unwrap().to_owned()
}

#[test]
fn the_worker_in_python_serves_in_turn_and_leaves_when_it_is_told() {
    let running = pool();
    let mut answers: Vec<_> = (0..20).map(|_| ask()).collect();
    answers.sort();
    assert_eq!(answers, [vec!["1"; 10], vec!["2"; 10]].concat());
    let ended = running.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert_eq!(ended.log.matches("code=0 cause=stopped").count(), 2, "{}", ended.log);
}

#[test]
fn its_replacement_answers_who_came_while_it_was_dead() {
    let mut running = pool();
    for worker in running.below() {
        send(worker, libc::SIGKILL);
    }
    // The listener is ours: nobody is refused, and the first that is ready answers.
    assert!(["3", "4"].contains(&ask().as_str()));
    running.log.next_of(2, "worker ready");
    assert_eq!(running.stop().code, Some(0));
}

#[test]
fn a_wrapper_in_front_of_the_worker_is_told() {
    private_network();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/channel/worker.py");
    let line = format!("python3 {}; exit 0", example.display());
    let mut running = allcores_sh(&line).set("MODE", "cluster").set("WORKERS", "1").start();
    running.log.next("starts Node as another process");
    running.log.next("worker ready");
    assert_eq!(ask(), "1", "it serves all the same");
    assert_eq!(running.stop().code, Some(0));
}

#[test]
fn who_never_stops_talking_keeps_us_from_nothing() {
    let mut running = allcores_with("flood.py", &[]).set("MODE", "cluster").set("WORKERS", "2").start();
    running.log.next_of(2, "worker ready");
    // What has come is dealt with before more is read: a signal is heard meanwhile, and memory is not filled.
    running.send(libc::SIGUSR1);
    running.log.next("signal ignored");
    let memory = kernel::status(running.pid(), "VmHWM").unwrap();
    let kib: u64 = memory.split_whitespace().next().unwrap().parse().unwrap();
    assert!(kib < 64 * 1024, "{memory}");
    assert_eq!(running.stop().code, Some(0));
}
