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
mod cluster;
pub mod event;
mod picture;
pub mod requests;
mod shutdown;
pub mod status;
pub mod time;
pub mod worker;

use action::{Action, Notice, Spawn};
use backoff::{Backoff, Random};
use event::{Child, Event, SpawnFailure, SpawnFailureKind};
use shutdown::{Ending, Phase};
use time::Time;
use worker::{End, Process, State, Verdict, Worker};

use crate::cluster::Cluster;
use crate::config::kinds::{Request, Target};
use crate::config::{Config, Restart};
use crate::exit::ExitStatus;
use crate::ids::{Generation, Pid, Slot, WorkerId};
use crate::signal::Signal;

/// The one owner of the state.
#[derive(Clone, Debug)]
pub struct Supervisor {
    config: Config,
    random: Random,
    phase: Phase,
    /// The slots, once the pool has begun.
    workers: Vec<Worker>,
    /// The command before the first worker, while it runs.
    prestart: Option<Pid>,
    next_worker: WorkerId,
    generation: Generation,
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
    orphans: u64,
    /// What we are to Node programs, in mode `cluster`.
    cluster: Option<Cluster>,
    actions: Vec<Action>,
}

impl Supervisor {
    /// A pool of which nothing runs yet. The seed decides the jitter.
    pub fn new(config: Config, seed: u64) -> Self {
        Self {
            cluster: cluster::primary(&config),
            config,
            random: Random::new(seed),
            phase: Phase::Waiting,
            workers: Vec::new(),
            prestart: None,
            next_worker: WorkerId(1),
            generation: Generation(1),
            executable: false,
            last_end: None,
            first_failure: None,
            suspended: None,
            asked_at: None,
            orphans: 0,
            actions: Vec::new(),
        }
    }

    /// What follows from the event.
    #[must_use]
    pub fn handle(&mut self, now: Time, event: Event) -> Vec<Action> {
        match event {
            Event::Started => self.started(now),
            Event::Spawned { child, pid } => self.spawned(now, child, pid),
            Event::SpawnFailed { child, failure } => self.spawn_failed(now, child, failure),
            Event::Exited { pid, status, out_of_memory } => self.exited(now, pid, status, out_of_memory),
            Event::Reaped { children_left } => self.reaped(children_left),
            Event::Cluster(input) => self.cluster_event(now, input),
            Event::Suspended { pid } => self.suspended(pid),
            Event::Signalled(signal) => self.signalled(now, signal),
            Event::Notified { .. }
            | Event::WroteNewline(_)
            | Event::Demanded { .. }
            | Event::ClientLeft(_)
            | Event::Changed(_)
            | Event::Measured(_) => {}
            Event::DeadlineReached => self.deadline_reached(now),
        }
        std::mem::take(&mut self.actions)
    }

    /// When to come back, and why; `None` when only an event can change anything.
    pub fn deadline(&self) -> Option<(Time, &'static str)> {
        let workers = self.workers.iter().filter_map(Worker::deadline);
        let cluster = self
            .cluster
            .as_ref()
            .and_then(Cluster::deadline)
            .map(|time| (time, "a connection may be offered again"));
        workers.chain(self.phase.deadline()).chain(cluster).min_by_key(|(time, _)| *time)
    }

    fn act(&mut self, action: Action) {
        self.actions.push(action);
    }

    fn report(&mut self, notice: Notice) {
        self.actions.push(Action::Report(notice));
    }

    fn started(&mut self, now: Time) {
        if !matches!(self.phase, Phase::Waiting) {
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
        let backoff = Backoff::new(self.config.settings.backoff);
        self.workers =
            (0..self.config.workers).map(|slot| Worker::new(Slot(slot), backoff.clone(), now)).collect();
    }

    /// Asks for one process, if one is due. The rest stays due at once, and signals are heard in between: however long
    /// starting takes, and however it fails, nothing else waits for it.
    fn spawn_next(&mut self, now: Time) {
        let due = self
            .workers
            .iter_mut()
            .find(|worker| matches!(worker.state, State::Resting { until } if until <= now));
        if let Some(worker) = due {
            let id = self.next_worker;
            self.next_worker = WorkerId(id.0 + 1);
            worker.state = State::Spawning { worker: id };
            let (slot, generation) = (worker.slot, self.generation);
            self.act(Action::Spawn(Spawn::Worker { worker: id, slot, generation }));
        }
    }

    fn spawning(&self, id: WorkerId) -> Option<usize> {
        self.workers.iter().position(|worker| worker.state == State::Spawning { worker: id })
    }

    fn spawned(&mut self, now: Time, child: Child, pid: Pid) {
        match child {
            Child::Prestart => self.prestart = Some(pid),
            Child::Worker(id) => {
                let Some(index) = self.spawning(id) else { return };
                self.executable = true;
                let process = Process { worker: id, pid, born: now };
                let slot = self.workers[index].slot;
                let awaits = self.awaits(now);
                self.workers[index].spawned(process, awaits);
                if let Some(cluster) = &mut self.cluster {
                    cluster.join(id, slot);
                }
                self.report(Notice::Started { worker: id, slot, pid });
            }
        }
    }

    fn spawn_failed(&mut self, now: Time, child: Child, failure: SpawnFailure) {
        let code = failure.kind.code();
        self.report(Notice::SpawnFailed { child, failure: failure.clone() });
        let id = match child {
            Child::Prestart => {
                let reason = format!("PRESTART could not be run: {}", failure.reason);
                return self.end(now, Ending::CannotStart { code, reason });
            }
            Child::Worker(id) => id,
        };
        let Some(index) = self.spawning(id) else { return };
        let hopeless = failure.kind != SpawnFailureKind::System && !self.executable;
        if hopeless {
            self.workers[index].state = State::Finished;
            return self.end(now, Ending::CannotStart { code, reason: failure.reason });
        }
        self.last_end = Some(ExitStatus::Code(code));
        self.first_failure.get_or_insert(ExitStatus::Code(code));
        if self.config.restart == Restart::Never {
            self.workers[index].state = State::Finished;
            self.end_if_finished(now);
        } else {
            self.rest_after_failure(now, index);
        }
    }

    fn exited(&mut self, now: Time, pid: Pid, status: ExitStatus, out_of_memory: bool) {
        let owner = self
            .workers
            .iter()
            .position(|worker| worker.state.process().is_some_and(|process| process.pid == pid));
        if let Some(index) = owner {
            self.suspended = self.suspended.filter(|suspended| *suspended != pid);
            self.worker_died(now, index, status, out_of_memory);
        } else if self.prestart == Some(pid) {
            self.prestart = None;
            self.prestart_ended(now, status);
        } else {
            self.orphans += 1;
        }
    }

    fn prestart_ended(&mut self, now: Time, status: ExitStatus) {
        self.report(Notice::PrestartEnded(status));
        match self.phase {
            Phase::Preparing if status.is_success() => self.begin(now),
            Phase::Preparing => {
                let reason = format!("PRESTART failed: {status}");
                self.end(now, Ending::CannotStart { code: status.code(), reason });
            }
            // Running does not happen: workers begin when it is gone. When we are stopping, `Reaped` goes on.
            Phase::Draining { .. } => self.begin_stopping(now, Ending::Asked),
            Phase::Waiting | Phase::Running | Phase::Stopping(_) | Phase::Over => {}
        }
    }

    fn worker_died(&mut self, now: Time, index: usize, status: ExitStatus, out_of_memory: bool) {
        let stable_after = self.config.settings.stable_after;
        let end = End { status, out_of_memory, wished: self.wished_to_leave(index) };
        let Some((death, verdict)) = self.workers[index].died(now, end, stable_after) else { return };
        self.last_end = Some(status);
        if !status.is_success() {
            self.first_failure.get_or_insert(status);
        }
        self.report(Notice::Died(death));
        match self.phase {
            Phase::Running => self.after_death(now, index, status, verdict),
            // Nothing waits out a delay for nobody.
            Phase::Draining { .. } if !self.anything_runs() => self.begin_stopping(now, Ending::Asked),
            Phase::Draining { .. } | Phase::Waiting | Phase::Preparing | Phase::Stopping(_) | Phase::Over => {
            }
        }
    }

    fn after_death(&mut self, now: Time, index: usize, status: ExitStatus, verdict: Verdict) {
        let finished = match self.config.restart {
            Restart::Always => false,
            Restart::OnFailure => status.is_success(),
            Restart::Never => true,
        };
        if finished {
            // `died` left the slot finished.
            return self.end_if_finished(now);
        }
        match verdict {
            Verdict::Failed => self.rest_after_failure(now, index),
            Verdict::EndedEarly => {
                let until = now + self.workers[index].backoff.pause(&mut self.random);
                self.workers[index].state = State::Resting { until };
            }
            Verdict::Clean => {
                self.workers[index].backoff.forget();
                self.workers[index].state = State::Resting { until: now };
            }
        }
    }

    fn rest_after_failure(&mut self, now: Time, index: usize) {
        let worker = &mut self.workers[index];
        let delay = worker.backoff.fail(&mut self.random);
        worker.state = State::Resting { until: now + delay };
        let (slot, failures) = (worker.slot, worker.backoff.failures());
        if self.has_given_up() {
            return self.end(now, Ending::GaveUp);
        }
        self.report(Notice::Resting { slot, delay, failures });
    }

    /// Every slot that is not finished has failed too often, and none has a worker that may yet do better.
    fn has_given_up(&self) -> bool {
        let limit = self.config.settings.max_failures.0;
        let mut open = self.workers.iter().filter(|worker| worker.state != State::Finished);
        open.all(|worker| worker.state.process().is_none() && worker.backoff.is_exhausted(limit))
    }

    fn end_if_finished(&mut self, now: Time) {
        if self.workers.iter().all(|worker| worker.state == State::Finished) {
            self.end(now, Ending::Finished);
        } else if self.has_given_up() {
            self.end(now, Ending::GaveUp);
        }
    }

    fn become_ready(&mut self, now: Time, index: usize) {
        let worker = &mut self.workers[index];
        if let Some(process) = worker.become_ready(now) {
            self.report_ready(now, index, process);
        }
    }

    fn deadline_reached(&mut self, now: Time) {
        self.phase_deadline_reached(now);
        for index in 0..self.workers.len() {
            self.become_ready(now, index);
            self.worker_deadline_reached(now, index);
        }
        self.cluster_deadline_reached(now);
        if matches!(self.phase, Phase::Running) {
            self.spawn_next(now);
        }
    }

    fn signalled(&mut self, now: Time, signal: Signal) {
        match requests::request(signal, &self.config) {
            Request::Stop => self.asked_to_stop(now, signal),
            Request::Quit => self.asked_to_quit(now),
            Request::Forward(sent) => self.forward(signal, sent),
            Request::Suspend if self.config.terminal => self.forward(signal, signal),
            Request::Reload | Request::More | Request::Less | Request::Suspend | Request::Ignore => {
                self.report(Notice::Ignored(signal))
            }
        }
    }

    fn forward(&mut self, received: Signal, sent: Signal) {
        if let Some(pid) = self.suspended.take_if(|_| sent == Signal::CONT) {
            self.act(Action::GiveTerminal(pid));
            return self.act(Action::Signal { pid, signal: sent, target: Target::Group });
        }
        // What suspends or ends a job does so to the whole of it, as the terminal's own keys do.
        let target = if sent == Signal::TSTP { Target::Group } else { self.config.settings.forward };
        let pids: Vec<Pid> = self
            .workers
            .iter()
            .filter_map(|worker| worker.state.process())
            .map(|process| process.pid)
            .collect();
        self.report(Notice::Forwarded { received, sent, workers: pids.len() });
        for pid in pids {
            self.act(Action::Signal { pid, signal: sent, target });
        }
    }

    fn suspended(&mut self, pid: Pid) {
        let ours = self
            .workers
            .iter()
            .any(|worker| worker.state.process().is_some_and(|process| process.pid == pid));
        if !ours || !self.config.terminal {
            return;
        }
        if matches!(self.phase, Phase::Stopping(_)) {
            // What it was sent waits for as long as it is suspended.
            return self.act(Action::Signal { pid, signal: Signal::CONT, target: Target::Group });
        }
        self.suspended = Some(pid);
        self.act(Action::Suspend);
    }
}
