//! The pool as a cluster: what the primary's effects mean for workers.

use std::time::Duration;

use super::Supervisor;
use super::action::Action;
use super::rollout::{Errand, Limit};
use super::time::Time;
use super::worker::{Process, Role, State};
use crate::cluster::balancer::Choice;
use crate::cluster::{Cluster, Effect, Input, Sharing};
use crate::config::kinds::Balance;
use crate::config::{Config, Mode, Word};
use crate::ids::WorkerId;

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

impl Supervisor {
    pub(super) fn cluster_event(&mut self, now: Time, input: Input) {
        let Some(cluster) = &mut self.cluster else { return };
        let ended = match &input {
            Input::Ended(worker) => Some(*worker),
            Input::Read { .. } | Input::Bound { .. } | Input::Readable(_) | Input::Accepted { .. } => None,
        };
        let effects = cluster.handle(now, input);
        self.perform_effects(now, effects);
        if let Some(index) = ended.and_then(|worker| self.index_of(worker)) {
            self.channel_ended(now, index);
            self.settle(now);
        }
    }

    /// How long nothing but signals needs to be heard, once something was.
    pub fn lull(&self) -> Option<Duration> {
        self.cluster.as_ref()?.lull()
    }

    pub(super) fn cluster_deadline_reached(&mut self, now: Time) {
        let due = self.cluster.as_mut().filter(|cluster| cluster.deadline().is_some_and(|time| time <= now));
        if let Some(effects) = due.map(|cluster| cluster.deadline_reached(now)) {
            self.perform_effects(now, effects);
        }
    }

    pub(super) fn perform_effects(&mut self, now: Time, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Listening(worker) => {
                    self.said(now, worker, Word::Listening);
                    self.settle(now);
                }
                Effect::SaidReady(worker) => {
                    self.said(now, worker, Word::Message);
                    self.settle(now);
                }
                Effect::Alive { worker, .. } => self.alive(now, worker),
                Effect::Served(worker) => self.has_served(now, worker),
                Effect::AsksStatus(worker) => self.act(Action::Show(worker)),
                Effect::Send { .. }
                | Effect::Ask { .. }
                | Effect::Resume(_)
                | Effect::Deliver { .. }
                | Effect::Bind { .. }
                | Effect::Accept { .. }
                | Effect::Refuse(_)
                | Effect::CloseListener(_)
                | Effect::Close(_)
                | Effect::EndChannel { .. } => self.act(Action::Cluster(effect)),
            }
        }
    }

    /// A worker's program asked for the status, and gets it.
    pub(super) fn tell_status(&mut self, now: Time, worker: WorkerId, status: &str) {
        let effects = self.cluster.as_mut().map(|cluster| cluster.tell_status(worker, status));
        self.perform_effects(now, effects.unwrap_or_default());
    }

    /// Asks every event loop that serves how late it is, for whoever looks next.
    pub(super) fn ask_loops(&mut self, now: Time) {
        let Some(cluster) = &mut self.cluster else { return };
        let serving = self.workers.iter().filter(|worker| matches!(worker.state, State::Ready { .. }));
        let processes: Vec<Process> = serving.filter_map(|worker| worker.state.process()).collect();
        let effects = processes.into_iter().flat_map(|process| cluster.ask(now, process.worker)).collect();
        self.perform_effects(now, effects);
    }

    /// We end: who has connected by now is served, and nobody else is.
    pub(super) fn close_listeners(&mut self, now: Time) {
        let effects = self.cluster.as_mut().map(|cluster| cluster.close(now));
        self.perform_effects(now, effects.unwrap_or_default());
    }

    /// A worker has taken as many connections as it is to.
    fn has_served(&mut self, now: Time, worker: WorkerId) {
        let is_current = |index: &usize| self.workers[*index].role == Role::Current;
        if let Some(index) = self.index_of(worker).filter(is_current) {
            self.replace(self.workers[index].slot, Errand::Limit(Limit::Connections));
            self.settle(now);
        }
    }

    /// Whether code 0 would be this worker's own wish. Outside a cluster it always is.
    pub(super) fn wished_to_leave(&mut self, index: usize) -> bool {
        match (&mut self.cluster, self.workers[index].state.process()) {
            (Some(cluster), Some(process)) => cluster.reaped(process.worker),
            (Some(_) | None, _) => true,
        }
    }
}
