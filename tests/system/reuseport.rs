//! Mode `reuseport`: every slot has a socket of its own, whose queue survives the worker.

use std::collections::BTreeSet;
use std::net::TcpStream;

use crate::harness::{Running, allcores_with, field};
use crate::kernel::{private_network, send};
use crate::sockets::{answer, ask};

/// So many that each of three slots gets one, but for one run in a million.
const MANY: usize = 40;

fn start(listen: &str) -> Running {
    let mut running = allcores_with("serve.py", &[])
        .set("LISTEN", listen)
        .set("MODE", "reuseport")
        .set("WORKERS", "3")
        .set("BACKOFF", "700ms..700ms")
        .start();
    running.output.next_of(3, "up");
    running
}

#[test]
fn every_slot_has_a_socket_of_its_own() {
    private_network();
    let _running = start("web=127.0.0.1:8080");
    let slots: BTreeSet<String> = (0..MANY).map(|_| ask("127.0.0.1:8080")).collect();
    assert_eq!(slots.into_iter().collect::<Vec<_>>(), ["0 1 web", "1 2 web", "2 3 web"]);
}

#[test]
fn a_slots_queue_survives_its_worker() {
    private_network();
    let mut running = start("127.0.0.1:8080");
    let (line, pid) = running.worker();
    assert_eq!(field(&line, "slot"), "0");
    send(pid, libc::SIGKILL);
    running.log.next("slot rests");
    let connect = |_| TcpStream::connect("127.0.0.1:8080").unwrap();
    let connections: Vec<TcpStream> = (0..MANY).map(connect).collect();
    let answers: BTreeSet<String> = connections.into_iter().map(answer).collect();
    // None was refused or lost, and those for the dead worker were answered by its replacement.
    assert_eq!(answers.into_iter().collect::<Vec<_>>(), ["0 4 unknown", "1 2 unknown", "2 3 unknown"]);
    assert_eq!(running.stop().code, Some(0));
}

#[test]
fn a_bare_port_is_dual_stack_here_too_and_a_unix_socket_is_shared() {
    private_network();
    let running = start("web=8080,local=unix:@app");
    let slots: BTreeSet<String> =
        (0..MANY).map(|_| ask("[::1]:8080")).chain([ask("127.0.0.1:8080")]).collect();
    assert_eq!(slots.len(), 3, "{slots:?}");
    let ended = running.stop();
    assert!(ended.log.contains("workers share them sockets=1"), "{}", ended.log);
}

#[test]
fn where_the_kernel_does_not_steer_it_chooses_as_it_always_did() {
    private_network();
    // Before what is refused come the notification socket, one that looks whether the address is free, and three that are bound.
    let refused = ["-e", "trace=setsockopt", "-e", "inject=setsockopt:error=EPERM:when=9+"];
    let launch = allcores_with("serve.py", &[]).set("LISTEN", "127.0.0.1:8080").set("MODE", "reuseport");
    let launch =
        launch.set("WORKERS", "3").through(&[&["strace", "-qq", "-o", "/dev/null"], &refused[..]].concat());
    let mut running = launch.start();
    running.output.next_of(3, "up");
    let slots: BTreeSet<String> = (0..MANY).map(|_| ask("127.0.0.1:8080")).collect();
    assert_eq!(slots.len(), 3, "{slots:?}");
    let ended = running.stop();
    assert_eq!(ended.log.matches("WARN connections cannot be steered").count(), 1, "{}", ended.log);
}

#[test]
fn who_shares_the_address_is_told_of() {
    private_network();
    let first = start("127.0.0.1:8080");
    let second = start("127.0.0.1:8080");
    assert!(second.stop().log.contains("others listen on the same address"));
    assert!(!first.stop().log.contains("others listen on the same address"));
}
