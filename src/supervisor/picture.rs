//! Makes the picture that [`status`](super::status) describes.

use super::Supervisor;
use super::readiness::Availability;
use super::scaling::Sizing;
use super::shutdown::{Ending, Phase};
use super::status::{PhaseStatus, ReloadStatus, RoleStatus, Status, WorkerStatus};
use super::time::Time;
use super::worker::{Role, Worker};
use crate::cluster::Cluster;

impl Supervisor {
    /// The picture of this moment.
    pub fn status(&self, now: Time) -> Status {
        let mut workers: Vec<WorkerStatus> =
            self.workers.iter().map(|worker| self.shown(now, worker)).collect();
        workers.sort_by_key(|worker| (worker.slot, worker.role));
        let past = &self.past;
        let ago = |(time, death): &(Time, super::action::Death)| (now - *time, death.clone());
        Status {
            phase: self.phase_shown(),
            ready: self.phase == Phase::Running && self.availability == Availability::Now,
            was_ready: !matches!(self.availability, Availability::Never(_)),
            wanted: self.wanted,
            min_ready: self.min_ready(),
            follows_cores: self.sizing != Sizing::Fixed,
            generation: self.generation,
            workers,
            reloading: self.reload_progress(),
            last_reload: past.last_reload.as_ref().map(|(time, verdict, reason, took)| ReloadStatus {
                verdict: *verdict,
                reason: reason.clone(),
                took: *took,
                ago: now - *time,
            }),
            reloads: past.reloads.clone(),
            deaths: past.deaths.clone(),
            recent_deaths: past.recent_deaths.iter().map(ago).collect(),
            signals: past.signals.clone(),
            orphans: past.orphans,
        }
    }

    /// The primary, where there is one: what passed through it can be seen.
    pub fn cluster(&self) -> Option<&Cluster> {
        self.cluster.as_ref()
    }

    fn phase_shown(&self) -> PhaseStatus {
        match &self.phase {
            Phase::Waiting | Phase::Preparing => PhaseStatus::Preparing,
            Phase::Running => PhaseStatus::Running,
            Phase::Draining { .. } => PhaseStatus::Draining,
            Phase::Stopping(stop) => match stop.ending {
                Ending::GaveUp | Ending::CannotStart { .. } => PhaseStatus::GaveUp,
                Ending::Asked | Ending::Finished | Ending::Unready => PhaseStatus::Stopping,
            },
            Phase::Over => PhaseStatus::Over,
        }
    }

    fn shown(&self, now: Time, worker: &Worker) -> WorkerStatus {
        let process = worker.state.process();
        let passed = self.cluster.as_ref().zip(process);
        let passed = passed.and_then(|(cluster, process)| cluster.worker(process.worker));
        WorkerStatus {
            slot: worker.slot,
            role: match worker.role {
                Role::Current => RoleStatus::Current,
                Role::Replacement(_) => RoleStatus::Replacement,
                Role::Former { .. } => RoleStatus::Former,
            },
            generation: worker.generation,
            state: worker.state.name(),
            process: process.map(|process| (process.worker, process.pid)),
            age: process.map(|process| now - process.born),
            rests: worker.state.rests_until().map(|until| until - now),
            restarts: worker.starts.saturating_sub(1),
            failures: worker.backoff.failures(),
            says: worker.vitals.says.clone(),
            lag: passed.and_then(|passed| passed.lag),
            connections: passed.map(|passed| passed.taken),
        }
    }
}
