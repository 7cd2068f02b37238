//! Every order of a few events, for two workers and a few connections.

use std::net::IpAddr;
use std::time::Duration;

use allcores::cluster::balancer::Choice;
use allcores::ids::{ListenerId, WorkerId};

use super::world::World;

/// One thing that may happen; workers are 0 and 1.
#[derive(Clone, Copy, Debug)]
enum Step {
    Connect,
    /// It reads a message: acknowledges an offer.
    Read(u64),
    /// It reads a message with no descriptor left: refuses an offer.
    Refuse(u64),
    Take(u64),
    Decline(u64),
    Die(u64),
    Close(u64),
    Listen(u64),
    Leave(u64),
    Retire(u64),
    Disconnect(u64),
    Pass(u64),
}

/// Steps in every order, where one that cannot happen is no step; what follows each order is that all heals.
const DEPTH: u32 = 4;
/// More clients say nothing new about two workers.
const CLIENTS: usize = 3;

fn steps() -> Vec<Step> {
    let of = |worker| {
        use Step::{Close, Decline, Die, Disconnect, Leave, Listen, Read, Refuse, Retire, Take};
        [Read, Refuse, Take, Decline, Die, Close, Listen, Leave, Retire, Disconnect].map(|step| step(worker))
    };
    [Step::Connect, Step::Pass(15), Step::Pass(600)].into_iter().chain(of(0)).chain(of(1)).collect()
}

/// Does it, if it can be done; what a worker writes is read at once.
fn apply(world: &mut World, step: Step, clients: &mut usize) -> bool {
    let worker = match step {
        Step::Connect => {
            *clients += 1;
            return *clients <= CLIENTS && world.connects(ListenerId(0), IpAddr::from([192, 0, 2, 1]));
        }
        Step::Pass(millis) => {
            let due = world
                .cluster
                .deadline()
                .is_some_and(|time| time <= world.now + Duration::from_millis(millis));
            world.passes(Duration::from_millis(millis));
            return due;
        }
        Step::Read(n)
        | Step::Refuse(n)
        | Step::Take(n)
        | Step::Decline(n)
        | Step::Die(n)
        | Step::Close(n)
        | Step::Listen(n)
        | Step::Leave(n)
        | Step::Retire(n)
        | Step::Disconnect(n) => WorkerId(n + 1),
    };
    let Some(node) = world.workers.get_mut(&worker) else { return false };
    let is_done = match step {
        Step::Read(_) => node.read(),
        Step::Refuse(_) => {
            let is_offer = node.inbox.front().is_some_and(|(message, _)| message["cmd"] == "NODE_HANDLE");
            node.is_poor = true;
            let is_done = is_offer && node.read();
            node.is_poor = false;
            is_done
        }
        Step::Take(_) => world.answers(worker, true),
        Step::Decline(_) => world.answers(worker, false),
        Step::Die(_) => !std::mem::replace(&mut node.is_dead, true),
        Step::Close(_) => node.close(8000),
        Step::Listen(_) => node.listen(8000),
        Step::Leave(_) => node.leave(),
        Step::Retire(_) if node.is_leaving => false,
        Step::Retire(_) => {
            world.retires(worker);
            true
        }
        Step::Disconnect(_) if node.is_leaving => false,
        Step::Disconnect(_) => {
            world.disconnects(worker);
            true
        }
        Step::Connect | Step::Pass(_) => false,
    };
    world.delivers(worker, usize::MAX);
    is_done
}

fn explore(world: &World, clients: usize, depth: u32, path: &mut Vec<Step>) -> u64 {
    if depth == 0 {
        let mut world = world.clone();
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| world.heals()));
        assert!(outcome.is_ok(), "a connection is lost after {path:?}");
        return 1;
    }
    let mut orders = 0;
    for step in steps() {
        path.push(step);
        let (mut next, mut clients) = (world.clone(), clients);
        let outcome =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| apply(&mut next, step, &mut clients)));
        let Ok(is_done) = outcome else { panic!("a law is broken by {path:?}") };
        if is_done {
            orders += explore(&next, clients, depth - 1, path);
        }
        path.pop();
    }
    orders
}

fn every_order(choice: Choice) {
    let mut world = World::serving(choice, 2);
    world.connects(ListenerId(0), IpAddr::from([192, 0, 2, 1]));
    let orders = explore(&world, 1, DEPTH, &mut Vec::new());
    assert!(orders > 1000, "only {orders} orders were tried");
}

#[test]
fn every_order_of_events_keeps_every_connection_round_robin() {
    every_order(Choice::RoundRobin);
}

#[test]
fn every_order_of_events_keeps_every_connection_by_source_address() {
    every_order(Choice::SourceIp);
}
