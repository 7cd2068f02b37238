//! Who gets which connection.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::client::{Connection, get};
use crate::common::wait_until;
use crate::pool::{BOTH, Launch, Primary, own_address, send};

/// 300 connections one after the other: 100 for each of three workers.
pub fn spreads_evenly(node: u8, primary: Primary) {
    let address = own_address();
    let _pool = Launch::new("http.js", 3).node(node).at(address).serve(primary);
    let mut counts = BTreeMap::new();
    for _ in 0..300 {
        *counts.entry(get(address).unwrap()).or_insert(0) += 1;
    }
    assert_eq!(counts, BTreeMap::from([(1, 100), (2, 100), (3, 100)]), "{primary:?}");
}

#[test]
fn a_connection_that_stays_stays_with_its_worker() {
    let address = own_address();
    for primary in BOTH {
        let _pool = Launch::new("http.js", 3).at(address).serve(primary);
        for _ in 0..3 {
            let mut connection = Connection::open(address).unwrap();
            let workers: BTreeSet<_> = (0..10).map(|_| connection.get().unwrap()).collect();
            assert_eq!(workers.len(), 1, "{primary:?}");
        }
    }
}

#[test]
fn one_accept_queue_for_all_serves_everybody() {
    let address = own_address();
    for primary in BOTH {
        // What Node's documentation calls it.
        let launch = Launch::new("http.js", 3).at(address).env("NODE_CLUSTER_SCHED_POLICY", "none");
        let _pool = launch.serve(primary);
        for _ in 0..100 {
            assert!((1..=3).contains(&get(address).unwrap()), "{primary:?}");
        }
    }
}

/// Only ours has them.
fn serves(balance: &str) {
    let address = own_address();
    let _pool = Launch::new("http.js", 3).at(address).set("balance", balance).serve(Primary::Ours);
    for _ in 0..100 {
        assert!((1..=3).contains(&get(address).unwrap()), "{balance}");
    }
}

#[test]
fn a_socket_for_each_slot_serves_everybody() {
    serves("kernel");
}

#[test]
fn a_shared_socket_serves_everybody() {
    serves("shared");
}

#[test]
fn one_client_address_is_always_the_same_workers() {
    let address = own_address();
    let pool = Launch::new("http.js", 3).at(address).set("balance", "source-ip").serve(Primary::Ours);
    let mut all = BTreeSet::new();
    for last in 1..=20 {
        let source = Ipv4Addr::new(127, 0, 1, last);
        let workers: BTreeSet<_> =
            (0..5).map(|_| Connection::open_from(source, address).get().unwrap()).collect();
        assert_eq!(workers.len(), 1, "{source}");
        all.extend(workers);
    }
    assert_eq!(all, BTreeSet::from([1, 2, 3]), "twenty addresses are enough for three workers");
    assert_eq!(pool.lines_with("worker died"), 0);
}

#[test]
fn a_worker_that_closes_its_server_may_listen_again() {
    let address = own_address();
    for primary in BOTH {
        let pool = Launch::new("again.js", 2).at(address).serve(primary);
        let one = *pool.workers().first().unwrap();
        let who = || -> BTreeSet<u64> { (0..6).map(|_| get(address).unwrap()).collect() };
        assert_eq!(who(), BTreeSet::from([1, 2]), "{primary:?}");
        send(one, Signal::SIGUSR2);
        pool.seen_all("closed", 1);
        assert_eq!(who().len(), 1, "{primary:?}: the other serves alone");
        send(one, Signal::SIGUSR2);
        pool.seen_all("listening", 3);
        assert_eq!(who(), BTreeSet::from([1, 2]), "{primary:?}");
    }
}

#[test]
fn when_every_worker_has_closed_its_server_the_next_that_listens_serves() {
    let address = own_address();
    for primary in BOTH {
        let pool = Launch::new("again.js", 2).at(address).serve(primary);
        pool.workers().into_iter().for_each(|worker| send(worker, Signal::SIGUSR2));
        pool.seen_all("closed", 2);
        if primary == Primary::Nodes {
            // Its listener is closed with the last server; ours stays, and who connects waits.
            wait_until("nobody is served", || get(address).is_err().then_some(()));
        }
        let waiting = Connection::open(address);
        assert_eq!(waiting.is_ok(), primary == Primary::Ours, "{primary:?}");
        send(*pool.workers().first().unwrap(), Signal::SIGUSR2);
        pool.seen_all("listening", 3);
        if let Ok(mut waiting) = waiting {
            waiting.get().unwrap();
        }
        get(address).unwrap();
    }
}

#[test]
fn a_worker_that_stands_still_holds_one_connection_and_no_more() {
    let address = own_address();
    for primary in BOTH {
        let pool = Launch::new("http.js", 2).at(address).serve(primary);
        let still = *pool.workers().first().unwrap();
        send(still, Signal::SIGSTOP);
        let mut connections: Vec<_> = (0..10).map(|_| Connection::open(address).unwrap()).collect();
        let mut waits = Vec::new();
        for connection in &mut connections {
            connection.patience(Duration::from_secs(1));
            connection.ask("/").unwrap();
            match connection.answer() {
                Ok(answer) => assert_ne!(answer["pid"], still, "{primary:?}"),
                Err(_) => waits.push(connection),
            }
        }
        assert_eq!(waits.len(), 1, "{primary:?}");
        send(still, Signal::SIGCONT);
        waits[0].patience(Duration::from_secs(20));
        assert_eq!(waits[0].answer().unwrap()["pid"], still, "{primary:?}: and then it is answered");
    }
}
