//! Every order of a few events, for two slots.

use std::time::Duration;

use allcores::config::Config;
use allcores::exit::ExitStatus;
use allcores::signal::Signal;
use allcores::supervisor::event::{Demand, Notification, SpawnFailureKind};

use crate::world::{Manners, World, config};

/// One thing that may happen.
#[derive(Clone, Copy, Debug)]
enum Step {
    Crash(usize),
    End(usize),
    Reap,
    Pass(u64),
    Stop,
    Quit,
    NoRoom,
    Stubborn,
    Orphan,
    Ready(usize),
    Reload,
    More,
    Less,
}

const STEPS: [Step; 11] = [
    Step::Crash(0),
    Step::Crash(1),
    Step::End(0),
    Step::Reap,
    Step::Pass(1),
    Step::Pass(60_000),
    Step::Stop,
    Step::Quit,
    Step::NoRoom,
    Step::Stubborn,
    Step::Orphan,
];

/// What happens to a pool whose workers say when they are ready.
const LIFE: [Step; 11] = [
    Step::Crash(0),
    Step::Crash(1),
    Step::Reap,
    Step::Ready(0),
    Step::Ready(2),
    Step::Pass(1),
    Step::Pass(60_000),
    Step::Reload,
    Step::More,
    Step::Less,
    Step::Stop,
];

/// Steps in every order; what follows each order is a stop that must end.
const DEPTH: u32 = 5;

fn apply(world: &mut World, step: Step) {
    let nth = |world: &World, n: usize| world.living().get(n).copied();
    match step {
        Step::Crash(n) => {
            if let Some(pid) = nth(world, n) {
                world.die(pid, ExitStatus::Code(1));
            }
        }
        Step::End(n) => {
            if let Some(pid) = nth(world, n) {
                world.die(pid, ExitStatus::Code(0));
            }
        }
        Step::Reap => world.reap(),
        Step::Pass(millis) => world.pass(Duration::from_millis(millis)),
        Step::Stop => world.signal(Signal::TERM),
        Step::Quit => world.signal(Signal::USR1),
        Step::NoRoom => world.spawn_failure = Some(SpawnFailureKind::System),
        Step::Stubborn => world.manners = Manners::Ignores,
        Step::Orphan => world.adopt(),
        Step::Ready(n) => {
            if let Some(pid) = nth(world, n) {
                world.notifies(pid, Notification::Ready);
            }
        }
        Step::Reload => world.demands(Demand::Reload),
        Step::More => world.signal(Signal::TTIN),
        Step::Less => world.signal(Signal::TTOU),
    }
}

fn explore(world: &World, steps: &[Step], depth: u32, path: &mut Vec<Step>) {
    if depth == 0 || world.exit.is_some() {
        let mut world = world.clone();
        (world.manners, world.spawn_failure) = (Manners::Obeys, None);
        world.signal(Signal::TERM);
        world.settle(Duration::from_secs(60));
        assert!(world.exit.is_some(), "no end after {path:?}");
        assert!(world.processes.is_empty(), "somebody left after {path:?}");
        assert!(world.waiting.is_empty(), "somebody was never answered after {path:?}");
        return;
    }
    for step in steps.iter().copied() {
        path.push(step);
        let mut next = world.clone();
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| apply(&mut next, step)));
        assert!(outcome.is_ok(), "a law is broken by {path:?}");
        explore(&next, steps, depth - 1, path);
        path.pop();
    }
}

fn every_order(config: Config) {
    let mut world = World::new(config, 1);
    world.start();
    explore(&world, &STEPS, DEPTH, &mut Vec::new());
}

#[test]
fn every_order_of_a_pools_life_keeps_the_laws() {
    for flags in [
        &[("listen", "8080"), ("stop_timeout", "8s")][..],
        &[("mode", "ports"), ("first_port", "9000")],
        &[("listen", "8080"), ("surge", "2"), ("drain_delay", "3s")],
    ] {
        let common = [("workers", "2"), ("ready", "notify"), ("ready_timeout", "5s"), ("max_failures", "2")];
        let flags: Vec<_> = common.iter().chain(flags).copied().collect();
        let mut world = World::new(config(&flags), 1);
        world.start();
        for pid in world.living() {
            world.notifies(pid, Notification::Ready);
        }
        explore(&world, &LIFE, DEPTH, &mut Vec::new());
    }
}

#[test]
fn every_order_of_events_keeps_the_laws_in_a_pool() {
    every_order(config(&[
        ("listen", "8080"),
        ("workers", "2"),
        ("max_failures", "2"),
        ("signals", "USR1=quit"),
    ]));
}

#[test]
fn every_order_of_events_keeps_the_laws_while_draining() {
    every_order(config(&[
        ("listen", "8080"),
        ("workers", "2"),
        ("drain_delay", "3s"),
        ("signals", "USR1=quit"),
    ]));
}

#[test]
fn every_order_of_events_keeps_the_laws_with_a_command_before() {
    every_order(config(&[
        ("workers", "1"),
        ("prestart", "true"),
        ("restart", "on-failure"),
        ("signals", "USR1=quit"),
    ]));
}
