//! Random interleavings, by seed.

use std::time::Duration;

use allcores::config::{Config, Mode, Readiness};
use allcores::exit::ExitStatus;
use allcores::ids::Slot;
use allcores::signal::Signal;
use allcores::supervisor::backoff::Random;
use allcores::supervisor::event::{Demand, Notification, Scale, SpawnFailureKind};
use allcores::supervisor::status::{PhaseStatus, RoleStatus};

use crate::world::{Manners, World, config};

/// Seeds that found something once, a number a line.
const KEPT: &str = include_str!("seeds.txt");
/// How many seeds beside them, in every run.
const SEEDS: u64 = 3000;

/// A pool that is set up by chance.
fn any_config(random: &mut Random) -> Config {
    let workers = random.between(1, 5).to_string();
    let pick = |random: &mut Random, words: &[&'static str]| {
        words[random.between(0, words.len() as u64 - 1) as usize]
    };
    let mut flags = vec![
        ("workers", workers.as_str()),
        ("mode", pick(random, &["plain", "inherit", "inherit", "ports"])),
        ("first_port", "9000"),
        ("surge", pick(random, &["1", "1", "2", "50%"])),
        ("max_lifetime", pick(random, &["off", "off", "7s"])),
        ("max_memory", pick(random, &["off", "1MiB"])),
        ("watchdog", pick(random, &["off", "off", "3s"])),
        ("min_ready", pick(random, &["1", "100%"])),
        ("exit_when_unready", pick(random, &["off", "off", "off", "20s"])),
        ("listen", "8080"),
        ("restart", pick(random, &["auto", "always", "on-failure", "never"])),
        ("max_failures", pick(random, &["0", "1", "3"])),
        ("ready", pick(random, &["alive:0", "alive:1s", "alive:20s", "notify"])),
        ("stable_after", pick(random, &["0", "10s"])),
        ("backoff", pick(random, &["100ms..30s", "0..1s", "1s..1s", "0..0"])),
        ("drain_delay", pick(random, &["0", "3s"])),
        ("stop_timeout", pick(random, &["0", "1ms", "8s"])),
        ("signals", "USR1=quit"),
    ];
    if random.between(0, 3) == 0 {
        flags.push(("prestart", "true"));
    }
    config(&flags)
}

fn any_status(random: &mut Random) -> ExitStatus {
    match random.between(0, 3) {
        0 => ExitStatus::Code(0),
        1 => ExitStatus::Code(random.between(1, 255) as u8),
        2 => ExitStatus::Signal { signal: Signal::KILL, core_dumped: false },
        _ => ExitStatus::Signal {
            signal: Signal::new(random.between(34, 64) as i32).unwrap(),
            core_dumped: false,
        },
    }
}

fn step(world: &mut World, random: &mut Random) {
    let living = world.living();
    match random.between(0, 99) {
        0..25 if !living.is_empty() => {
            let pid = living[random.between(0, living.len() as u64 - 1) as usize];
            let status = any_status(random);
            world.die(pid, status);
        }
        25..50 => world.reap(),
        50..80 => world.pass(Duration::from_millis(random.between(0, 5000))),
        80..85 => world.adopt(),
        85..90 => {
            let kinds = [Manners::Obeys, Manners::Obeys, Manners::Ignores];
            world.manners = kinds[random.between(0, 2) as usize];
        }
        90..94 => {
            let failures = [None, None, Some(SpawnFailureKind::System), Some(SpawnFailureKind::NotFound)];
            world.spawn_failure = failures[random.between(0, 3) as usize];
        }
        94..96 => world.signal(Signal::new([1, 12, 18, 21, 22, 17][random.between(0, 5) as usize]).unwrap()),
        96 => world.demands(any_demand(random)),
        97 => (world.cores, world.memory) = (random.between(1, 4) as u16, random.between(0, 1 << 21)),
        98 if random.between(0, 4) == 0 => world.signal(Signal::TERM),
        99 if random.between(0, 9) == 0 => world.signal(Signal::USR1),
        _ => {}
    }
}

fn any_demand(random: &mut Random) -> Demand {
    let number = random.between(0, 5) as u16;
    match random.between(0, 12) {
        0..6 => Demand::Reload,
        6..9 => Demand::Restart(Slot(number)),
        9 => Demand::Scale(Scale::To(number)),
        10 => Demand::Scale(Scale::More(number)),
        11 => Demand::Scale(Scale::Less(number)),
        _ => Demand::Scale(Scale::Auto),
    }
}

/// What workers say to the notification socket.
fn notify(world: &mut World, random: &mut Random) {
    let living = world.living();
    if living.is_empty() {
        return;
    }
    let pid = living[random.between(0, living.len() as u64 - 1) as usize];
    world.notifies(
        pid,
        match random.between(0, 19) {
            0..10 => Notification::Ready,
            10..16 => Notification::Alive,
            16 => Notification::Extend(Duration::from_secs(5)),
            17 => Notification::Stopping,
            18 => Notification::Hung,
            _ => Notification::Status("busy".to_owned()),
        },
    );
}

/// What the workers of a cluster do beside.
fn talk(world: &mut World, random: &mut Random) {
    let workers = world.workers();
    if workers.is_empty() {
        return;
    }
    let worker = workers[random.between(0, workers.len() as u64 - 1) as usize];
    match random.between(0, 9) {
        0..4 => world.says(worker, r#"{"cmd":"NODE_CLUSTER","act":"listening","seq":1}"#),
        4..6 => world.says(worker, "\"ready\""),
        6 => world.is_mute(worker),
        _ => {}
    }
}

/// A stop of a cluster ends in time, whatever its workers did before.
fn run_cluster(seed: u64) {
    let mut random = Random::new(seed);
    let pick = |random: &mut Random, words: &[&'static str]| {
        words[random.between(0, words.len() as u64 - 1) as usize]
    };
    let mut world = World::new(
        config(&[
            ("mode", "cluster"),
            ("workers", pick(&mut random, &["1", "2", "4"])),
            ("ready", pick(&mut random, &["auto", "message", "listening"])),
            ("ready_timeout", pick(&mut random, &["60s", "2s", "off"])),
            ("max_failures", pick(&mut random, &["0", "3"])),
            ("stop_timeout", pick(&mut random, &["0", "1ms", "300ms", "8s"])),
            ("signals", "USR1=quit"),
        ]),
        seed,
    );
    world.start();
    for _ in 0..random.between(1, 200) {
        if world.exit.is_some() {
            break;
        }
        step(&mut world, &mut random);
        talk(&mut world, &mut random);
    }
    (world.manners, world.spawn_failure) = (Manners::Obeys, None);
    ends(world);
}

#[test]
fn whatever_a_clusters_workers_do_a_stop_ends() {
    for seed in 0..SEEDS / 3 {
        let outcome = std::panic::catch_unwind(|| run_cluster(seed));
        assert!(outcome.is_ok(), "seed {seed} breaks a law");
    }
}

fn run(seed: u64) {
    let mut random = Random::new(seed);
    let config = any_config(&mut random);
    // A worker that must say something is not whole by itself; and one that makes room for the next, as it must where it has
    // a port, is not there for a while.
    let is_never_whole = matches!(config.ready, Readiness::Word(_))
        || config.settings.watchdog.0.is_some()
        || config.mode == Mode::Ports && config.settings.max_lifetime.0.is_some();
    let mut world = World::new(config, seed);
    world.start();
    for _ in 0..random.between(1, 300) {
        if world.exit.is_some() {
            break;
        }
        step(&mut world, &mut random);
        if random.between(0, 3) == 0 {
            notify(&mut world, &mut random);
        }
    }
    (world.manners, world.spawn_failure, world.memory) = (Manners::Obeys, None, 0);
    if !is_never_whole {
        heals(&world);
    }
    ends(world);
}

/// After faults stop, the pool is whole again: the longest rest, and the longest way to be ready.
fn heals(world: &World) {
    let mut world = world.clone();
    world.settle(Duration::from_secs(60));
    let status = world.supervisor.status(world.now);
    if world.exit.is_none() && status.phase == PhaseStatus::Running {
        let up = status.workers.iter().filter(|worker| {
            worker.role == RoleStatus::Current && ["ready", "finished"].contains(&worker.state)
        });
        assert_eq!(up.count(), usize::from(status.wanted), "the pool did not heal: {status:?}");
    }
}

/// A stop ends, in time: the drain delay, the stop timeout, and a little for what was killed. Nothing of ours is left.
fn ends(mut world: World) {
    world.signal(Signal::TERM);
    let asked = world.now;
    world.settle(Duration::from_secs(60));
    assert!(world.exit.is_some(), "the stop did not end: {:?}", world.supervisor.status(world.now));
    assert!(world.now - asked <= Duration::from_secs(3 + 8 + 1), "the stop took {:?}", world.now - asked);
    assert!(world.processes.is_empty(), "we left {:?} behind", world.processes);
    assert!(world.waiting.is_empty(), "{:?} were never answered", world.waiting);
}

#[test]
fn no_order_of_events_breaks_a_law() {
    let kept = KEPT.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.trim().parse().ok());
    let new = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64;
    for seed in kept.chain(0..SEEDS).chain(std::iter::once(new)) {
        let outcome = std::panic::catch_unwind(|| run(seed));
        assert!(outcome.is_ok(), "seed {seed} breaks a law; keep it in seeds.txt");
    }
}

#[test]
fn what_cannot_be_killed_does_not_keep_us_for_ever() {
    let mut world = World::new(config(&[("listen", "8080")]), 1);
    world.manners = Manners::Undying;
    world.start();
    world.signal(Signal::TERM);
    world.settle(Duration::from_secs(60));
    assert!(world.exit.is_some_and(|exit| exit.code == 137));
    assert!(world.now.since_start() <= Duration::from_secs(8 + 5));
}

#[test]
fn whoever_finds_nothing_left_leaves_at_once() {
    let mut world = World::new(config(&[("listen", "8080"), ("ready", "alive:20s")]), 1);
    world.start();
    for pid in world.living() {
        world.die(pid, ExitStatus::Code(1));
    }
    world.reap();
    world.signal(Signal::TERM);
    assert!(world.exit.is_some_and(|exit| exit.code == 0), "a timer for nobody");
}
