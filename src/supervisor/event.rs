//! Everything that can happen, in the past tense.

use std::path::PathBuf;
use std::time::Duration;

use crate::cluster::Input;
use crate::exit::{ExitStatus, NOT_EXECUTABLE, NOT_FOUND, SYSTEM};
use crate::ids::{ClientId, Pid, Slot, WorkerId};
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
    /// A process wrote to the notification socket (`sd_notify(3)`).
    Notified {
        /// The sender, its parent, and so on upwards, as far as they are below us: a worker's own processes speak for it.
        lineage: Vec<Pid>,
        /// What it said, in order.
        words: Vec<Notification>,
    },
    /// A worker wrote a newline to the descriptor of `READY=fd:N`.
    WroteNewline(WorkerId),
    /// Somebody asks for something through the control socket. Answered by [`Action::Answer`](super::action::Action::Answer).
    Demanded {
        /// Who waits for the answer.
        client: ClientId,
        /// What.
        demand: Demand,
    },
    /// Who asked does not wait any more.
    ClientLeft(ClientId),
    /// A path of `RELOAD_ON_CHANGE` changed; a burst of changes is one.
    Changed(PathBuf),
    /// Answers [`Action::Measure`](super::action::Action::Measure).
    Measured(Measurements),
    /// Answers [`Action::Show`](super::action::Action::Show).
    Shown {
        /// Who asked.
        worker: WorkerId,
        /// One line of JSON.
        status: String,
    },
    /// Somebody has looked at what workers do, and may look again.
    Looked,
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

/// One line of a notification, as far as it means something to us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notification {
    /// `READY=1`.
    Ready,
    /// `RELOADING=1`.
    Reloading,
    /// `STOPPING=1`.
    Stopping,
    /// `STATUS=…`, cut to 256 bytes, control characters taken out.
    Status(String),
    /// `WATCHDOG=1`.
    Alive,
    /// `WATCHDOG=trigger`.
    Hung,
    /// `EXTEND_TIMEOUT_USEC=…`.
    Extend(Duration),
    /// `ERRNO=…`.
    Errno(i32),
    /// `MAINPID=…`: the process and its ancestors, as in [`Event::Notified`].
    MainPid(Vec<Pid>),
}

/// What can be asked for through the control socket and changes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// Replace every worker.
    Reload,
    /// Replace the worker in this slot.
    Restart(Slot),
    /// Another number of workers.
    Scale(Scale),
    /// Stop, as `TERM` would.
    Stop,
}

/// Another number of workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// This many.
    To(u16),
    /// So many more.
    More(u16),
    /// So many less.
    Less(u16),
    /// What `WORKERS` says, following the cores.
    Auto,
}

/// Readings of what workers use and may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measurements {
    /// The container's cores.
    pub cores: u16,
    /// Bytes that a worker has in memory with all that it started, by PSS if that can be read; what could not be read is left out.
    pub memory: Vec<(Pid, u64)>,
    /// Connections that wait to be accepted from a slot's own sockets, in mode `reuseport`.
    pub queues: Vec<(Slot, u32)>,
}
