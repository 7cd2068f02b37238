//! How a worker is made to leave: out of rotation, asked through its channel, sent the stop signal, killed.
//!
//! Every leaving takes this way, or a part of it: at the end of us all, when another takes a worker's place, when it is not ready
//! in time, is hung, or ends by itself and does not come to it.

use std::time::Duration;

use super::Supervisor;
use super::action::{Action, Notice};
use super::time::Time;
use super::worker::{Awaits, Leave, Process, Role, State, Why};
use crate::config::kinds::Target;
use crate::config::value::{Patience, Switch};
use crate::signal::Signal;

/// What a worker that is taken out of rotation is given to finish taking what it was offered: Node 26 closes, unanswered, what
/// it took a moment before it is told to leave.
const SETTLE: Duration = Duration::from_millis(200);
/// What a worker whose channel has ended is given to end by itself, with the code that it wants, before it is sent a signal. Node
/// takes some milliseconds.
const LINGER: Duration = Duration::from_millis(100);
/// What a hung worker is given to leave a core or a stack behind.
const LAST_WORDS: Duration = Duration::from_secs(5);

impl Supervisor {
    /// Makes a worker leave: through its channel if it has one, else by the stop signal.
    pub(super) fn retire(&mut self, now: Time, index: usize, why: Why) {
        let Some(process) = self.workers[index].state.process() else { return };
        // The end of us all has a deadline of its own.
        let kill_at = if why == Why::End { None } else { self.kill_at(now) };
        let wanted = Leave { why, kill_at };
        match &mut self.workers[index].state {
            // It was told already. Many programs take a second signal for "at once".
            State::Settling { leave, .. } | State::Leaving { leave, .. } | State::Stopping { leave, .. }
                if why == Why::End =>
            {
                return *leave = wanted;
            }
            State::Killed { why: known, .. } if why == Why::End => return *known = why,
            State::Settling { .. }
            | State::Leaving { .. }
            | State::Stopping { .. }
            | State::Killed { .. }
            | State::Resting { .. }
            | State::Spawning { .. }
            | State::Finished => return,
            State::Starting { .. } | State::Ready { .. } => {}
        }
        // Nobody will accept what comes to its own sockets after it: it takes what is there, and what is on its way.
        let is_last_of_slot = self.steering.is_some() && self.workers[index].slot.0 >= self.wanted;
        let settling = State::Settling { process, leave: wanted, until: now + SETTLE };
        match &mut self.cluster {
            Some(cluster) if cluster.is_open(process.worker) => {
                // At the end of us all, those who were let in last are still to be served.
                if why != Why::End {
                    cluster.retire(process.worker);
                }
                self.workers[index].state = settling;
            }
            None if is_last_of_slot && why != Why::End => self.workers[index].state = settling,
            Some(_) | None => self.send_stop_signal(index, process, wanted),
        }
    }

    fn send_stop_signal(&mut self, index: usize, process: Process, leave: Leave) {
        self.leave_rotation(process);
        self.workers[index].state = State::Stopping { process, leave };
        let (signal, target) = (self.config.settings.stop_signal, self.config.settings.forward);
        self.act(Action::Signal { pid: process.pid, signal, target });
    }

    fn leave_rotation(&mut self, process: Process) {
        if let Some(cluster) = &mut self.cluster {
            cluster.retire(process.worker);
        }
    }

    /// A worker without a channel is no worker any more: Node ends by itself then, and others are helped.
    pub(super) fn channel_ended(&mut self, now: Time, index: usize) {
        let soon = now + LINGER;
        match &mut self.workers[index].state {
            State::Starting { .. } | State::Ready { .. } => self.ends_itself(index, Some(soon)),
            State::Settling { process, leave, .. } => {
                let (process, leave) = (*process, *leave);
                self.workers[index].state = State::Leaving { process, leave, signal_at: Some(soon) };
            }
            State::Leaving { signal_at, .. } => {
                *signal_at = Some(signal_at.map_or(soon, |time| time.min(soon)));
            }
            State::Stopping { .. }
            | State::Killed { .. }
            | State::Resting { .. }
            | State::Spawning { .. }
            | State::Finished => {}
        }
    }

    /// A worker is about to end by itself, and is helped if it does not come to it.
    fn ends_itself(&mut self, index: usize, signal_at: Option<Time>) {
        let state = self.workers[index].state;
        let (State::Starting { process, .. } | State::Ready { process, .. }) = state else { return };
        let kill_at = signal_at.and_then(|time| self.kill_at(time));
        let leave = Leave { why: Why::Itself(state.ready_since()), kill_at };
        self.leave_rotation(process);
        self.workers[index].state = State::Leaving { process, leave, signal_at };
    }

    /// A worker says that it stops, and has as long for it as if we had asked.
    pub(super) fn said_stopping(&mut self, now: Time, index: usize) {
        self.ends_itself(index, self.kill_at(now));
    }

    /// A ready worker was silent for too long: it is to leave a trace of why, and then it is killed.
    pub(super) fn hung(&mut self, now: Time, index: usize) {
        let State::Ready { process, since } = self.workers[index].state else { return };
        let (worker, pid, slot) = (process.worker, process.pid, self.workers[index].slot);
        self.report(Notice::Hung { worker, slot, pid, silent: now - self.workers[index].vitals.sign.time() });
        self.leave_rotation(process);
        let leave = Leave { why: Why::Hung(since), kill_at: Some(now + LAST_WORDS) };
        self.workers[index].state = State::Stopping { process, leave };
        self.act(Action::Signal { pid, signal: Signal::ABRT, target: Target::Process });
    }

    fn kill_at(&self, now: Time) -> Option<Time> {
        match self.config.settings.stop_timeout {
            Patience::For(time) => Some(now + time),
            Patience::Forever => None,
        }
    }

    /// A moment that a worker's state named has come.
    pub(super) fn worker_deadline_reached(&mut self, now: Time, index: usize) {
        let Some(process) = self.workers[index].state.process() else { return };
        let (worker, pid, slot) = (process.worker, process.pid, self.workers[index].slot);
        match self.workers[index].state {
            State::Starting { awaits: Awaits::Word { word, until: Some(until) }, .. } if until <= now => {
                self.report(Notice::NotReady { worker, slot, pid, after: now - process.born, awaited: word });
                let leave = Leave { why: Why::NotReady, kill_at: self.kill_at(now) };
                self.send_stop_signal(index, process, leave);
                if let Role::Replacement(errand) = self.workers[index].role {
                    let reason = format!("worker {worker} was not ready in time");
                    self.replacement_failed(now, index, errand, &reason);
                }
            }
            State::Ready { .. } => self.ready_deadline_reached(now, index),
            State::Settling { leave, until, .. } if until <= now => {
                self.ask_to_leave(now, index, process, leave);
            }
            State::Leaving { leave, signal_at: Some(signal_at), .. } if signal_at <= now => {
                self.send_stop_signal(index, process, leave);
            }
            State::Stopping { leave: Leave { why, kill_at: Some(kill_at) }, .. } if kill_at <= now => {
                self.workers[index].state = State::Killed { process, why };
                self.report(Notice::Killing { worker, slot, pid });
                self.act(Action::Signal { pid, signal: Signal::KILL, target: Target::Process });
            }
            State::Starting { .. }
            | State::Settling { .. }
            | State::Leaving { .. }
            | State::Stopping { .. }
            | State::Killed { .. }
            | State::Resting { .. }
            | State::Spawning { .. }
            | State::Finished => {}
        }
    }

    fn ask_to_leave(&mut self, now: Time, index: usize, process: Process, leave: Leave) {
        let Some(cluster) = &mut self.cluster else { return self.send_stop_signal(index, process, leave) };
        let shutdown_first = self.config.settings.stop_message == Switch::On;
        let signal_at = match self.config.settings.stop_timeout {
            // From the request: what settling took is part of it.
            Patience::For(time) => Some(now + (time / 2).saturating_sub(SETTLE)),
            Patience::Forever => None,
        };
        self.workers[index].state = State::Leaving { process, leave, signal_at };
        let effects = cluster.disconnect(now, process.worker, shutdown_first);
        self.perform_effects(now, effects);
    }
}
