//! What is in hand when a stop is asked for.

use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal;

use crate::client::{Connection, Failure, get};
use crate::common::{must, wait_until};
use crate::pool::{BOTH, Launch, Primary, own_address};

const CLIENTS: usize = 16;

/// Requests of a second are answered; neither connections that idle nor a timer of the program's holds it up.
pub fn finishes_what_it_has(node: u8) {
    let address = own_address();
    let launch = Launch::new("http.js", 2).node(node).at(address).env("TEST_TIMER", "1");
    let mut pool = launch.serve(Primary::Ours);
    let mut idle: Vec<_> = (0..2).map(|_| Connection::open(address).unwrap()).collect();
    idle.iter_mut().for_each(|connection| _ = connection.get().unwrap());
    let mut busy = ask_slowly(address);
    pool.seen_all("request", busy.len());

    let asked = Instant::now();
    pool.send(Signal::SIGTERM);
    for connection in &mut busy {
        connection.answer().unwrap();
    }
    drop(busy);
    assert_eq!(pool.program.wait(), 0);
    // Node 18 waits for connections that idle, which half of STOP_TIMEOUT ends.
    let most = Duration::from_secs(if node == 18 { 6 } else { 3 });
    assert!(asked.elapsed() < most, "the stop took {:?}", asked.elapsed());
    assert_eq!(pool.lines_with("killing it"), 0);
}

fn ask_slowly(address: std::net::SocketAddr) -> Vec<Connection> {
    let ask = |_| {
        let mut connection = Connection::open(address).unwrap();
        connection.ask("/slow/1000").unwrap();
        connection
    };
    (0..4).map(ask).collect()
}

#[test]
fn both_primaries_finish_the_requests_in_hand() {
    for primary in BOTH {
        let address = own_address();
        let mut pool = Launch::new("http.js", 2).at(address).serve(primary);
        let mut busy = ask_slowly(address);
        pool.seen_all("request", busy.len());
        pool.send(Signal::SIGTERM);
        for connection in &mut busy {
            connection.answer().unwrap();
        }
        drop(busy);
        assert_eq!(pool.program.wait(), 0, "{primary:?}");
    }
}

/// Connections that workers took a moment ago, and on which nothing was said yet.
fn says_nothing_yet(node: u8, primary: Primary) -> Vec<Result<u64, Failure>> {
    let address = own_address();
    let mut pool = Launch::new("http.js", 2).node(node).at(address).serve(primary);
    let mut fresh: Vec<_> = (0..6).map(|_| Connection::open(address).unwrap()).collect();
    pool.seen_all("connection", fresh.len());
    pool.send(Signal::SIGTERM);
    match primary {
        Primary::Ours => _ = pool.program.wait_for_line(&["stopping"]),
        // It says nothing; its workers do as they are told at once.
        Primary::Nodes => std::thread::sleep(Duration::from_millis(100)),
    }
    let outcomes = fresh.iter_mut().map(|connection| connection.get()).collect();
    drop(fresh);
    assert_eq!(pool.program.wait(), 0);
    outcomes
}

/// They are answered when they say it in the next moment.
pub fn answers_what_it_has_just_taken(node: u8) {
    for outcome in says_nothing_yet(node, Primary::Ours) {
        outcome.unwrap();
    }
}

#[test]
fn nodes_own_primary_loses_what_node_26_has_just_taken() {
    assert_eq!(says_nothing_yet(26, Primary::Nodes), [Err(Failure::Cut); 6]);
}

#[test]
fn an_open_web_socket_holds_for_half_of_the_time() {
    let address = own_address();
    let mut pool = Launch::new("ws.js", 2).at(address).set("stop-timeout", "4s").serve(Primary::Ours);
    let mut socket = Connection::open(address).unwrap();
    socket.write("GET / HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n");
    socket.write("Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
    assert!(socket.line().unwrap().contains(" 101 "));
    let (code, time) = pool.stop();
    assert_eq!(code, 0);
    assert_eq!(pool.lines_with("killing it"), 0, "STOP_SIGNAL was enough");
    assert!(time > Duration::from_millis(1900), "it was open for {time:?} only");
    assert!(time < Duration::from_millis(3500), "the stop took {time:?}");
}

/// Clients ask all the time, each request over a connection of its own, while a stop is asked for. Whoever has connected is
/// answered, and then everybody is refused.
pub fn answers_all_who_have_connected(node: u8, balance: &str) {
    let address = own_address();
    let launch = Launch::new("http.js", 3).node(node).at(address).set("balance", balance);
    let mut pool = launch.serve(Primary::Ours);
    let (stop, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    let client = || {
        let mut failures = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            match get(address) {
                Ok(_) => _ = answered.fetch_add(1, Ordering::Relaxed),
                Err(failure) => failures.push(failure),
            }
        }
        failures
    };
    let failures: Vec<_> = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
        wait_until("the load flows", || (answered.load(Ordering::Relaxed) > 500).then_some(()));
        pool.send(Signal::SIGTERM);
        let code = pool.program.wait();
        stop.store(true, Ordering::Relaxed);
        assert_eq!(code, 0);
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    let count = |kind| failures.iter().filter(|failure| **failure == kind).count();
    assert_eq!(count(Failure::Silent), 0, "{balance}: nobody waits in vain");
    assert_eq!(count(Failure::Cut), 0, "{balance}: nobody who has connected is cut off");
    let answered = answered.into_inner();
    wait_until("all that was taken is answered", || {
        assert!(pool.seen("connection").len() <= answered, "{} > {answered}", pool.seen("connection").len());
        (pool.seen("connection").len() == answered).then_some(())
    });
}

/// Over a network so narrow that a handshake takes milliseconds, some have sent their first packet when nobody else is let in.
#[test]
fn whoever_had_begun_to_connect_is_answered() {
    unshare(CloneFlags::CLONE_NEWNET).unwrap();
    for words in ["ip link set lo up", "tc qdisc add dev lo root tbf rate 3mbit burst 2000 latency 3s"] {
        let mut words = words.split(' ');
        must(Command::new(words.next().unwrap()).args(words));
    }
    for balance in ["round-robin", "source-ip", "kernel", "shared"] {
        answers_all_who_have_connected(22, balance);
    }
}
