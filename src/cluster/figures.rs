//! What passed through the primary, for whoever counts.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Cluster;
use super::balancer::Balancer;
use crate::ids::{Slot, WorkerId};

/// Why nothing could be accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AcceptError {
    /// We have no descriptor left.
    TooManyFiles,
    /// The system has none.
    TooManyFilesInSystem,
    /// There is no memory.
    NoMemory,
    /// There is none for sockets.
    NoBuffers,
    /// Anything else.
    Other,
}

impl AcceptError {
    /// The word for it, in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::TooManyFiles => "EMFILE",
            Self::TooManyFilesInSystem => "ENFILE",
            Self::NoMemory => "ENOMEM",
            Self::NoBuffers => "ENOBUFS",
            Self::Other => "other",
        }
    }
}

/// How often something took how long.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// How many took as long as the bound of this index or less, and longer than the one before; the last is for those that
    /// took longer than every bound.
    pub counts: [u64; Self::BOUNDS.len() + 1],
    /// All together.
    pub sum: Duration,
}

impl Histogram {
    /// The bounds, shortest first.
    pub const BOUNDS: [Duration; 12] = [
        Duration::from_micros(500),
        Duration::from_millis(1),
        Duration::from_micros(2500),
        Duration::from_millis(5),
        Duration::from_millis(10),
        Duration::from_millis(25),
        Duration::from_millis(50),
        Duration::from_millis(100),
        Duration::from_millis(250),
        Duration::from_millis(500),
        Duration::from_secs(1),
        Duration::from_millis(2500),
    ];

    pub(super) fn add(&mut self, time: Duration) {
        self.counts[Self::BOUNDS.partition_point(|bound| *bound < time)] += 1;
        self.sum += time;
    }
}

/// Everything that was counted since we began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Connections that workers have taken, by slot.
    pub handoffs: BTreeMap<Slot, u64>,
    /// From the offer to its acceptance.
    pub seconds: Histogram,
    /// How often accepting failed.
    pub accept_errors: BTreeMap<AcceptError, u64>,
}

/// What is known of one worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerFigures {
    /// Connections that it has taken.
    pub taken: u64,
    /// How long its event loop took to answer the last question.
    pub lag: Option<Duration>,
}

impl Cluster {
    /// What was counted.
    pub fn figures(&self) -> &Figures {
        &self.figures
    }

    /// Connections that are accepted and nobody has taken: those that wait, and those that are offered.
    pub fn pending(&self) -> usize {
        self.listeners.values().map(|listener| Balancer::pending(&listener.balancer)).sum()
    }

    /// What is known of a worker, while its channel is open.
    pub fn worker(&self, worker: WorkerId) -> Option<WorkerFigures> {
        let conversation = self.workers.get(&worker)?;
        Some(WorkerFigures { taken: conversation.taken, lag: conversation.lag })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_counted_below_the_next_bound() {
        let mut histogram = Histogram::default();
        for micros in [0, 500, 501, 2_500_000, 2_500_001, 60_000_000] {
            histogram.add(Duration::from_micros(micros));
        }
        assert_eq!(histogram.counts, [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(histogram.sum, Duration::from_micros(65_001_002));
    }
}
