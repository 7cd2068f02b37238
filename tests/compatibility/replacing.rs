//! Workers that live are replaced under load: all of them, one by one, or none when the new ones are no good.

use std::collections::BTreeSet;
use std::fs;

use nix::sys::signal::Signal;

use crate::common::field;
use crate::load::{CLIENTS, Client, Load, Outcome, Protocol, Tally};
use crate::pool::{Launch, Pool, Primary, own_address};

/// So many answers come before the next reload.
const BETWEEN: usize = 20;

/// Asks for a reload, the so-manieth. The line that says how it went.
fn reload(pool: &Pool, times: usize) -> String {
    pool.send(Signal::SIGHUP);
    verdict(pool, times)
}

fn verdict(pool: &Pool, times: usize) -> String {
    pool.program.wait_for_line(&["reload ", " took=", &format!(" generation={} ", times + 1)])
}

/// Reloads so often under load. The clients, still at work.
fn reload_under_load(pool: &Pool, address: std::net::SocketAddr, protocol: Protocol, times: usize) -> Load {
    let load = Load::start(address, protocol);
    for time in 1..=times {
        load.wait_for_more(BETWEEN);
        let line = reload(pool, time);
        assert!(line.contains("reload done"), "{line}");
    }
    load.wait_for_more(BETWEEN);
    load
}

/// Two reloads, and nobody notices. Only Node 26 closes, unanswered, what it took a moment before it is told to leave: where workers
/// accept for themselves, nobody can keep that moment free of new connections.
pub fn reloads(node: u8, balance: &str) {
    let address = own_address();
    let launch = Launch::new("life.js", 2).node(node).at(address).set("balance", balance);
    let mut pool = launch.serve(Primary::Ours);
    let load = reload_under_load(&pool, address, Protocol::Http, 2);
    let name = format!("Node {node}, {balance}");
    if node == 26 && ["kernel", "shared"].contains(&balance) {
        let tally = Tally::of(&load.finish());
        println!("{name}: {tally}");
        assert!(tally.failed() == tally.cut && tally.cut <= 4, "{name}: {tally}, and four workers left");
    } else {
        load.finish_unharmed(&name);
    }
    assert_eq!(pool.lines_with("killing it"), 0);
    assert_eq!(pool.stop().0, 0);
}

#[test]
fn node_is_reloaded_25_times() {
    let address = own_address();
    let mut pool = Launch::new("life.js", 2).at(address).serve(Primary::Ours);
    reload_under_load(&pool, address, Protocol::Http, 25).finish_unharmed("Node, 25 reloads");
    assert_eq!(pool.lines_with("killing it"), 0);
    assert_eq!(pool.stop().0, 0);
}

/// `server.close()` ends connections that idle, but serves those that are busy for as long as they ask in time, in every Node so
/// far. A program that says `Connection: close` when it is to leave loses nothing.
#[test]
fn express_is_reloaded_25_times_and_connections_are_kept() {
    let address = own_address();
    let mut pool = Launch::new("express.js", 2).at(address).env("TEST_POLITE", "1").serve(Primary::Ours);
    let load = reload_under_load(&pool, address, Protocol::KeepAlive, 25);
    load.finish_unharmed("express, 25 reloads, keep-alive");
    assert_eq!(pool.lines_with("killing it"), 0);
    assert_eq!(pool.stop().0, 0);
}

/// One that does not say it is sent STOP_SIGNAL when half of STOP_TIMEOUT is over, and loses what it has in hand then.
#[test]
fn express_that_never_closes_a_connection_loses_no_more_than_it_has_in_hand() {
    let address = own_address();
    let mut pool = Launch::new("express.js", 2).at(address).set("stop-timeout", "2s").serve(Primary::Ours);
    let load = reload_under_load(&pool, address, Protocol::KeepAlive, 3);
    let tally = Tally::of(&load.finish());
    println!("express, 3 reloads, keep-alive for ever: {tally}");
    assert_eq!(tally.failed(), 0, "{tally}: all were answered when they asked again");
    assert!(tally.ended_early <= 3 * 2 * CLIENTS, "{tally}");
    assert_eq!(pool.lines_with("killing it"), 0);
    assert_eq!(pool.stop().0, 0);
}

/// The numbers of the workers that the log calls ready.
fn ready(pool: &Pool) -> BTreeSet<u64> {
    let lines = pool.program.lines();
    let ready = lines.iter().filter(|line| line.contains("worker ready"));
    ready.map(|line| field(line, "worker").unwrap().parse().unwrap()).collect()
}

/// A new version under load, and the line that says how it went.
fn publishes(version: &str, settings: &[(&str, &str)]) -> (Pool, Load, String) {
    let (address, folder) = (own_address(), tempfile::tempdir().unwrap());
    let file = folder.path().join("version");
    fs::write(&file, "good").unwrap();
    let launch = Launch::new("life.js", 2).at(address).env("TEST_VERSION", file.to_str().unwrap());
    let launch = settings.iter().fold(launch, |launch, (name, value)| launch.set(name, value));
    let pool = launch.serve(Primary::Ours);
    let load = Load::start(address, Protocol::KeepAlive);
    load.wait_for_more(BETWEEN);
    fs::write(&file, version).unwrap();
    let line = reload(&pool, 1);
    (pool, load, line)
}

fn is_refused(version: &str, settings: &[(&str, &str)], reason: &str) {
    let (mut pool, load, line) = publishes(version, settings);
    assert!(line.contains("reload failed; the other workers stay") && line.contains(reason), "{line}");
    load.wait_for_more(BETWEEN);
    assert!(load.served().is_subset(&BTreeSet::from([1, 2])), "the old ones serve on");
    let tally = load.finish_unharmed(version);
    assert_eq!((tally.closed, tally.reset), (0, 0), "no old worker has even closed a connection");
    assert_eq!(ready(&pool), BTreeSet::from([1, 2]));
    assert_eq!(pool.stop().0, 0);
}

#[test]
fn a_version_that_never_listens_is_refused() {
    is_refused("never", &[("ready-timeout", "20s")], "was not ready in time");
}

#[test]
fn a_version_that_ends_at_once_is_refused() {
    is_refused("crash", &[], "was not ready: crashed (exit 3)");
}

#[test]
fn a_version_that_takes_its_time_is_waited_for() {
    let (mut pool, load, line) = publishes("slow", &[("surge", "2"), ("stop-timeout", "2s")]);
    assert!(line.contains("reload done"), "{line}");
    for worker in [3, 4] {
        load.wait_for_answer_of(worker);
    }
    let tally = Tally::of(&load.finish());
    println!("slow: {tally}");
    assert!(tally.failed() == 0 && tally.ended_early <= 2 * CLIENTS, "{tally}");
    assert_eq!(pool.stop().0, 0);
}

#[test]
fn a_worker_in_an_endless_loop_is_replaced() {
    let address = own_address();
    let mut pool = Launch::new("life.js", 2).at(address).set("watchdog", "10s").serve(Primary::Ours);
    let load = Load::start(address, Protocol::Http);
    load.wait_for_more(BETWEEN);
    let mut client = Client::new(address, Protocol::Http);
    assert_eq!(client.ask("/loop").outcome, Outcome::Cut);
    let death = pool.wait_for_death();
    assert!(death.contains("cause=watchdog"), "{death}");
    load.wait_for_answer_of(3);
    let tally = Tally::of(&load.finish());
    println!("an endless loop: {tally}");
    assert_eq!(tally.failed(), tally.cut, "{tally}");
    // What it had taken, and had not yet answered.
    assert!(tally.cut <= CLIENTS, "{tally}");
    assert_eq!(pool.lines_with("worker is hung"), 1, "and nobody else");
    assert_eq!(pool.stop().0, 0);
}

#[test]
fn a_worker_that_leaks_is_replaced_and_nobody_notices() {
    let address = own_address();
    let mut pool = Launch::new("life.js", 2).at(address).set("max-memory", "200MiB").serve(Primary::Ours);
    let load = Load::start(address, Protocol::Http);
    let outcome = Client::new(address, Protocol::Http).ask("/leak/256").outcome;
    let Outcome::Answered(leaking) = outcome else { panic!("{outcome:?}") };
    let death = pool.wait_for_death();
    assert!(death.contains(&format!(" worker={leaking} ")) && death.contains("cause=memory"), "{death}");
    load.wait_for_answer_of(3);
    load.finish_unharmed("a leak");
    assert_eq!(pool.lines_with("came to its limit"), 1, "the other is small");
    assert_eq!(pool.stop().0, 0);
}

#[test]
fn workers_that_were_handed_enough_are_replaced_and_nobody_notices() {
    let address = own_address();
    let mut pool = Launch::new("life.js", 2).at(address).set("max-connections", "200").serve(Primary::Ours);
    let load = Load::start(address, Protocol::Http);
    for worker in [1, 2, 3, 4] {
        let death = pool.program.wait_for_line(&["worker died", &format!(" worker={worker} ")]);
        assert!(death.contains("cause=lifetime") && death.contains("code=0"), "{death}");
    }
    load.finish_unharmed("200 connections for each");
    assert_eq!(pool.stop().0, 0);
}

#[test]
fn a_worker_that_hears_no_signal_is_killed_in_its_time_and_the_others_are_unharmed() {
    let address = own_address();
    let mut pool = Launch::new("life.js", 2).at(address).set("stop-timeout", "4s").serve(Primary::Ours);
    let outcome = Client::new(address, Protocol::Http).ask("/deaf").outcome;
    let Outcome::Answered(deaf) = outcome else { panic!("{outcome:?}") };
    let load = Load::start(address, Protocol::Http);
    load.wait_for_more(BETWEEN);
    let line = reload(&pool, 1);
    assert!(line.contains("reload done"), "{line}");
    let killed = pool.program.wait_for_line(&["still there, killing it"]);
    assert!(killed.contains(&format!(" worker={deaf} ")), "{killed}");
    assert_eq!(pool.lines_with("killing it"), 1, "and nobody else");
    load.wait_for_more(BETWEEN);
    // It was out of rotation, and had nothing in hand.
    load.finish_unharmed("a deaf worker");
    assert_eq!(pool.stop().0, 0);
}

#[test]
fn a_pool_grows_and_shrinks_and_nobody_notices() {
    let address = own_address();
    let mut pool = Launch::new("life.js", 2).at(address).serve(Primary::Ours);
    let load = Load::start(address, Protocol::Http);
    for added in 3..=6 {
        load.wait_for_more(BETWEEN);
        pool.send(Signal::SIGTTIN);
        load.wait_for_answer_of(added);
        pool.send(Signal::SIGTTOU);
        let death = pool.program.wait_for_line(&["worker died", &format!(" worker={added} ")]);
        assert!(death.contains("cause=stopped") && death.contains("code=0"), "{death}");
    }
    load.finish_unharmed("more and fewer");
    assert_eq!(pool.lines_with("worker died"), 4, "and nobody else");
    assert_eq!(pool.stop().0, 0);
}

#[test]
fn a_stop_serves_on_until_the_delay_is_over_and_finishes_what_is_in_hand() {
    let address = own_address();
    let mut pool = Launch::new("life.js", 2).at(address).set("drain-delay", "3s").serve(Primary::Ours);
    let load = Load::start(address, Protocol::Http);
    load.wait_for_more(BETWEEN);
    let asked = std::time::Instant::now();
    pool.send(Signal::SIGTERM);
    pool.program.wait_for_line(&["stop asked for; serving on"]);
    let slow = |_| std::thread::spawn(move || Client::new(address, Protocol::Http).ask("/slow/5000"));
    let slow: Vec<_> = (0..4).map(slow).collect();
    pool.program.wait_for_line(&["stopping", "workers=2"]);
    assert_eq!(pool.program.wait(), 0);
    for request in slow.into_iter().map(|request| request.join().unwrap()) {
        assert!(request.is_ok(), "{request:?}");
    }
    let requests = load.finish();
    let delay = std::time::Duration::from_secs(3);
    let failed: Vec<_> = requests.iter().filter(|request| !request.is_ok()).collect();
    println!("{}; all failures are after the delay", Tally::of(&requests));
    assert!(!failed.is_empty(), "nobody serves any more");
    assert!(failed.iter().all(|request| request.ended >= asked + delay), "{failed:#?}");
}
