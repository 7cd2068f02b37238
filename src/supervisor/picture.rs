//! Makes the picture that [`status`](super::status) describes.

use super::Supervisor;
use super::shutdown::Phase;
use super::status::{PhaseStatus, RoleStatus, Status, WorkerStatus};
use super::time::Time;
use super::worker::State;

impl Supervisor {
    /// The picture of this moment.
    pub fn status(&self, now: Time) -> Status {
        let workers = self.workers.iter().map(|worker| WorkerStatus {
            slot: worker.slot,
            role: RoleStatus::Current,
            generation: self.generation,
            state: worker.state.name(),
            process: worker.state.process().map(|process| (process.worker, process.pid)),
            age: worker.state.process().map(|process| now - process.born),
            rests: match worker.state {
                State::Resting { until } => Some(until - now),
                State::Spawning { .. }
                | State::Starting { .. }
                | State::Ready { .. }
                | State::Settling { .. }
                | State::Leaving { .. }
                | State::Stopping { .. }
                | State::Killed { .. }
                | State::Finished => None,
            },
            restarts: worker.starts.saturating_sub(1),
            failures: worker.backoff.failures(),
            says: None,
            lag: None,
            connections: None,
        });
        Status {
            phase: match &self.phase {
                Phase::Waiting | Phase::Preparing => PhaseStatus::Preparing,
                Phase::Running => PhaseStatus::Running,
                Phase::Draining { .. } => PhaseStatus::Draining,
                Phase::Stopping(_) => PhaseStatus::Stopping,
                Phase::Over => PhaseStatus::Over,
            },
            ready: false,
            was_ready: false,
            wanted: self.config.workers,
            min_ready: self.config.settings.min_ready.of(self.config.workers),
            follows_cores: false,
            generation: self.generation,
            workers: workers.collect(),
            reloading: None,
            last_reload: None,
            reloads: std::collections::BTreeMap::new(),
            deaths: std::collections::BTreeMap::new(),
            recent_deaths: Vec::new(),
            signals: std::collections::BTreeMap::new(),
            orphans: self.orphans,
        }
    }
}
