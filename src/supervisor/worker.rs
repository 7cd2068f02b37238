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
        /// When it will be, if it lives.
        ready_at: Time,
    },
    /// Running and ready.
    Ready {
        /// The process.
        process: Process,
        /// Since when.
        since: Time,
    },
    /// Running, and was asked to stop.
    Stopping {
        /// The process.
        process: Process,
    },
    /// Was killed, but not reaped yet.
    Killed {
        /// The process.
        process: Process,
    },
    /// No process, and none will follow.
    Finished,
}

impl State {
    /// The word for it, in logs and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Resting { .. } => "resting",
            Self::Spawning { .. } | Self::Starting { .. } => "starting",
            Self::Ready { .. } => "ready",
            Self::Stopping { .. } | Self::Killed { .. } => "stopping",
            Self::Finished => "finished",
        }
    }

    /// The process, if there is one.
    pub fn process(&self) -> Option<Process> {
        match self {
            Self::Starting { process, .. }
            | Self::Ready { process, .. }
            | Self::Stopping { process }
            | Self::Killed { process } => Some(*process),
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
            State::Starting { ready_at, .. } => Some((ready_at, "a worker becomes ready")),
            State::Spawning { .. }
            | State::Ready { .. }
            | State::Stopping { .. }
            | State::Killed { .. }
            | State::Finished => None,
        }
    }

    /// It is running.
    pub fn spawned(&mut self, process: Process, ready_after: Duration) {
        self.starts += 1;
        self.state = State::Starting { process, ready_at: process.born + ready_after };
    }

    /// Makes it ready if it has lived long enough. Gives the process if this made it so.
    pub fn become_ready(&mut self, now: Time) -> Option<Process> {
        match self.state {
            State::Starting { process, ready_at } if ready_at <= now => {
                self.state = State::Ready { process, since: ready_at };
                Some(process)
            }
            State::Starting { .. }
            | State::Resting { .. }
            | State::Spawning { .. }
            | State::Ready { .. }
            | State::Stopping { .. }
            | State::Killed { .. }
            | State::Finished => None,
        }
    }

    /// Its process was reaped. The caller says what state follows; until then it has none.
    pub fn died(
        &mut self,
        now: Time,
        status: ExitStatus,
        oom: bool,
        stable_after: Duration,
    ) -> Option<(Death, Verdict)> {
        self.become_ready(now);
        let process = self.state.process()?;
        let asked = matches!(self.state, State::Stopping { .. } | State::Killed { .. });
        let cause = match status {
            _ if asked => Cause::Stopped,
            ExitStatus::Code(0) => Cause::Exited,
            ExitStatus::Signal { signal: Signal::KILL, .. } if oom => Cause::Oom,
            ExitStatus::Code(_) | ExitStatus::Signal { .. } => Cause::Crashed,
        };
        let verdict = self.verdict(now, status, stable_after);
        self.state = State::Finished;
        let age = now - process.born;
        Some((
            Death { worker: process.worker, slot: self.slot, pid: process.pid, age, status, cause },
            verdict,
        ))
    }

    fn verdict(&self, now: Time, status: ExitStatus, stable_after: Duration) -> Verdict {
        match self.state {
            State::Ready { since, .. } if now - since >= stable_after => Verdict::Clean,
            State::Ready { .. } if status.is_success() => Verdict::EndedEarly,
            State::Ready { .. } | State::Starting { .. } => Verdict::Failed,
            State::Resting { .. }
            | State::Spawning { .. }
            | State::Stopping { .. }
            | State::Killed { .. }
            | State::Finished => Verdict::Clean,
        }
    }
}
