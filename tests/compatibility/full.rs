//! Workers that cannot or will not take what they are offered.

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::client::{Connection, Failure, get};
use crate::common::{must, wait_until};
use crate::pool::{BOTH, Launch, Primary, own_address, send};

#[test]
fn a_full_workers_connections_are_served_by_others() {
    let address = own_address();
    for primary in BOTH {
        let _pool = Launch::new("http.js", 2).at(address).env("TEST_MAX", "1").serve(primary);
        let mut held = Connection::open(address).unwrap();
        let full = held.get().unwrap();
        for _ in 0..10 {
            assert_ne!(get(address).unwrap(), full, "{primary:?}");
        }
        assert_eq!(held.get(), Ok(full), "{primary:?}");
    }
}

/// Node's own primary offers it round and round for as long as it takes.
#[test]
fn a_connection_that_nobody_has_room_for_waits_without_a_spin() {
    let address = own_address();
    for primary in BOTH {
        let pool = Launch::new("http.js", 2).at(address).env("TEST_MAX", "1").serve(primary);
        let mut held: Vec<_> = (0..2).map(|_| Connection::open(address).unwrap()).collect();
        let workers: Vec<_> = held.iter_mut().map(|connection| connection.get().unwrap()).collect();
        assert_ne!(workers[0], workers[1], "{primary:?}");

        let before = pool.processor_time();
        let mut waits = Connection::open(address).unwrap();
        waits.patience(Duration::from_secs(1));
        assert_eq!(waits.get(), Err(Failure::Silent), "{primary:?}: both are full");
        let used = pool.processor_time() - before;
        match primary {
            Primary::Ours => assert!(used < Duration::from_millis(50), "{used:?} in a second of waiting"),
            Primary::Nodes => {
                assert!(used > Duration::from_millis(50), "{used:?}: has Node stopped to spin?")
            }
        }
        waits.patience(Duration::from_secs(20));
        drop(held.pop());
        assert!(waits.answer().is_ok(), "{primary:?}");
    }
}

/// Workers that have enough are left alone for a moment, over and over; not so those that stand still.
#[test]
fn workers_that_stand_still_with_all_that_they_can_have_do_not_keep_us_awake() {
    let address = own_address();
    let pool = Launch::new("http.js", 2).at(address).serve(Primary::Ours);
    let answered = AtomicUsize::new(0);
    let client = || {
        for _ in 0..100 {
            get(address).unwrap();
            answered.fetch_add(1, Ordering::Relaxed);
        }
    };
    let used = thread::scope(|scope| {
        (0..40).for_each(|_| _ = scope.spawn(client));
        wait_until("the load flows", || (answered.load(Ordering::Relaxed) > 1000).then_some(()));
        pool.workers().iter().for_each(|worker| send(*worker, Signal::SIGSTOP));
        let before = pool.processor_time();
        let mut waits = Connection::open(address).unwrap();
        waits.patience(Duration::from_secs(1));
        assert_eq!(waits.get(), Err(Failure::Silent), "nobody runs");
        let used = pool.processor_time() - before;
        pool.workers().iter().for_each(|worker| send(*worker, Signal::SIGCONT));
        used
    });
    assert!(used < Duration::from_millis(30), "{used:?} in a second of waiting");
    assert_eq!(answered.into_inner(), 4000);
}

fn limit_descriptors(pid: i32, limit: usize) {
    must(Command::new("prlimit").args([format!("--pid={pid}"), format!("--nofile={limit}:")]));
}

#[test]
fn what_a_worker_without_descriptors_cannot_receive_is_served_by_others() {
    for primary in BOTH {
        let address = own_address();
        let pool = Launch::new("http.js", 2).at(address).serve(primary);
        let victim = *pool.workers().first().unwrap();
        let idle = sockets(victim);
        let both: Vec<_> = (0..2).map(|_| get(address).unwrap()).collect();
        assert_ne!(both[0], both[1], "{primary:?}");
        wait_until("it has closed what it had", || (sockets(victim) == idle).then_some(()));
        limit_descriptors(victim, lowest_free(victim));

        let outcomes: Vec<_> = (0..6)
            .map(|_| {
                let mut connection = Connection::open(address).unwrap();
                connection.patience(Duration::from_secs(2));
                connection.ask("/").unwrap();
                connection.answer().map(|answer| answer["pid"].as_i64() == Some(victim.into()))
            })
            .collect();
        match primary {
            Primary::Ours => assert_eq!(outcomes, [Ok(false); 6], "nothing is lost"),
            // And it does not use that worker again.
            Primary::Nodes => {
                let lost = outcomes.iter().filter(|outcome| **outcome == Err(Failure::Silent)).count();
                assert_eq!(lost, 1, "{outcomes:?}");
                continue;
            }
        }
        limit_descriptors(victim, 1024);
        wait_until("it is used again", || {
            let mut connection = Connection::open(address).unwrap();
            connection.ask("/").unwrap();
            (connection.answer().unwrap()["pid"].as_i64() == Some(victim.into())).then_some(())
        });
    }
}

/// The number that a process's next descriptor would have.
fn lowest_free(pid: i32) -> usize {
    (0..).find(|number| std::fs::symlink_metadata(format!("/proc/{pid}/fd/{number}")).is_err()).unwrap()
}

fn sockets(pid: i32) -> usize {
    let files = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let targets = files.filter_map(|file| std::fs::read_link(file.path()).ok());
    targets.filter(|target| target.to_string_lossy().starts_with("socket:")).count()
}
