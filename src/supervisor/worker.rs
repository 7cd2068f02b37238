//! The life of one process in a slot.
//!
//! Decides what state follows which event. Refuses to know the other slots, signals sent to us, and whether we are
//! stopping: the supervisor's other files know that.

use std::time::Duration;

use super::action::{Cause, Death};
use super::backoff::Backoff;
use super::rollout::{Errand, Limit};
use super::time::Time;
use crate::config::Word;
use crate::exit::ExitStatus;
use crate::ids::{Generation, Pid, Slot, WorkerId};
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

/// What is true of a worker. Only states with a process that was not reaped have one.
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
        /// Why, and how long at the most.
        leave: Leave,
        /// When it is asked to leave.
        until: Time,
    },
    /// Running, and about to end by itself: it was asked to through its channel, or its channel has ended.
    Leaving {
        /// The process.
        process: Process,
        /// Why, and how long at the most.
        leave: Leave,
        /// When it is sent the stop signal at the latest; `None` is never.
        signal_at: Option<Time>,
    },
    /// Running, and was sent the stop signal.
    Stopping {
        /// The process.
        process: Process,
        /// Why, and how long at the most.
        leave: Leave,
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
        /// Which.
        word: Word,
        /// When patience is over.
        until: Option<Time>,
    },
}

/// A worker's leaving.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leave {
    /// Why.
    pub why: Why,
    /// When it is killed, if the end of us all is not sooner.
    pub kill_at: Option<Time>,
}

/// Why a worker is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// We end.
    End,
    /// Another took its place, or its place is no more.
    Retired(Cause),
    /// It was not ready in time.
    NotReady,
    /// It was silent for too long; since when it had been ready.
    Hung(Time),
    /// It ends by itself: it said so, or its channel has ended; since when it had been ready.
    Itself(Option<Time>),
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

    /// Until when it rests, if it does.
    pub fn rests_until(&self) -> Option<Time> {
        let Self::Resting { until } = self else { return None };
        Some(*until)
    }

    /// Why it is to end, if somebody wants it to.
    pub fn why(&self) -> Option<Why> {
        match self {
            Self::Settling { leave, .. } | Self::Leaving { leave, .. } | Self::Stopping { leave, .. } => {
                Some(leave.why)
            }
            Self::Killed { why, .. } => Some(*why),
            Self::Resting { .. }
            | Self::Spawning { .. }
            | Self::Starting { .. }
            | Self::Ready { .. }
            | Self::Finished => None,
        }
    }

    /// Since when it has been ready, if it is or ends by itself.
    pub fn ready_since(&self) -> Option<Time> {
        match (self, self.why()) {
            (Self::Ready { since, .. }, _) => Some(*since),
            (_, Some(Why::Itself(since))) => since,
            (_, Some(Why::Hung(since))) => Some(since),
            (_, Some(Why::End | Why::Retired(_) | Why::NotReady) | None) => None,
        }
    }
}

/// What a worker is to its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The slot's own: when it dies, the slot gets another.
    Current,
    /// To be the slot's own when it is ready.
    Replacement(Errand),
    /// The slot's own no more; it is to leave.
    Former {
        /// What it makes room for, where old and new cannot live side by side.
        then: Option<Errand>,
    },
}

impl Role {
    /// What it is there for, if it is an exchange.
    pub fn errand(self) -> Option<Errand> {
        match self {
            Self::Replacement(errand) | Self::Former { then: Some(errand) } => Some(errand),
            Self::Current | Self::Former { then: None } => None,
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

/// What is known of a process beyond its state.
#[derive(Clone, Debug, Default)]
pub struct Vitals {
    /// What it says of itself.
    pub says: Option<String>,
    /// When it last showed that it is not hung.
    pub sign: Sign,
    /// When it comes to a limit, and to which.
    pub expires: Option<(Time, Limit)>,
    /// Whether it was above the limit of memory when it was last measured.
    pub was_above: bool,
    /// Whether people know that it names another process as its main one.
    pub has_named_main: bool,
}

/// When a worker last showed that it is not hung.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// Then.
    Seen(Time),
    /// Then, and it was asked again since.
    Asked(Time),
}

impl Sign {
    /// When it was.
    pub fn time(self) -> Time {
        match self {
            Self::Seen(time) | Self::Asked(time) => time,
        }
    }
}

impl Default for Sign {
    fn default() -> Self {
        Self::Seen(Time::default())
    }
}

/// A worker, or the place of one.
#[derive(Clone, Debug)]
pub struct Worker {
    /// Where.
    pub slot: Slot,
    /// What it is to the slot.
    pub role: Role,
    /// Which roll-out it belongs to.
    pub generation: Generation,
    /// What is true of it.
    pub state: State,
    /// The slot's failures.
    pub backoff: Backoff,
    /// How often a process was started in the slot.
    pub starts: u64,
    /// What is known of its process.
    pub vitals: Vitals,
}

impl Worker {
    /// A worker whose first process is due.
    pub fn new(slot: Slot, role: Role, generation: Generation, backoff: Backoff, now: Time) -> Self {
        let (state, vitals) = (State::Resting { until: now }, Vitals::default());
        Self { slot, role, generation, state, backoff, starts: 0, vitals }
    }

    /// When it wants to be looked at again.
    pub fn deadline(&self) -> Option<(Time, &'static str)> {
        match self.state {
            State::Resting { until } => Some((until, "a worker is due")),
            State::Starting { awaits: Awaits::Moment(time), .. } => Some((time, "a worker becomes ready")),
            State::Starting { awaits: Awaits::Word { until, .. }, .. } => {
                until.map(|time| (time, "a worker is not ready in time"))
            }
            State::Ready { .. } => {
                self.vitals.expires.map(|(time, _)| (time, "a worker has served long enough"))
            }
            State::Settling { until, .. } => Some((until, "a worker is out of rotation")),
            State::Leaving { signal_at, .. } => signal_at.map(|time| (time, "a worker does not leave")),
            State::Stopping { leave, .. } => leave.kill_at.map(|time| (time, "a worker does not stop")),
            State::Spawning { .. } | State::Killed { .. } | State::Finished => None,
        }
    }

    /// It is running.
    pub fn spawned(&mut self, process: Process, awaits: Awaits, expires: Option<(Time, Limit)>) {
        self.starts += 1;
        self.vitals = Vitals { sign: Sign::Seen(process.born), expires, ..Vitals::default() };
        self.state = State::Starting { process, awaits };
    }

    /// Makes it ready if it has lived long enough. Gives the process if this made it so.
    pub fn has_lived(&mut self, now: Time) -> Option<Process> {
        let State::Starting { awaits: Awaits::Moment(time), .. } = self.state else { return None };
        if time <= now { self.ready_at(time) } else { None }
    }

    /// It is ready from this moment on, if it was starting. Gives the process if this made it so.
    pub fn ready_at(&mut self, time: Time) -> Option<Process> {
        let State::Starting { process, .. } = self.state else { return None };
        self.state = State::Ready { process, since: time };
        self.vitals.sign = Sign::Seen(time);
        Some(process)
    }

    /// Its process was reaped. The caller says what state follows; until then it has none.
    pub fn died(&mut self, now: Time, end: End, stable_after: Duration) -> Option<(Death, Verdict)> {
        self.has_lived(now);
        let process = self.state.process()?;
        let why = self.state.why();
        let killed_by_us = matches!(self.state, State::Killed { .. });
        let cause = match (why, end.status) {
            (Some(Why::End), _) => Cause::Stopped,
            (Some(Why::Retired(cause)), _) => cause,
            (Some(Why::NotReady), _) => Cause::ReadyTimeout,
            (Some(Why::Hung(_)), _) => Cause::Watchdog,
            // It was leaving, or had ample time to, and met our signal.
            (Some(Why::Itself(_)), ExitStatus::Signal { .. }) if end.wished => Cause::Stopped,
            (Some(Why::Itself(_)), ExitStatus::Signal { signal: Signal::KILL, .. }) if killed_by_us => {
                Cause::Stopped
            }
            (_, ExitStatus::Code(0)) => Cause::Exited,
            (_, ExitStatus::Signal { signal: Signal::KILL, .. }) if end.out_of_memory => Cause::Oom,
            (_, ExitStatus::Code(_) | ExitStatus::Signal { .. }) => Cause::Crashed,
        };
        let ready_since = self.state.ready_since();
        let stable = ready_since.is_some_and(|since| now - since >= stable_after);
        let at_our_wish = matches!(why, Some(Why::End | Why::Retired(_)));
        let verdict = match cause {
            _ if stable || at_our_wish => Verdict::Clean,
            Cause::Exited | Cause::Stopped if end.wished && ready_since.is_some() => Verdict::EndedEarly,
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
        let (age, status) = (now - process.born, end.status);
        let Process { worker, pid, .. } = process;
        Some((Death { worker, slot: self.slot, pid, age, status, cause }, verdict))
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
