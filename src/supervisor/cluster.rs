//! The pool as a cluster: what the primary's effects mean for workers, and how a worker is made to leave through its channel.

use std::time::Duration;

use super::Supervisor;
use super::action::{Action, Notice};
use super::time::Time;
use super::worker::{Awaits, Process, State, Why};
use crate::cluster::balancer::Choice;
use crate::cluster::{Cluster, Effect, Input, Sharing};
use crate::config::kinds::{Balance, Target};
use crate::config::value::{Patience, Switch};
use crate::config::{Config, Mode, Readiness, Word};
use crate::ids::WorkerId;
use crate::signal::Signal;

/// What a worker that is taken out of rotation is given to finish taking what it was offered: Node 26 closes, unanswered, what
/// it took a moment before it is told to leave.
const SETTLE: Duration = Duration::from_millis(200);

/// The primary of a cluster; other modes have none.
pub(super) fn primary(config: &Config) -> Option<Cluster> {
    (config.mode == Mode::Cluster).then(|| {
        Cluster::new(match config.balance {
            Balance::RoundRobin => Sharing::HandOver(Choice::RoundRobin),
            Balance::SourceIp => Sharing::HandOver(Choice::SourceIp),
            Balance::Kernel => Sharing::OnePerSlot,
            Balance::Shared => Sharing::OneForAll,
        })
    })
}

/// What a worker whose channel has ended is given to end by itself, with the code that it wants, before it is sent a signal. Node
/// takes some milliseconds.
const LINGER: Duration = Duration::from_millis(100);

impl Supervisor {
    /// What a worker that is started now must come to.
    pub(super) fn awaits(&self, now: Time) -> Awaits {
        match self.config.ready {
            Readiness::Alive(time) => Awaits::Moment(now + time),
            Readiness::Word(_) => {
                let timeout = self.config.settings.ready_timeout;
                Awaits::Word { until: (!timeout.is_zero()).then(|| now + timeout) }
            }
        }
    }

    pub(super) fn cluster_event(&mut self, now: Time, input: Input) {
        let Some(cluster) = &mut self.cluster else { return };
        let ended = match &input {
            Input::Ended(worker) => Some(*worker),
            Input::Read { .. }
            | Input::Bound { .. }
            | Input::Readable(_)
            | Input::Accepted { .. }
            | Input::AcceptedAll { .. } => None,
        };
        let effects = cluster.handle(now, input);
        self.perform_effects(now, effects);
        if let Some(index) = ended.and_then(|worker| self.index_of(worker)) {
            self.channel_ended(now, index);
        }
    }

    pub(super) fn cluster_deadline_reached(&mut self, now: Time) {
        let due = self.cluster.as_mut().filter(|cluster| cluster.deadline().is_some_and(|time| time <= now));
        if let Some(effects) = due.map(|cluster| cluster.deadline_reached(now)) {
            self.perform_effects(now, effects);
        }
    }

    fn perform_effects(&mut self, now: Time, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Listening(worker) => self.said(now, worker, Word::Listening),
                Effect::SaidReady(worker) => self.said(now, worker, Word::Message),
                Effect::Send { .. }
                | Effect::Deliver { .. }
                | Effect::Bind { .. }
                | Effect::Accept { .. }
                | Effect::Close(_)
                | Effect::EndChannel { .. } => self.act(Action::Cluster(effect)),
            }
        }
    }

    fn index_of(&self, id: WorkerId) -> Option<usize> {
        self.workers
            .iter()
            .position(|worker| worker.state.process().is_some_and(|process| process.worker == id))
    }

    fn said(&mut self, now: Time, worker: WorkerId, word: Word) {
        let counts = match self.config.ready {
            Readiness::Alive(_) => false,
            Readiness::Word(awaited) => awaited == Word::Any || awaited == word,
        };
        let Some(index) = self.index_of(worker).filter(|_| counts) else { return };
        if let Some(process) = self.workers[index].said_ready(now) {
            self.report_ready(now, index, process);
        }
    }

    pub(super) fn report_ready(&mut self, now: Time, index: usize, process: Process) {
        let slot = self.workers[index].slot;
        self.report(Notice::Ready {
            worker: process.worker,
            slot,
            pid: process.pid,
            after: now - process.born,
        });
    }

    /// Whether code 0 would be this worker's own wish. Outside a cluster it always is.
    pub(super) fn wished_to_leave(&mut self, index: usize) -> bool {
        match (&mut self.cluster, self.workers[index].state.process()) {
            (Some(cluster), Some(process)) => cluster.reaped(process.worker),
            (Some(_) | None, _) => true,
        }
    }

    /// Makes a worker leave: through its channel if it has one, else by the stop signal.
    pub(super) fn retire(&mut self, now: Time, index: usize) {
        let Some(process) = self.workers[index].state.process() else { return };
        match &mut self.workers[index].state {
            // It was told already. Many programs take a second signal for "at once".
            State::Leaving { why, .. } | State::Stopping { why, .. } | State::Killed { why, .. } => {
                return *why = Why::End;
            }
            State::Settling { .. } => return,
            State::Starting { .. }
            | State::Ready { .. }
            | State::Resting { .. }
            | State::Spawning { .. }
            | State::Finished => {}
        }
        match &mut self.cluster {
            Some(cluster) if cluster.is_open(process.worker) => {
                cluster.retire(process.worker);
                self.workers[index].state = State::Settling { process, until: now + SETTLE };
            }
            Some(_) | None => self.send_stop_signal(index, process, Why::End, None),
        }
    }

    fn send_stop_signal(&mut self, index: usize, process: Process, why: Why, kill_at: Option<Time>) {
        self.workers[index].state = State::Stopping { process, why, kill_at };
        if let Some(cluster) = &mut self.cluster {
            cluster.retire(process.worker);
        }
        let (signal, target) = (self.config.settings.stop_signal, self.config.settings.forward);
        self.act(Action::Signal { pid: process.pid, signal, target });
    }

    /// A worker without a channel is no worker any more: Node ends by itself then, and others are helped.
    fn channel_ended(&mut self, now: Time, index: usize) {
        let Some(process) = self.workers[index].state.process() else { return };
        let soon = now + LINGER;
        let (why, signal_at) = match self.workers[index].state {
            State::Starting { .. } | State::Ready { .. } => {
                (Why::Mute(self.workers[index].ready_since()), soon)
            }
            State::Settling { .. } => (Why::End, soon),
            State::Leaving { why, signal_at, .. } => (why, signal_at.map_or(soon, |time| time.min(soon))),
            State::Stopping { .. }
            | State::Killed { .. }
            | State::Resting { .. }
            | State::Spawning { .. }
            | State::Finished => return,
        };
        if let Some(cluster) = &mut self.cluster {
            cluster.retire(process.worker);
        }
        self.workers[index].state = State::Leaving { process, why, signal_at: Some(signal_at) };
    }

    fn kill_at(&self, now: Time) -> Option<Time> {
        match self.config.settings.stop_timeout {
            Patience::For(time) => Some(now + time),
            Patience::Forever => None,
        }
    }

    /// A moment that a worker's state named has come.
    pub(super) fn worker_deadline_reached(&mut self, now: Time, index: usize) {
        let Some(process) = self.workers[index].state.process() else { return };
        match self.workers[index].state {
            State::Starting { awaits: Awaits::Word { until: Some(until) }, .. } if until <= now => {
                let (worker, pid, slot) = (process.worker, process.pid, self.workers[index].slot);
                self.report(Notice::NotReady { worker, slot, pid, after: now - process.born });
                self.send_stop_signal(index, process, Why::NotReady, self.kill_at(now));
            }
            State::Settling { until, .. } if until <= now => self.ask_to_leave(now, index, process),
            State::Leaving { why, signal_at: Some(signal_at), .. } if signal_at <= now => {
                // The end of us all has a deadline of its own.
                let kill_at = if why == Why::End { None } else { self.kill_at(now) };
                self.send_stop_signal(index, process, why, kill_at);
            }
            State::Stopping { why, kill_at: Some(kill_at), .. } if kill_at <= now => {
                self.workers[index].state = State::Killed { process, why };
                let (worker, pid, slot) = (process.worker, process.pid, self.workers[index].slot);
                self.report(Notice::Killing { worker, slot, pid });
                self.act(Action::Signal { pid, signal: Signal::KILL, target: Target::Process });
            }
            State::Starting { .. }
            | State::Ready { .. }
            | State::Settling { .. }
            | State::Leaving { .. }
            | State::Stopping { .. }
            | State::Killed { .. }
            | State::Resting { .. }
            | State::Spawning { .. }
            | State::Finished => {}
        }
    }

    fn ask_to_leave(&mut self, now: Time, index: usize, process: Process) {
        let shutdown_first = self.config.settings.stop_message == Switch::On;
        let signal_at = match self.config.settings.stop_timeout {
            // From the request: what settling took is part of it.
            Patience::For(time) => Some(now + (time / 2).saturating_sub(SETTLE)),
            Patience::Forever => None,
        };
        self.workers[index].state = State::Leaving { process, why: Why::End, signal_at };
        if let Some(effects) =
            self.cluster.as_mut().map(|cluster| cluster.disconnect(process.worker, shutdown_first))
        {
            self.perform_effects(now, effects);
        }
    }
}
