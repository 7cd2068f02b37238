//! Everything that the supervisor can ask for, in the imperative, and what it wants people to know.

use std::time::Duration;

use super::event::{Child, SpawnFailure};
use crate::cluster::Effect;
use crate::config::kinds::Target;
use crate::exit::{Exit, ExitStatus};
use crate::ids::{ClientId, Generation, Pid, Slot, WorkerId};
use crate::signal::Signal;

/// What to do. The system performs actions in order, and fails at none: a failure is an event.
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Start a process. Answered by `Spawned` or `SpawnFailed`, before which no other `Spawn` is asked for.
    Spawn(Spawn),
    /// Send a signal to a process that was not reaped, or to its group. No answer; its death is an event.
    Signal {
        /// The process, which leads a group of its own.
        pid: Pid,
        /// Which.
        signal: Signal,
        /// The process or its group.
        target: Target,
    },
    /// Send a signal to every living descendant of ours. No answer.
    SignalDescendants(Signal),
    /// Reap what there is to reap. Answered by `Exited` for each, and one `Reaped`.
    Reap,
    /// Do what the primary of a cluster does. What answers it is a `Cluster` event.
    Cluster(Effect),
    /// Make this process's group the terminal's foreground. No answer.
    GiveTerminal(Pid),
    /// Say something to whoever asked. Nothing answers; who left does not hear it.
    Answer {
        /// To whom.
        client: ClientId,
        /// What.
        answer: Answer,
    },
    /// Read the cores, and the memory of these processes. Answered by [`Event::Measured`](super::event::Event::Measured).
    Measure(Vec<Pid>),
    /// Tell our own supervisor, if there is one (`sd_notify(3)`). No answer.
    Announce(Announcement),
    /// Suspend ourselves, as the terminal's user asked. We are continued by CONT, which is a `Signalled`.
    Suspend,
    /// Tell people.
    Report(Notice),
    /// Leave. Nothing follows.
    Exit(Exit),
}

/// What somebody who asked is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// How it goes; more follows. One line.
    Progress(String),
    /// It was done; nothing follows. One line.
    Done(String),
    /// It was not done, and why; nothing follows. One line.
    Failed(String),
}

/// What our own supervisor is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Announcement {
    /// `READY=1`, for the first time or after a reload.
    Ready,
    /// `RELOADING=1`, with the time.
    Reloading,
    /// `STOPPING=1`.
    Stopping,
    /// `STATUS=…`, one line.
    Status(String),
}

/// Which process to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spawn {
    /// The command that runs before the first worker.
    Prestart,
    /// A worker.
    Worker {
        /// Its number.
        worker: WorkerId,
        /// Its place.
        slot: Slot,
        /// Its generation.
        generation: Generation,
    },
}

impl Spawn {
    /// Whom the answer will name.
    pub fn child(self) -> Child {
        match self {
            Self::Prestart => Child::Prestart,
            Self::Worker { worker, .. } => Child::Worker(worker),
        }
    }
}

/// Why a worker is gone, where we know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// A code other than 0, or a signal that we did not send.
    Crashed,
    /// Code 0, unasked.
    Exited,
    /// The kernel killed it because the container ran out of memory.
    Oom,
    /// It was not ready in time, and we asked it to stop.
    ReadyTimeout,
    /// It was silent for longer than `WATCHDOG`.
    Watchdog,
    /// It stayed above `MAX_MEMORY`, and was replaced.
    Memory,
    /// It came to `MAX_LIFETIME` or `MAX_CONNECTIONS`, and was replaced.
    Lifetime,
    /// We asked it to.
    Stopped,
}

impl Cause {
    /// The word for it, in logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Crashed => "crashed",
            Self::Exited => "exited",
            Self::Oom => "oom",
            Self::ReadyTimeout => "ready-timeout",
            Self::Watchdog => "watchdog",
            Self::Memory => "memory",
            Self::Lifetime => "lifetime",
            Self::Stopped => "stopped",
        }
    }
}

/// A death, as people are told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Death {
    /// Who.
    pub worker: WorkerId,
    /// Where.
    pub slot: Slot,
    /// What it was called by the kernel.
    pub pid: Pid,
    /// How long it lived.
    pub age: Duration,
    /// How it ended.
    pub status: ExitStatus,
    /// Why.
    pub cause: Cause,
}

/// What people are told. Each is one line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A worker's program is running.
    Started {
        /// Who.
        worker: WorkerId,
        /// Where.
        slot: Slot,
        /// The process.
        pid: Pid,
    },
    /// A worker is ready.
    Ready {
        /// Who.
        worker: WorkerId,
        /// Where.
        slot: Slot,
        /// The process.
        pid: Pid,
        /// How long that took.
        after: Duration,
    },
    /// A worker is not ready in time, and is stopped.
    NotReady {
        /// Who.
        worker: WorkerId,
        /// Where.
        slot: Slot,
        /// The process.
        pid: Pid,
        /// How long it had.
        after: Duration,
    },
    /// A worker is gone.
    Died(Death),
    /// A worker or the command before them could not be started.
    SpawnFailed {
        /// Who.
        child: Child,
        /// Why.
        failure: SpawnFailure,
    },
    /// A slot rests after a failure.
    Resting {
        /// Which.
        slot: Slot,
        /// For how long.
        delay: Duration,
        /// Failures since it was last stable.
        failures: u32,
    },
    /// The command before the first worker is gone.
    PrestartEnded(ExitStatus),
    /// A stop was asked for, and everything serves on for a while.
    Draining {
        /// By which signal.
        signal: Signal,
        /// For how long.
        delay: Duration,
    },
    /// Workers are being stopped.
    Stopping {
        /// Why.
        reason: String,
        /// How many are there.
        workers: usize,
    },
    /// Workers are gone, and what they left behind is asked to go.
    StoppingDescendants,
    /// A worker is killed: the deadline is over, or somebody insists.
    Killing {
        /// Who.
        worker: WorkerId,
        /// Where.
        slot: Slot,
        /// The process.
        pid: Pid,
    },
    /// Something survived being killed, and we leave all the same.
    Immortal,
    /// A signal was passed on.
    Forwarded {
        /// What came.
        received: Signal,
        /// What was sent.
        sent: Signal,
        /// To how many workers.
        workers: usize,
    },
    /// A signal means nothing here.
    Ignored(Signal),
}
