//! The life of the process in one slot.
//!
//! Decides what state follows which event. Refuses to know the other slots, signals sent to us, and whether we are
//! stopping: `mod.rs` and `shutdown.rs` know that.

use std::time::Duration;

use super::action::{Cause, Death};
use super::backoff::Backoff;
use super::time::Time;
use crate::exit::ExitStatus;
use crate::ids::{Pid, Slot, WorkerId};
use crate::signal::Signal;

/// A process that was not reaped yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number among our workers.
    pub worker: WorkerId,
    /// Its number for the kernel.
    pub pid: Pid,
    /// When it was started.
    pub born: Time,
}

/// What is true of a slot. Only states with a process that was not reaped have one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// No process; the next is started then.
    Resting {
        /// When.
        until: Time,
    },
    /// The system was asked for a process and has not answered.
    Spawning {
        /// Who it will be.
        worker: WorkerId,
    },
    /// Running, not ready yet.
    Starting {
        /// The process.
        process: Process,
        /// What it takes.
        awaits: Awaits,
    },
    /// Running and ready.
    Ready {
        /// The process.
        process: Process,
        /// Since when.
        since: Time,
    },
    /// Running, out of rotation: it finishes taking what it was just offered.
    Settling {
        /// The process.
        process: Process,
        /// When it is asked to leave.
        until: Time,
    },
    /// Running, and about to end by itself: it was asked to through its channel, or its channel has ended.
    Leaving {
        /// The process.
        process: Process,
        /// Why.
        why: Why,
        /// When it is sent the stop signal at the latest; `None` is never.
        signal_at: Option<Time>,
    },
    /// Running, and was sent the stop signal.
    Stopping {
        /// The process.
        process: Process,
        /// Why.
        why: Why,
        /// When it is killed, if the end of us all is not sooner.
        kill_at: Option<Time>,
    },
    /// Was killed, but not reaped yet.
    Killed {
        /// The process.
        process: Process,
        /// Why.
        why: Why,
    },
    /// No process, and none will follow.
    Finished,
}

/// What a worker that was started must come to, to be ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaits {
    /// This moment, alive.
    Moment(Time),
    /// Its own word, by this time if there is one.
    Word {
        /// When patience is over.
        until: Option<Time>,
    },
}

/// Why a worker was sent a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// We end.
    End,
    /// It was not ready in time.
    NotReady,
    /// Its channel has ended, and so it is no worker any more; since when it had been ready.
    Mute(Option<Time>),
}

impl State {
    /// The word for it, in logs and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Resting { .. } => "resting",
            Self::Spawning { .. } | Self::Starting { .. } => "starting",
            Self::Ready { .. } => "ready",
            Self::Settling { .. } | Self::Leaving { .. } => "draining",
            Self::Stopping { .. } | Self::Killed { .. } => "stopping",
            Self::Finished => "finished",
        }
    }

    /// The process, if there is one.
    pub fn process(&self) -> Option<Process> {
        match self {
            Self::Starting { process, .. }
            | Self::Ready { process, .. }
            | Self::Settling { process, .. }
            | Self::Leaving { process, .. }
            | Self::Stopping { process, .. }
            | Self::Killed { process, .. } => Some(*process),
            Self::Resting { .. } | Self::Spawning { .. } | Self::Finished => None,
        }
    }
}

/// How a death bears on the slot's future.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It died before it was ready, or with a code other than 0 before it was stable.
    Failed,
    /// It ended with code 0, ready but not yet stable: no failure, but no reason to hurry.
    EndedEarly,
    /// It had been stable, or ended at our wish.
    Clean,
}

/// One slot.
#[derive(Clone, Debug)]
pub struct Worker {
    /// Which.
    pub slot: Slot,
    /// What is true of it.
    pub state: State,
    /// Its failures.
    pub backoff: Backoff,
    /// How often a process of it was started.
    pub starts: u64,
}

impl Worker {
    /// A slot whose first process is due.
    pub fn new(slot: Slot, backoff: Backoff, now: Time) -> Self {
        Self { slot, state: State::Resting { until: now }, backoff, starts: 0 }
    }

    /// When it wants to be looked at again.
    pub fn deadline(&self) -> Option<(Time, &'static str)> {
        match self.state {
            State::Resting { until } => Some((until, "a worker is due")),
            State::Starting { awaits: Awaits::Moment(time), .. } => Some((time, "a worker becomes ready")),
            State::Starting { awaits: Awaits::Word { until }, .. } => {
                until.map(|time| (time, "a worker is not ready in time"))
            }
            State::Settling { until, .. } => Some((until, "a worker is out of rotation")),
            State::Leaving { signal_at, .. } => signal_at.map(|time| (time, "a worker does not leave")),
            State::Stopping { kill_at, .. } => kill_at.map(|time| (time, "a worker does not stop")),
            State::Spawning { .. } | State::Ready { .. } | State::Killed { .. } | State::Finished => None,
        }
    }

    /// It is running.
    pub fn spawned(&mut self, process: Process, awaits: Awaits) {
        self.starts += 1;
        self.state = State::Starting { process, awaits };
    }

    /// Makes it ready if it has lived long enough. Gives the process if this made it so.
    pub fn become_ready(&mut self, now: Time) -> Option<Process> {
        match self.state {
            State::Starting { process, awaits: Awaits::Moment(time) } if time <= now => {
                self.state = State::Ready { process, since: time };
                Some(process)
            }
            State::Starting { .. }
            | State::Resting { .. }
            | State::Spawning { .. }
            | State::Ready { .. }
            | State::Settling { .. }
            | State::Leaving { .. }
            | State::Stopping { .. }
            | State::Killed { .. }
            | State::Finished => None,
        }
    }

    /// It said that it is ready. Gives the process if this made it so.
    pub fn said_ready(&mut self, now: Time) -> Option<Process> {
        match self.state {
            State::Starting { process, .. } => {
                self.state = State::Ready { process, since: now };
                Some(process)
            }
            State::Resting { .. }
            | State::Spawning { .. }
            | State::Ready { .. }
            | State::Settling { .. }
            | State::Leaving { .. }
            | State::Stopping { .. }
            | State::Killed { .. }
            | State::Finished => None,
        }
    }

    /// Since when it has been ready, if it is.
    pub fn ready_since(&self) -> Option<Time> {
        match self.state {
            State::Ready { since, .. } => Some(since),
            State::Leaving { why: Why::Mute(since), .. }
            | State::Stopping { why: Why::Mute(since), .. }
            | State::Killed { why: Why::Mute(since), .. } => since,
            State::Resting { .. }
            | State::Spawning { .. }
            | State::Starting { .. }
            | State::Settling { .. }
            | State::Leaving { .. }
            | State::Stopping { .. }
            | State::Killed { .. }
            | State::Finished => None,
        }
    }

    fn is_killed(&self) -> bool {
        matches!(self.state, State::Killed { .. })
    }

    /// Why it is to end, if somebody wants it to.
    fn why(&self) -> Option<Why> {
        match self.state {
            State::Settling { .. } => Some(Why::End),
            State::Leaving { why, .. } | State::Stopping { why, .. } | State::Killed { why, .. } => Some(why),
            State::Resting { .. }
            | State::Spawning { .. }
            | State::Starting { .. }
            | State::Ready { .. }
            | State::Finished => None,
        }
    }

    /// Its process was reaped. The caller says what state follows; until then it has none.
    pub fn died(&mut self, now: Time, end: End, stable_after: Duration) -> Option<(Death, Verdict)> {
        self.become_ready(now);
        let process = self.state.process()?;
        let why = self.why();
        let cause = match (why, end.status) {
            (Some(Why::End), _) => Cause::Stopped,
            // It was leaving, or had ample time to, and met our signal.
            (Some(Why::Mute(_)), ExitStatus::Signal { .. }) if end.wished => Cause::Stopped,
            (Some(Why::Mute(_)), ExitStatus::Signal { signal: Signal::KILL, .. }) if self.is_killed() => {
                Cause::Stopped
            }
            (Some(Why::NotReady), _) => Cause::ReadyTimeout,
            (_, ExitStatus::Code(0)) => Cause::Exited,
            (_, ExitStatus::Signal { signal: Signal::KILL, .. }) if end.out_of_memory => Cause::Oom,
            (_, ExitStatus::Code(_) | ExitStatus::Signal { .. }) => Cause::Crashed,
        };
        let stable = self.ready_since().is_some_and(|since| now - since >= stable_after);
        let verdict = match cause {
            _ if stable || why == Some(Why::End) => Verdict::Clean,
            Cause::Exited | Cause::Stopped if end.wished && self.ready_since().is_some() => {
                Verdict::EndedEarly
            }
            Cause::Exited
            | Cause::Stopped
            | Cause::Memory
            | Cause::Lifetime
            | Cause::ReadyTimeout
            | Cause::Watchdog
            | Cause::Crashed
            | Cause::Oom => Verdict::Failed,
        };
        self.state = State::Finished;
        let age = now - process.born;
        let status = end.status;
        Some((
            Death { worker: process.worker, slot: self.slot, pid: process.pid, age, status, cause },
            verdict,
        ))
    }
}

/// The end of a worker's process.
#[derive(Clone, Copy, Debug)]
pub struct End {
    /// How it ended.
    pub status: ExitStatus,
    /// Whether the kernel may have killed it for want of memory.
    pub out_of_memory: bool,
    /// Whether code 0 is a wish to end: in a cluster it is also what Node says when its channel is gone.
    pub wished: bool,
}
