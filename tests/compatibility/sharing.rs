//! Who gets which connection.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use crate::client::{Connection, get};
use crate::pool::{BOTH, Launch, Primary, own_address};

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
