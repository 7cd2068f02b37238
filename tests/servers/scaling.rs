//! More workers and fewer, under load.

use nix::sys::signal::Signal;

use crate::load::Load;
use crate::pool::Pool;
use crate::programs::{Server, go, gunicorn};

const ROUNDS: usize = 5;

/// Grows by one and shrinks by one, again and again. Who leaves finishes what it has.
fn grows_and_shrinks(name: &str, server: &Server) {
    let mut pool = Pool::start(server);
    let (few, many) = (server.workers, server.workers + 1);
    let load = Load::start(server.address, server.protocol);
    for round in 1..=ROUNDS {
        load.wait_for_more(20);
        pool.send(Signal::SIGTTIN);
        let added = usize::from(few) + round;
        pool.wait_for(&["worker ready", &format!(" worker={added} ")]);
        load.wait_for_answer_of(added as u64);
        pool.send(Signal::SIGTTOU);
        let death = pool.wait_for(&["worker died", &format!(" worker={added} ")]);
        assert!(death.contains("cause=stopped") && death.contains("code=0"), "{death}");
    }
    load.wait_for_more(20);
    load.finish_unharmed(name);
    assert_eq!(pool.count(&format!("number of workers changed from={few} to={many}")), ROUNDS);
    assert_eq!(pool.count(&format!("number of workers changed from={many} to={few}")), ROUNDS);
    assert_eq!(pool.count("worker died"), ROUNDS, "and nobody else");
    assert_eq!(pool.stop().0, 0);
}

#[test]
fn gunicorn_grows_and_shrinks() {
    grows_and_shrinks("gunicorn", &gunicorn(&[]).set("ready", "notify"));
}

#[test]
fn go_grows_and_shrinks() {
    grows_and_shrinks("go", &go().set("ready", "notify"));
}

/// A slot that is given up has a queue of its own, which somebody has to empty.
#[test]
fn go_grows_and_shrinks_with_a_queue_for_each_slot() {
    let server = go().set("ready", "notify").set("mode", "reuseport");
    grows_and_shrinks("go, reuseport", &server);
}
