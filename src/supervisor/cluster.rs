//! The pool as a cluster: what the primary's effects mean for workers.

use super::Supervisor;
use super::action::Action;
use super::time::Time;
use crate::cluster::balancer::Choice;
use crate::cluster::{Cluster, Effect, Input, Sharing};
use crate::config::kinds::Balance;
use crate::config::{Config, Mode, Word};

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
                // Nobody can show it yet.
                Effect::AsksStatus(_) => {}
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

    /// We end: who has connected by now is served, and nobody else is.
    pub(super) fn close_listeners(&mut self, now: Time) {
        let effects = self.cluster.as_mut().map(|cluster| cluster.close(now));
        self.perform_effects(now, effects.unwrap_or_default());
    }

    /// Whether code 0 would be this worker's own wish. Outside a cluster it always is.
    pub(super) fn wished_to_leave(&mut self, index: usize) -> bool {
        match (&mut self.cluster, self.workers[index].state.process()) {
            (Some(cluster), Some(process)) => cluster.reaped(process.worker),
            (Some(_) | None, _) => true,
        }
    }
}
