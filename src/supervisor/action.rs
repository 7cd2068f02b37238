//! Everything that the supervisor can ask for, in the imperative, and what it wants people to know.

use std::path::PathBuf;
use std::time::Duration;

use super::event::{Child, SpawnFailure};
use super::rollout::Limit;
use super::status::ReloadVerdict;
use crate::cluster::Effect;
use crate::config::Word;
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
    /// Write the status down, for a worker that asks for it. Answered by [`Event::Shown`](super::event::Event::Shown).
    Show(WorkerId),
    /// Read the cores, the queues, and the memory of these processes. Answered by [`Event::Measured`](super::event::Event::Measured).
    Measure(Vec<Pid>),
    /// Let new connections come to these slots and no others, in mode `reuseport`: what waits in another's queue stays
    /// there. Without any slot all stays as it is. No answer; where the kernel does not do it, connections go to all.
    Steer(Vec<Slot>),
    /// There are only so many slots left, and no worker in those above: close their sockets, in mode `reuseport`. What still
    /// waits there the kernel gives to the other slots (`net.ipv4.tcp_migrate_req`), or refuses. No answer.
    KeepSlots(u16),
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
        /// What it was to say.
        awaited: Word,
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
        /// By which signal, if it was one.
        signal: Option<Signal>,
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
    /// A ready worker was silent for too long, and is made to leave a trace of why.
    Hung {
        /// Who.
        worker: WorkerId,
        /// Where.
        slot: Slot,
        /// The process.
        pid: Pid,
        /// For how long.
        silent: Duration,
    },
    /// Enough workers are ready.
    Available {
        /// How many are.
        ready: usize,
        /// Of how many.
        wanted: u16,
        /// How long there were too few.
        after: Duration,
    },
    /// Too few workers are ready.
    Unavailable {
        /// How many are.
        ready: usize,
        /// Of how many.
        wanted: u16,
    },
    /// All workers are being replaced.
    Reloading {
        /// The new ones' generation.
        generation: Generation,
        /// How many there are to replace.
        workers: usize,
    },
    /// A reload ended.
    Reloaded {
        /// How.
        verdict: ReloadVerdict,
        /// The new workers' generation.
        generation: Generation,
        /// What was done, or why not.
        reason: String,
        /// How long it took.
        took: Duration,
    },
    /// A worker came to one of its limits, and is replaced.
    Recycling {
        /// Where.
        slot: Slot,
        /// Which limit.
        limit: Limit,
    },
    /// A worker that was to replace another did not become ready.
    ReplacementFailed {
        /// Where.
        slot: Slot,
        /// Why.
        reason: String,
    },
    /// There are to be more workers, or fewer.
    Scaled {
        /// So many before.
        from: u16,
        /// So many now.
        to: u16,
        /// Why.
        why: &'static str,
    },
    /// What was asked for by a signal or a changed path was not done.
    Refused {
        /// What.
        what: &'static str,
        /// Why.
        reason: String,
    },
    /// A worker does not accept; new connections go to others, if there are any.
    Stalled {
        /// Where.
        slot: Slot,
        /// How many connections wait for it.
        waiting: u32,
    },
    /// A worker that did not accept does so again.
    Accepting(Slot),
    /// A path of `RELOAD_ON_CHANGE` changed.
    Changed(PathBuf),
    /// A process that belongs to no worker notified us.
    Stranger(Option<Pid>),
    /// A worker says that another process is its main one.
    MainPid {
        /// Who.
        worker: WorkerId,
        /// Which.
        pid: Pid,
        /// Whether that process is below the worker's.
        is_its_own: bool,
    },
}
