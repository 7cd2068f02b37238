//! Decides. Events and the time go in, actions come out; nothing else is known here: no clock, no descriptor, no
//! system call, no chance that was not seeded.
//!
//! # The contract with the shell
//!
//! - [`Supervisor::handle`] is told each event once, with a time that never goes back. Its actions are performed in
//!   order. What answers an action (see each variant) is handed over before any other event.
//! - A child's `Exited` is handed over right after it was reaped, before anything else is reaped or done. So a pid
//!   that an action names was not recycled.
//! - [`Supervisor::deadline`] says when [`Event::DeadlineReached`] is due, and why. It may be due at once: then
//!   work was put off so that signals are heard in between.
//! - After [`Action::Exit`] nothing is asked any more.

pub mod action;
pub mod backoff;
mod births;
mod cluster;
mod deaths;
pub mod event;
pub mod notification;
mod picture;
mod readiness;
pub mod requests;
mod retire;
pub mod rollout;
mod scaling;
mod shutdown;
mod signalling;
pub mod status;
mod steering;
pub mod time;
pub mod worker;

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::time::Duration;

use action::{Action, Answer, Cause, Death, Notice, Spawn};
use backoff::Random;
use event::{Demand, Event};
use readiness::Availability;
use rollout::{Errand, Reload};
use scaling::Sizing;
use shutdown::Phase;
use status::ReloadVerdict;
use steering::Steering;
use time::Time;
use worker::Worker;

use crate::cluster::Cluster;
use crate::config::{Config, Mode, Word};
use crate::exit::ExitStatus;
use crate::ids::{ClientId, Generation, Pid, Slot, WorkerId};
use crate::signal::Signal;

/// The one owner of the state.
#[derive(Clone, Debug)]
pub struct Supervisor {
    config: Config,
    random: Random,
    phase: Phase,
    /// How many workers there are to be.
    wanted: u16,
    /// How many `WORKERS` stands for.
    configured: u16,
    sizing: Sizing,
    /// When cores and memory are read, if they are.
    measure_at: Option<Time>,
    /// Everybody there is, and the places of those who are to be, once the pool has begun.
    workers: Vec<Worker>,
    /// The command before the first worker, while it runs.
    prestart: Option<Pid>,
    next_worker: WorkerId,
    generation: Generation,
    reload: Option<Reload>,
    /// Workers to be replaced one by one, in the order in which it was found.
    errands: VecDeque<(Slot, Errand)>,
    availability: Availability,
    /// Where new connections go, in mode `reuseport`.
    steering: Option<Steering>,
    /// What our own supervisor was told last: how many are ready, of how many.
    announced: Option<(usize, u16)>,
    /// Whether any worker's program was ever executed: until then, one that cannot be is no crash but a mistake.
    executable: bool,
    /// How the last worker ended.
    last_end: Option<ExitStatus>,
    /// How the first worker that did not end with 0 ended.
    first_failure: Option<ExitStatus>,
    /// The worker that the terminal's user suspended.
    suspended: Option<Pid>,
    /// When we were first asked to stop.
    asked_at: Option<Time>,
    /// What we are to Node programs, in mode `cluster`.
    cluster: Option<Cluster>,
    /// What is only remembered to be shown.
    past: Past,
    actions: Vec<Action>,
}

/// What happened, as far as it is only shown. Bounded.
#[derive(Clone, Debug, Default)]
struct Past {
    deaths: BTreeMap<Cause, u64>,
    recent_deaths: VecDeque<(Time, Death)>,
    reloads: BTreeMap<ReloadVerdict, u64>,
    last_reload: Option<(Time, ReloadVerdict, String, Duration)>,
    signals: BTreeMap<Signal, u64>,
    orphans: u64,
}

impl Supervisor {
    /// A pool of which nothing runs yet. The seed decides the jitter.
    pub fn new(config: Config, seed: u64) -> Self {
        Self {
            cluster: cluster::primary(&config),
            random: Random::new(seed),
            phase: Phase::Waiting,
            wanted: config.workers,
            configured: config.workers,
            sizing: Self::configured_sizing(config.mode, config.settings.workers),
            measure_at: None,
            workers: Vec::new(),
            prestart: None,
            next_worker: WorkerId(1),
            generation: Generation(1),
            reload: None,
            errands: VecDeque::new(),
            availability: Availability::Never(Time::default()),
            steering: (config.mode == Mode::Reuseport).then(Steering::default),
            announced: None,
            executable: false,
            last_end: None,
            first_failure: None,
            suspended: None,
            asked_at: None,
            past: Past::default(),
            actions: Vec::new(),
            config,
        }
    }

    /// What follows from the event.
    #[must_use]
    pub fn handle(&mut self, now: Time, event: Event) -> Vec<Action> {
        // Those are many, and hardly ever change anybody's state: they say themselves when they do.
        let may_change_anything = !matches!(event, Event::Cluster(_));
        let may_start = matches!(event, Event::DeadlineReached);
        self.happened(now, event);
        if may_change_anything {
            self.settle(now);
        }
        // Last, and not beside another question: nobody may decide about a slot whose process is just being asked for.
        let asks = self.actions.iter().any(|action| matches!(action, Action::Measure(_)));
        if may_start && self.phase == Phase::Running && !asks {
            self.spawn_next(now);
        }
        std::mem::take(&mut self.actions)
    }

    fn happened(&mut self, now: Time, event: Event) {
        match event {
            Event::Started => self.started(now),
            Event::Spawned { child, pid } => self.spawned(now, child, pid),
            Event::SpawnFailed { child, failure } => self.spawn_failed(now, child, failure),
            Event::Exited { pid, status, out_of_memory } => self.exited(now, pid, status, out_of_memory),
            Event::Reaped { children_left } => self.reaped(children_left),
            Event::Cluster(input) => self.cluster_event(now, input),
            Event::Suspended { pid } => self.suspended(pid),
            Event::Signalled(signal) => self.signalled(now, signal),
            Event::Notified { lineage, words } => self.notified(now, &lineage, words),
            Event::WroteNewline(worker) => self.said(now, worker, Word::Newline),
            Event::Demanded { client, demand } => self.demanded(now, client, demand),
            Event::ClientLeft(client) => self.client_left(client),
            Event::Changed(path) => self.changed(now, path),
            Event::Measured(measurements) => self.measured(now, &measurements),
            Event::Shown { worker, status } => self.tell_status(now, worker, &status),
            Event::Looked => self.ask_loops(now),
            Event::DeadlineReached => self.deadline_reached(now),
        }
    }

    /// What follows from whatever happened to anybody: who is gone is forgotten, replacing goes on, readiness is known.
    fn settle(&mut self, now: Time) {
        self.bury(now);
        if self.phase == Phase::Running {
            self.roll_on(now);
            self.look_at_readiness(now);
            self.steer();
        }
    }

    /// When to come back, and why; `None` when only an event can change anything.
    pub fn deadline(&self) -> Option<(Time, &'static str)> {
        let workers = self.workers.iter().filter_map(Worker::deadline);
        let cluster =
            self.cluster.as_ref().and_then(Cluster::deadline).map(|time| (time, "a listener goes on"));
        let measure = self.measure_at.map(|time| (time, "cores and memory are read"));
        let rest =
            [self.phase.deadline(), cluster, measure, self.unready_deadline(), self.watchdog_deadline()];
        workers.chain(rest.into_iter().flatten()).min_by_key(|(time, _)| *time)
    }

    fn act(&mut self, action: Action) {
        self.actions.push(action);
    }

    fn report(&mut self, notice: Notice) {
        self.actions.push(Action::Report(notice));
    }

    fn index_of(&self, id: WorkerId) -> Option<usize> {
        let is_it = |worker: &Worker| worker.state.process().is_some_and(|process| process.worker == id);
        self.workers.iter().position(is_it)
    }

    fn index_of_pid(&self, pid: Pid) -> Option<usize> {
        let is_it = |worker: &Worker| worker.state.process().is_some_and(|process| process.pid == pid);
        self.workers.iter().position(is_it)
    }

    /// Whether this is a worker's own process.
    pub fn is_worker(&self, pid: Pid) -> bool {
        self.index_of_pid(pid).is_some()
    }

    fn started(&mut self, now: Time) {
        if self.phase != Phase::Waiting {
            return;
        }
        if self.config.settings.prestart.is_some() {
            self.phase = Phase::Preparing;
            self.act(Action::Spawn(Spawn::Prestart));
        } else {
            self.begin(now);
        }
    }

    fn begin(&mut self, now: Time) {
        self.phase = Phase::Running;
        self.availability = Availability::Never(now);
        for slot in (0..self.wanted).map(Slot) {
            self.add_worker(now, slot);
        }
        self.measure_later(now);
    }

    fn demanded(&mut self, now: Time, client: ClientId, demand: Demand) {
        let answered = match demand {
            Demand::Reload => match self.begin_reload(now, Some(client)) {
                Ok(()) => return,
                Err(reason) => Err(reason.to_owned()),
            },
            Demand::Restart(slot) if self.phase == Phase::Running && self.current_of(slot).is_some() => {
                return self.replace(slot, Errand::Restart(client));
            }
            Demand::Restart(slot) => Err(format!("there is no worker to replace in slot {slot}")),
            Demand::Scale(scale) => self.scale(now, scale),
            Demand::Stop => {
                self.asked_to_stop(now, None);
                Ok("stopping".to_owned())
            }
        };
        self.act(Action::Answer { client, answer: answered.map_or_else(Answer::Failed, Answer::Done) });
    }

    fn changed(&mut self, now: Time, path: PathBuf) {
        self.report(Notice::Changed(path));
        self.asked_to_reload(now);
    }

    fn deadline_reached(&mut self, now: Time) {
        self.phase_deadline_reached(now);
        for index in 0..self.workers.len() {
            self.become_ready(now, index);
            self.worker_deadline_reached(now, index);
        }
        self.cluster_deadline_reached(now);
        if self.phase == Phase::Running {
            self.unready_deadline_reached(now);
            self.measure(now);
        }
    }
}
