//! Workers that are hung, too big or too old, under load.

use std::thread;

use crate::load::{CLIENTS, Client, Load, Outcome, Protocol, Tally};
use crate::pool::Pool;
use crate::programs::{go, uvicorn};

#[test]
fn a_worker_in_an_endless_loop_is_replaced() {
    let server = uvicorn().set("ready", "notify").set("watchdog", "6s");
    let mut pool = Pool::start(&server);
    let load = Load::start(server.address, server.protocol);
    load.wait_for_more(100);
    let mut client = Client::new(server.address, Protocol::Http);
    let looping = thread::spawn(move || client.ask("/loop"));
    let hung = pool.wait_for(&["worker is hung; ABRT now, KILL in 5s"]);
    let death = pool.wait_for(&["worker died"]);
    assert!(death.contains("signal=ABRT") && death.contains("cause=watchdog"), "{death}");
    let worker = crate::common::field(&hung, "worker").unwrap();
    assert!(death.contains(&format!(" worker={worker} ")), "{hung}\n{death}");
    assert_eq!(looping.join().unwrap().outcome, Outcome::Cut);
    load.wait_for_answer_of(u64::from(server.workers) + 1);
    load.wait_for_more(100);
    let tally = Tally::of(&load.finish());
    println!("an endless loop: {tally}");
    assert_eq!(tally.failed(), tally.cut, "{tally}");
    assert!(tally.cut <= CLIENTS, "{tally}: more than it can have had in hand");
    assert_eq!(pool.count("is hung"), 1, "and nobody else");
    assert_eq!(pool.stop().0, 0);
}

#[test]
fn a_worker_that_leaks_is_replaced_and_nobody_notices() {
    let server = go().set("ready", "notify").set("max-memory", "100MiB");
    let mut pool = Pool::start(&server);
    let load = Load::start(server.address, server.protocol);
    let request = Client::new(server.address, Protocol::Http).ask("/leak/128");
    let Outcome::Answered(leaking) = request.outcome else { panic!("{request:?}") };
    let line = pool.wait_for(&["worker came to its limit; replacing it"]);
    assert!(line.contains("MAX_MEMORY"), "{line}");
    let death = pool.wait_for(&["worker died"]);
    assert!(death.contains(&format!(" worker={leaking} ")) && death.contains("cause=memory"), "{death}");
    assert!(death.contains("code=0"), "it left by itself: {death}");
    load.wait_for_answer_of(u64::from(server.workers) + 1);
    load.finish_unharmed("a leak");
    assert_eq!(pool.count("came to its limit"), 1, "the others are small");
    assert_eq!(pool.stop().0, 0);
}

#[test]
fn workers_that_are_too_old_are_replaced_one_after_the_other_and_nobody_notices() {
    let server = go().set("ready", "notify").set("max-lifetime", "2s");
    let mut pool = Pool::start(&server);
    let load = Load::start(server.address, server.protocol);
    for worker in 1..=9 {
        let death = pool.wait_for(&["worker died", &format!(" worker={worker} ")]);
        assert!(death.contains("cause=lifetime") && death.contains("code=0"), "{death}");
    }
    load.finish_unharmed("lifetimes of 2 s");
    assert_eq!(pool.count("too few workers are ready"), 0);
    assert_eq!(pool.stop().0, 0);
}
