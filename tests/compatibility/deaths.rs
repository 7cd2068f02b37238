//! What becomes of connections when a worker dies, and of workers when the primary does.

use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::client::{Connection, Failure, get};
use crate::common::{field, wait_until};
use crate::pool::{Launch, Primary, cause, is_gone, own_address, send};

/// Long enough for anything that is under way on a busy machine.
const MOMENT: Duration = Duration::from_millis(1500);
const CLIENTS: usize = 4;

/// A worker that is stopped and then killed never took what it was offered.
pub fn what_was_not_taken_is_answered(node: u8, primary: Primary) {
    let address = own_address();
    let pool = Launch::new("http.js", 2).node(node).at(address).serve(primary);
    let victim = *pool.workers().first().unwrap();
    send(victim, Signal::SIGSTOP);
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut connection = Connection::open(address).unwrap();
        connection.patience(MOMENT);
        connection.ask("/").unwrap();
        match connection.answer() {
            Ok(answer) => assert_ne!(answer["pid"], victim),
            Err(failure) => {
                assert_eq!(failure, Failure::Silent);
                held.push(connection);
            }
        }
    }
    assert_eq!(held.len(), 1, "one of two is offered to the worker that is stopped");
    send(victim, Signal::SIGKILL);
    pool.seen_all("listening", 3);
    let answer = held[0].answer();
    match primary {
        Primary::Ours => assert_ne!(answer.unwrap()["pid"], victim),
        // It keeps the connection open, and forgets it.
        Primary::Nodes => assert_eq!(answer, Err(Failure::Silent)),
    }
}

#[test]
fn nodes_own_primary_forgets_what_a_dead_worker_did_not_take() {
    what_was_not_taken_is_answered(crate::NODE, Primary::Nodes);
}

/// A loop that turns is alive, whatever the program does or does not; one that stands still is found out, and nobody else is.
pub fn finds_out_who_hangs(node: u8) {
    let address = own_address();
    let launch = Launch::new("http.js", 2).node(node).at(address).set("watchdog", "2s");
    let pool = launch.serve(Primary::Ours);
    let mut busy = Connection::open(address).unwrap();
    busy.ask("/busy/600000").unwrap();
    let hangs = pool.seen_all("request", 1)[0]["pid"].clone();
    let death = pool.wait_for_death();
    assert_eq!((cause(&death), field(&death, "pid")), (Some("watchdog"), Some(hangs.to_string().as_str())));
    assert_eq!(busy.answer(), Err(Failure::Cut));
    pool.seen_all("listening", 3);
    get(address).unwrap();
    assert_eq!(pool.lines_with("worker died"), 1, "who idles has answered all the while");
}

#[test]
fn only_what_a_killed_worker_had_taken_is_lost() {
    let address = own_address();
    let pool = Launch::new("http.js", 3).at(address).set("max-failures", "0").serve(Primary::Ours);
    let (stop, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    let load = || {
        let mut failures = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let began = Instant::now();
            match get(address) {
                Ok(_) => _ = answered.fetch_add(1, Ordering::Relaxed),
                Err(failure) => failures.push((failure, began, Instant::now())),
            }
        }
        failures
    };
    let mut kills = Vec::new();
    let failures: Vec<_> = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(load)).collect();
        for round in 1..=6 {
            let before = answered.load(Ordering::Relaxed);
            wait_until("the load flows", || (answered.load(Ordering::Relaxed) > before + 200).then_some(()));
            let ready = || pool.lines_with("worker ready");
            let victim = *pool.workers().first().unwrap();
            kills.push(Instant::now());
            send(victim, Signal::SIGKILL);
            wait_until("it is replaced", || (ready() >= 3 + round).then_some(()));
        }
        stop.store(true, Ordering::Relaxed);
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    println!("{} answered, {} lost with {} kills", answered.into_inner(), failures.len(), kills.len());
    for (failure, began, ended) in &failures {
        assert_eq!(*failure, Failure::Cut, "nobody is refused, nobody waits in vain");
        let is_excused = kills.iter().any(|kill| kill <= ended && *began <= *kill + MOMENT);
        assert!(is_excused, "nobody was killed meanwhile");
    }
    assert!(failures.len() <= kills.len() * CLIENTS);
}

#[test]
fn a_request_that_comes_when_nobody_is_left_is_answered_by_the_replacement() {
    let address = own_address();
    let pool = Launch::new("http.js", 1).at(address).serve(Primary::Ours);
    send(*pool.workers().first().unwrap(), Signal::SIGKILL);
    pool.wait_for_death();
    assert_eq!(get(address), Ok(2));
    drop(pool);

    // Node's own primary closes the listener with the last worker.
    let address = own_address();
    let pool = Launch::new("http.js", 1).at(address).serve(Primary::Nodes);
    send(*pool.workers().first().unwrap(), Signal::SIGKILL);
    pool.wait_for_death();
    let refused = get(address);
    assert!(matches!(refused, Err(Failure::Refused | Failure::Cut)), "{refused:?}");
}

#[test]
fn nobody_outlives_us() {
    let address = own_address();
    for primary in [Primary::Nodes, Primary::Ours] {
        let mut pool = Launch::new("http.js", 3).at(address).serve(primary);
        let workers = pool.workers();
        assert_eq!(workers.len(), 3);
        pool.send(Signal::SIGKILL);
        assert_eq!(pool.program.wait(), 137);
        wait_until("all workers are gone", || workers.iter().all(|pid| is_gone(*pid)).then_some(()));
        let refused = TcpStream::connect(address).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused, "{primary:?}");
    }
}

#[test]
fn who_was_handed_enough_is_replaced_and_no_request_fails() {
    let address = own_address();
    let launch = Launch::new("http.js", 2).at(address).set("max-connections", "100");
    let pool = launch.serve(Primary::Ours);
    let asked = |_| (0..450).map(|_| get(address)).filter(Result::is_err).collect::<Vec<_>>();
    let failures: Vec<_> = thread::scope(|scope| {
        let clients: Vec<_> = (0..2).map(|client| scope.spawn(move || asked(client))).collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    assert_eq!(failures, []);
    let replaced = || pool.lines_with("limit=\"MAX_CONNECTIONS\"");
    wait_until("both were replaced", || (replaced() >= 2).then_some(()));
    assert!(replaced() <= 10, "900 connections are enough for ten workers at the most, of 90 each");
}
