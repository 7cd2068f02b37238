//! Random interleavings, by seed: workers that are slow, full, poor, leave, close, lie broken, and die at any point.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use allcores::cluster::balancer::{Choice, DEPTH};
use allcores::ids::{ListenerId, WorkerId};
use allcores::supervisor::backoff::Random;

use super::world::World;

/// Seeds that found something once, a number a line.
const KEPT: &str = include_str!("../seeds.txt");
/// How many seeds beside them, in every run.
const SEEDS: u64 = 500;

fn any_worker(world: &World, random: &mut Random) -> Option<WorkerId> {
    let workers: Vec<_> = world.workers.keys().copied().collect();
    if workers.is_empty() {
        None
    } else {
        Some(workers[random.between(0, workers.len() as u64 - 1) as usize])
    }
}

fn any_address(random: &mut Random) -> IpAddr {
    IpAddr::from([192, 0, 2, random.between(0, 20) as u8])
}

fn step(world: &mut World, random: &mut Random) {
    let kind = random.between(0, 99);
    let chance = random.between(0, 3);
    match kind {
        0..15 => {
            let listener = ListenerId(random.between(0, 1) as u32);
            for _ in 0..=chance {
                world.connects(listener, any_address(random));
            }
        }
        15..25 => world.passes(Duration::from_millis(random.between(0, 300))),
        25 => world.accepting_fails = chance == 0,
        26 => world.binding_fails = chance == 0,
        27..30 if world.workers.len() < 5 => {
            let worker = world.start();
            world.node(worker).listen(8000);
        }
        _ => {
            if let Some(worker) = any_worker(world, random) {
                work(world, worker, kind, chance, random);
            }
        }
    }
}

fn work(world: &mut World, worker: WorkerId, kind: u64, chance: u64, random: &mut Random) {
    let port = if chance == 0 { 9000 } else { 8000 };
    let node = world.node(worker);
    match kind {
        30..50 => _ = node.read(),
        50..62 => _ = world.answers(worker, chance > 0),
        62..85 => {
            let most = if chance > 0 { usize::MAX } else { random.between(1, 40) as usize };
            world.delivers(worker, most);
        }
        85..88 => _ = node.listen(port),
        88 => _ = node.close(port),
        89 if !node.is_dead => {
            node.close(8000);
            node.listen(8000);
        }
        90 => node.is_full = chance > 1,
        91 => node.is_poor = chance == 0,
        92 => _ = node.leave(),
        93 => world.retires(worker),
        94 if chance == 0 => world.disconnects(worker),
        95 if chance == 0 && !node.is_dead => {
            // The last that is heard of it.
            node.outbox.extend_from_slice(b"nonsense\n");
            node.is_dead = true;
        }
        96 => world.asks(worker),
        97 => node.is_dead = true,
        98 => node.is_dead |= node.is_leaving && node.held.is_empty() && node.outbox.is_empty(),
        _ => _ = world.exchange(worker),
    }
}

fn run(seed: u64) {
    let mut random = Random::new(seed);
    let choice = if random.between(0, 2) == 0 { Choice::SourceIp } else { Choice::RoundRobin };
    let mut world = World::serving(choice, random.between(0, 3) as usize);
    for _ in 0..random.between(1, 400) {
        step(&mut world, &mut random);
    }
    world.heals();
}

#[test]
fn no_order_of_events_loses_a_connection() {
    let kept = KEPT.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.trim().parse().ok());
    let new = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64;
    for seed in kept.chain(0..SEEDS).chain(std::iter::once(new)) {
        let outcome = std::panic::catch_unwind(|| run(seed));
        assert!(outcome.is_ok(), "seed {seed} breaks a law; keep it in seeds.txt");
    }
}

/// However they stand when we end, with a worker that is well everybody who had connected is served.
fn end(seed: u64) {
    let mut random = Random::new(seed);
    let choice = if random.between(0, 2) == 0 { Choice::SourceIp } else { Choice::RoundRobin };
    let mut world = World::serving(choice, 3);
    for _ in 0..random.between(0, 100) {
        let worker = WorkerId(random.between(1, 3));
        match random.between(0, 5) {
            0 | 1 => _ = world.connects(ListenerId(0), any_address(&mut random)),
            2 => _ = world.node(worker).read(),
            3 => _ = world.answers(worker, true),
            _ => world.delivers(worker, usize::MAX),
        }
    }
    world.ends();
    for _ in 0..random.between(0, 2) {
        // They had sent their first packets.
        world.connects(ListenerId(0), any_address(&mut random));
    }
    world.passes(Duration::from_millis(150));
    assert!(world.clients.is_empty(), "the listener is open");
    for _ in 0..random.between(0, 2) {
        world.node(WorkerId(random.between(2, 3))).is_dead = true;
    }
    let exchange = |world: &mut World| (1..=3).filter(|id| world.exchange(WorkerId(*id))).count() > 0;
    while exchange(&mut world) {}
    world.laws.all_are_served();
    for worker in 1..=3 {
        world.disconnects(WorkerId(worker));
    }
    world.laws.all_is_done();
}

#[test]
fn whoever_had_connected_when_we_end_is_served() {
    (0..SEEDS).for_each(end);
}

#[test]
fn one_after_another_is_exactly_even() {
    for workers in 1..=5 {
        let mut world = World::serving(Choice::RoundRobin, workers);
        for _ in 0..20 * workers {
            world.connects(ListenerId(0), IpAddr::from([192, 0, 2, 1]));
            for worker in world.workers.keys().copied().collect::<Vec<_>>() {
                world.exchange(worker);
            }
        }
        assert!(world.laws.taken.values().all(|taken| *taken == 20), "{:?}", world.laws.taken);
    }
}

#[test]
fn two_at_a_time_is_exactly_even() {
    let mut world = World::serving(Choice::RoundRobin, 4);
    for _ in 0..100 {
        world.connects(ListenerId(0), IpAddr::from([192, 0, 2, 1]));
        world.connects(ListenerId(0), IpAddr::from([192, 0, 2, 1]));
        for worker in world.workers.keys().copied().collect::<Vec<_>>() {
            world.exchange(worker);
        }
    }
    assert!(world.laws.taken.values().all(|taken| *taken == 50), "{:?}", world.laws.taken);
}

/// Workers at their limit, a hundred clients and ten seconds: how often are connections offered, and how many are accepted?
fn full(choice: Choice) -> (usize, usize) {
    let mut world = World::serving(choice, 4);
    for node in world.workers.values_mut() {
        node.is_full = true;
    }
    for client in 0..100 {
        world.connects(ListenerId(0), IpAddr::from([192, 0, 2, client]));
    }
    for _ in 0..10_000 {
        for worker in world.workers.keys().copied().collect::<Vec<_>>() {
            world.exchange(worker);
        }
        world.passes(Duration::from_millis(1));
    }
    let figures = (world.laws.offered, world.laws.waiting());
    world.heals();
    figures
}

#[test]
fn all_declining_is_a_pause_and_no_spin() {
    // 10, 20, 40 … 250 ms, then four times a second, to each of the four, however many wait.
    let most = 4 * (5 + 10_000 / 250);
    let (offered, waiting) = full(Choice::RoundRobin);
    assert!(waiting <= 4 && offered <= most, "{offered} offers of {waiting}");
    let (offered, waiting) = full(Choice::SourceIp);
    assert!(waiting <= 100 && offered <= most, "{offered} offers of {waiting}");
}

#[test]
fn a_full_queue_stops_accepting() {
    // The first worker does nothing any more. By source address nobody else may have its clients.
    let mut world = World::serving(Choice::SourceIp, 2);
    for client in 0..5000_u32 {
        world.connects(ListenerId(0), IpAddr::from(client.to_be_bytes()));
        world.exchange(WorkerId(2));
    }
    assert_eq!(world.laws.waiting(), 1024);
    world.heals();
}

#[test]
fn who_hangs_keeps_one_connection_and_no_more() {
    let mut world = World::serving(Choice::RoundRobin, 2);
    for _ in 0..100 {
        world.connects(ListenerId(0), IpAddr::from([192, 0, 2, 1]));
        world.exchange(WorkerId(2));
    }
    assert_eq!(world.laws.taken[&WorkerId(2)], 99);
    // Also when the other declines for a while.
    world.node(WorkerId(2)).is_full = true;
    world.connects(ListenerId(0), IpAddr::from([192, 0, 2, 1]));
    world.exchange(WorkerId(2));
    world.node(WorkerId(2)).is_full = false;
    world.passes(Duration::from_millis(10));
    world.exchange(WorkerId(2));
    assert_eq!(world.laws.taken[&WorkerId(2)], 100);
}

#[test]
fn a_burst_is_spread_evenly_among_who_is_quick_and_the_rest_stays_in_the_kernel() {
    let mut world = World::serving(Choice::RoundRobin, 3);
    let burst = |world: &mut World| {
        (0..30).for_each(|client| _ = world.connects(ListenerId(0), IpAddr::from([192, 0, 2, client])));
        world.workers.values().map(|node| node.inbox.len()).collect::<Vec<_>>()
    };
    // Nobody knows who is busy.
    assert_eq!(burst(&mut world), [1, 1, 1]);
    assert_eq!((world.clients[&ListenerId(0)].len(), world.laws.waiting()), (27, 0));
    let worker = *world.workers.keys().next().unwrap();
    world.node(worker).read();
    world.answers(worker, true);
    world.delivers(worker, usize::MAX);
    assert_eq!(world.node(worker).inbox.len(), DEPTH);
    for worker in world.workers.keys().copied().collect::<Vec<_>>() {
        world.exchange(worker);
    }
    assert_eq!(burst(&mut world), [DEPTH; 3]);
    world.heals();
}

#[test]
fn one_address_has_one_worker_while_the_workers_are_the_same() {
    let mut world = World::serving(Choice::SourceIp, 4);
    let mut workers = BTreeSet::new();
    for client in 0..40 {
        let before = world.laws.taken.clone();
        for _ in 0..5 {
            world.connects(ListenerId(0), IpAddr::from([192, 0, 2, client]));
            for worker in world.workers.keys().copied().collect::<Vec<_>>() {
                world.exchange(worker);
            }
        }
        let count = |worker: &WorkerId| before.get(worker).copied().unwrap_or(0);
        let more: Vec<_> =
            world.laws.taken.iter().filter(|(id, taken)| **taken > count(id)).map(|(id, _)| *id).collect();
        assert_eq!(more.len(), 1, "client {client} has {more:?}");
        workers.extend(more);
    }
    assert_eq!(workers.len(), 4, "forty addresses leave a worker idle");
}
