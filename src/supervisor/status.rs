//! A picture of the state, by value: whoever shows it cannot reach into what decides.

use super::Supervisor;
use super::shutdown::Phase;
use crate::ids::{Pid, Slot, WorkerId};

/// One slot, as shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotStatus {
    /// Which.
    pub slot: Slot,
    /// The state's word.
    pub state: &'static str,
    /// Its process, if there is one.
    pub process: Option<(WorkerId, Pid)>,
    /// Processes started after the first.
    pub restarts: u64,
    /// Failures since it was last stable.
    pub failures: u32,
}

/// The whole, as shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// `starting`, `running`, `draining`, `stopping` or `over`.
    pub phase: &'static str,
    /// Slot by slot.
    pub slots: Vec<SlotStatus>,
    /// Adopted processes that were reaped.
    pub orphans: u64,
}

impl Supervisor {
    /// The picture of this moment.
    pub fn status(&self) -> Status {
        let slots = self.workers.iter().map(|worker| SlotStatus {
            slot: worker.slot,
            state: worker.state.name(),
            process: worker.state.process().map(|process| (process.worker, process.pid)),
            restarts: worker.starts.saturating_sub(1),
            failures: worker.backoff.failures(),
        });
        let phase = match self.phase {
            Phase::Waiting | Phase::Preparing => "starting",
            Phase::Running => "running",
            Phase::Draining { .. } => "draining",
            Phase::Stopping(_) => "stopping",
            Phase::Over => "over",
        };
        Status { phase, slots: slots.collect(), orphans: self.orphans }
    }
}
