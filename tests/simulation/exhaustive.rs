//! Every order of a few events, for two slots.

use std::time::Duration;

use allcores::config::Config;
use allcores::exit::ExitStatus;
use allcores::signal::Signal;
use allcores::supervisor::event::SpawnFailureKind;

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
    }
}

fn explore(world: &World, depth: u32, path: &mut Vec<Step>) {
    if depth == 0 || world.exit.is_some() {
        let mut world = world.clone();
        (world.manners, world.spawn_failure) = (Manners::Obeys, None);
        world.signal(Signal::TERM);
        world.settle(Duration::from_secs(60));
        assert!(world.exit.is_some(), "no end after {path:?}");
        assert!(world.processes.is_empty(), "somebody left after {path:?}");
        return;
    }
    for step in STEPS {
        path.push(step);
        let mut next = world.clone();
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| apply(&mut next, step)));
        assert!(outcome.is_ok(), "a law is broken by {path:?}");
        explore(&next, depth - 1, path);
        path.pop();
    }
}

fn every_order(config: Config) {
    let mut world = World::new(config, 1);
    world.start();
    explore(&world, DEPTH, &mut Vec::new());
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
