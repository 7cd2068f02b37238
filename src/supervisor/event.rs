//! Everything that can happen, in the past tense.

use crate::cluster::Input;
use crate::exit::{ExitStatus, NOT_EXECUTABLE, NOT_FOUND, SYSTEM};
use crate::ids::{Pid, WorkerId};
use crate::signal::Signal;

/// What happened. The system reports each thing once, in the order in which it learned of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The system is ready: sockets are bound, signals are heard. Always the first, but for a signal that was earlier.
    Started,
    /// Answers [`Action::Spawn`](super::action::Action::Spawn): the program is running, its `execve` has succeeded.
    Spawned {
        /// Who.
        child: Child,
        /// The new process.
        pid: Pid,
    },
    /// Answers the same action: there is no process.
    SpawnFailed {
        /// Who.
        child: Child,
        /// Why.
        failure: SpawnFailure,
    },
    /// A child was reaped: one of ours, or an orphan that we adopted. Its pid means nothing any more.
    Exited {
        /// Who it was.
        pid: Pid,
        /// How it ended.
        status: ExitStatus,
        /// Whether a kill by the kernel, for want of memory, may explain it.
        out_of_memory: bool,
    },
    /// Nothing is left to reap for now; the `Exited` of all that was come before. Also answers
    /// [`Action::Reap`](super::action::Action::Reap).
    Reaped {
        /// Whether we have children that live.
        children_left: bool,
    },
    /// Something happened to a worker's channel or to a listener of the cluster. A channel has been read to its end before
    /// the `Exited` of its worker comes.
    Cluster(Input),
    /// A child was suspended by a signal (only reported where a terminal makes it matter).
    Suspended {
        /// Who.
        pid: Pid,
    },
    /// We were sent a signal.
    Signalled(Signal),
    /// The moment that [`Supervisor::deadline`](super::Supervisor::deadline) named has come.
    DeadlineReached,
}

/// A process that we start ourselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Child {
    /// The command that runs before the first worker.
    Prestart,
    /// A worker.
    Worker(WorkerId),
}

/// Why a process could not be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpawnFailure {
    /// Of which kind.
    pub kind: SpawnFailureKind,
    /// One phrase for people, the system's own words included.
    pub reason: String,
}

/// Kinds of failure, by what they say about the next try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpawnFailureKind {
    /// There is no such program.
    NotFound,
    /// There is one, but it cannot be executed.
    NotExecutable,
    /// The system has no room (processes, memory, descriptors); it may have, later.
    System,
}

impl SpawnFailureKind {
    /// The exit code that a shell would give.
    pub fn code(self) -> u8 {
        match self {
            Self::NotFound => NOT_FOUND,
            Self::NotExecutable => NOT_EXECUTABLE,
            Self::System => SYSTEM,
        }
    }
}
