//! A stop under load: who serves on, for how long, and what becomes of what is in hand.

use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::load::{Client, Load, Protocol, Request, Tally};
use crate::pool::Pool;
use crate::programs::{Server, go, gunicorn, node};

const DELAY: Duration = Duration::from_secs(4);

fn asks(server: &Server, path: &'static str) -> thread::JoinHandle<Request> {
    let mut client = Client::new(server.address, Protocol::Http);
    thread::spawn(move || client.ask(path))
}

fn serves_on(server: Server) {
    let server = server.set("drain-delay", "4s").set("ready", "alive:1s");
    let mut pool = Pool::start(&server);
    let load = Load::start(server.address, server.protocol);
    load.wait_for_more(100);
    let asked = Instant::now();
    pool.send(Signal::SIGTERM);
    pool.wait_for(&["stop asked for; serving on", "delay=4.000s"]);
    load.wait_for_more(100);
    assert_eq!(pool.wait(), 0);
    let requests = load.finish();
    let failed: Vec<_> = requests.iter().filter(|request| !request.is_ok()).collect();
    println!("{}; all failures are after the delay", Tally::of(&requests));
    assert!(!failed.is_empty(), "nobody serves any more");
    for request in failed {
        assert!(request.ended >= asked + DELAY, "{request:?} failed {:?} after TERM", request.ended - asked);
    }
}

#[test]
fn gunicorn_serves_on_until_the_delay_is_over() {
    serves_on(gunicorn(&[]));
}

#[test]
fn node_serves_on_until_the_delay_is_over() {
    serves_on(node());
}

#[test]
fn go_serves_on_until_the_delay_is_over_with_a_queue_for_each_slot() {
    serves_on(go().set("mode", "reuseport"));
}

#[test]
fn requests_in_hand_are_finished_when_the_delay_is_over() {
    let server = go().set("ready", "notify").set("drain-delay", "1s");
    let mut pool = Pool::start(&server);
    pool.send(Signal::SIGTERM);
    pool.wait_for(&["stop asked for; serving on"]);
    let asked: Vec<_> = (0..6).map(|_| asks(&server, "/slow/4000")).collect();
    pool.wait_for(&["stopping", "workers=3"]);
    let stopping = Instant::now();
    assert_eq!(pool.wait(), 0);
    for request in asked.into_iter().map(|request| request.join().unwrap()) {
        assert!(request.is_ok(), "{request:?}");
        assert!(request.ended > stopping, "it was finished afterwards");
    }
    assert_eq!(pool.count("killing it"), 0);
}

#[test]
fn workers_that_die_while_they_drain_end_the_stop_at_once() {
    let server = go().set("ready", "notify").set("drain-delay", "10m");
    let mut pool = Pool::start(&server);
    pool.send(Signal::SIGTERM);
    pool.wait_for(&["stop asked for; serving on"]);
    let workers = pool.workers();
    for (worker, left) in workers.iter().zip((0..workers.len()).rev()) {
        pool.kill(&[*worker]);
        pool.wait_for(&["worker died", &format!(" worker={worker} ")]);
        if left > 0 {
            let mut client = Client::new(server.address, Protocol::Http);
            assert!(client.ask("/").is_ok(), "{left} others serve on");
        }
    }
    assert_eq!(pool.wait(), 0, "it was asked for");
    assert_eq!(pool.count("worker ready"), workers.len(), "nobody follows");
}

#[test]
fn a_worker_that_dies_when_it_is_told_to_leave_does_not_hold_up_a_reload() {
    let server = go().set("ready", "notify").set("stop-signal", "SEGV");
    let mut pool = Pool::start(&server);
    let line = pool.reload();
    assert!(line.contains("reload done"), "{line}");
    assert_eq!(pool.count("cause=stopped"), 3, "we asked for it");
    assert_eq!(pool.count("rests after a failure"), 0);
    assert_eq!(pool.stop().0, 0);
}

#[test]
fn a_worker_that_ignores_term_is_killed_in_its_time_and_the_others_are_unharmed() {
    let server = go().set("ready", "notify").set("stop-timeout", "3s");
    let mut pool = Pool::start(&server);
    let request = Client::new(server.address, Protocol::Http).ask("/deaf");
    let crate::load::Outcome::Answered(deaf) = request.outcome else { panic!("{request:?}") };
    let load = Load::start(server.address, server.protocol);
    load.wait_for_answer_of(deaf);
    let line = pool.reload();
    assert!(line.contains("reload done"), "{line}");
    let killed = pool.wait_for(&["still there, killing it"]);
    assert!(killed.contains(&format!(" worker={deaf} ")), "{killed}");
    assert_eq!(pool.count("still there, killing it"), 1, "and nobody else");
    let death = pool.wait_for(&["worker died", &format!(" worker={deaf} ")]);
    assert!(death.contains("signal=KILL") && death.contains("cause=stopped"), "{death}");
    load.wait_for_more(20);
    // It does not hear that it is to leave, accepts until it is killed, and loses what it has then.
    let requests = load.finish();
    let failed = requests.iter().filter(|request| !request.is_ok()).count();
    assert!(failed <= crate::load::CLIENTS, "{failed} are more than it can have had in hand");
    assert_eq!(pool.stop().0, 0);
}
