//! A picture of the state, by value: whoever shows it cannot reach into what decides.

use std::collections::BTreeMap;
use std::time::Duration;

use super::action::{Cause, Death};
use crate::ids::{Generation, Pid, Slot, WorkerId};
use crate::signal::Signal;

/// The whole, as shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// What we are about.
    pub phase: PhaseStatus,
    /// Whether `MIN_READY` workers are ready and we are not stopping.
    pub ready: bool,
    /// Whether that was ever so.
    pub was_ready: bool,
    /// How many workers there are to be.
    pub wanted: u16,
    /// How many must be ready.
    pub min_ready: u16,
    /// Whether the number follows the cores.
    pub follows_cores: bool,
    /// The generation of the last reload that began.
    pub generation: Generation,
    /// Every slot's worker, then those that are to replace it or leave, slot by slot.
    pub workers: Vec<WorkerStatus>,
    /// A reload under way: how many slots are done, of how many.
    pub reloading: Option<(usize, usize)>,
    /// How the last reload ended.
    pub last_reload: Option<ReloadStatus>,
    /// Reloads that ended, by verdict.
    pub reloads: BTreeMap<ReloadVerdict, u64>,
    /// Deaths of workers while we were not stopping, by cause.
    pub deaths: BTreeMap<Cause, u64>,
    /// The last deaths, youngest first, and how long ago they were; at most [`MOST_DEATHS`].
    pub recent_deaths: Vec<(Duration, Death)>,
    /// Signals that we were sent.
    pub signals: BTreeMap<Signal, u64>,
    /// Adopted processes that were reaped.
    pub orphans: u64,
}

/// How many deaths are remembered.
pub const MOST_DEATHS: usize = 16;

/// What we are about, as shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PhaseStatus {
    /// Before the first worker.
    Preparing,
    /// Workers run.
    Running,
    /// A stop was asked for, and workers serve on.
    Draining,
    /// Workers are made to go.
    Stopping,
    /// Workers could not stay up; what is left is made to go.
    GaveUp,
    /// Nothing is left.
    Over,
}

impl PhaseStatus {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Preparing => "preparing",
            Self::Running => "running",
            Self::Draining => "draining",
            Self::Stopping => "stopping",
            Self::GaveUp => "gave-up",
            Self::Over => "over",
        }
    }
}

/// How a reload ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReloadVerdict {
    /// Every worker was replaced.
    Done,
    /// A replacement did not become ready; the others stayed.
    Failed,
    /// We were asked to stop.
    Ended,
}

impl ReloadVerdict {
    /// The word for it, in logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Ended => "ended",
        }
    }
}

/// How a reload ended, as shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReloadStatus {
    /// How.
    pub verdict: ReloadVerdict,
    /// One line: what was done, or why not.
    pub reason: String,
    /// How long it took.
    pub took: Duration,
    /// How long ago it ended.
    pub ago: Duration,
}

/// What a worker is to its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RoleStatus {
    /// The slot's own.
    Current,
    /// To be the slot's own when it is ready.
    Replacement,
    /// The slot's own no more; it is to leave.
    Former,
}

/// One worker, or the place of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerStatus {
    /// Where.
    pub slot: Slot,
    /// What it is to its slot.
    pub role: RoleStatus,
    /// Its generation.
    pub generation: Generation,
    /// The state's word: `resting`, `starting`, `ready`, `draining`, `stopping` or `finished`.
    pub state: &'static str,
    /// Its process, if there is one.
    pub process: Option<(WorkerId, Pid)>,
    /// How old the process is.
    pub age: Option<Duration>,
    /// How long it still rests.
    pub rests: Option<Duration>,
    /// Processes started in this slot after the first.
    pub restarts: u64,
    /// Failures since the slot was last stable.
    pub failures: u32,
    /// What it says of itself (`STATUS=`).
    pub says: Option<String>,
    /// The lag of its event loop when it was last asked, in mode `cluster`.
    pub lag: Option<Duration>,
    /// Connections that it took, in mode `cluster`.
    pub connections: Option<u64>,
}
