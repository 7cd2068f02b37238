//! Workers are killed under load: what a killed worker had in its hands is lost, and nothing else.

use std::time::Duration;

use crate::load::{CLIENTS, Load, Outcome, Request, Tally};
use crate::pool::{Kill, Pool};
use crate::programs::{Server, go, gunicorn, hypercorn, node, php_fpm, puma, uvicorn};

/// How often every worker is killed.
const ROUNDS: usize = 3;
/// A kill takes effect, and is noticed by a client, a little later than it was sent.
const MOMENT: Duration = Duration::from_millis(250);

/// Whether a worker was killed while it was under way, so that it can have been in that worker's hands.
fn is_excused(request: &Request, kills: &[Kill]) -> bool {
    kills.iter().any(|kill| kill.before <= request.ended && request.begun <= kill.after + MOMENT)
}

/// The story that every server is told: one by one and then all at once its workers are killed while clients ask, and
/// in the end it is asked to stop while they still do.
fn survives(server: &Server) {
    let mut pool = Pool::start(server);

    let load = Load::start(server.address, server.protocol);
    for _ in 0..ROUNDS {
        for worker in pool.workers() {
            pool.kill(&[worker]);
            pool.wait_until_replaced(&[worker], &load);
        }
    }
    let everybody = pool.workers();
    pool.kill(&everybody);
    pool.wait_until_replaced(&everybody, &load);
    let requests = load.finish();

    let in_hand = pool.kills().len() * CLIENTS;
    let failed: Vec<_> = requests.iter().filter(|request| !request.is_ok()).collect();
    println!("{} kills: {}", pool.kills().len(), Tally::of(&requests));
    for request in &failed {
        assert_eq!(request.outcome, Outcome::Cut, "nobody is refused, nobody waits in vain");
        assert!(is_excused(request, pool.kills()), "failed, and no worker was killed meanwhile: {request:?}");
    }
    assert!(failed.len() <= in_hand, "{} failed, and {in_hand} can have been in hand", failed.len());

    let load = Load::start(server.address, server.protocol);
    load.wait_for_answer();
    let (code, time) = pool.stop();
    load.finish();
    assert_eq!(code, 0, "a stop that was asked for");
    assert!(time < Duration::from_secs(7), "the stop took {time:?}, nearly the 8 s after which we kill");
}

#[test]
fn gunicorn_loses_only_what_killed_workers_had_in_hand() {
    survives(&gunicorn(&[]));
}

#[test]
fn uvicorn_loses_only_what_killed_workers_had_in_hand() {
    survives(&uvicorn());
}

#[test]
fn uvicorn_with_a_queue_for_each_slot_loses_no_more() {
    survives(&uvicorn().set("mode", "reuseport"));
}

#[test]
fn hypercorn_loses_only_what_killed_workers_had_in_hand() {
    survives(&hypercorn());
}

#[test]
fn node_loses_only_what_killed_workers_had_in_hand() {
    survives(&node());
}

#[test]
fn go_loses_only_what_killed_workers_had_in_hand() {
    survives(&go());
}

#[test]
fn puma_loses_only_what_killed_workers_had_in_hand() {
    survives(&puma());
}

#[test]
fn php_fpm_loses_only_what_killed_workers_had_in_hand() {
    survives(&php_fpm());
}
