//! The end: drain, ask, insist, leave.
//!
//! Decides who is asked to go and when patience is over. Every end takes this way, also those that nobody asked for:
//! what is left of us is stopped before we leave, and we leave the moment nothing is left.

use std::time::Duration;

use super::Supervisor;
use super::action::{Action, Announcement, Notice};
use super::time::Time;
use super::worker::{State, Why};
use crate::config::kinds::{ExitOnStop, Target};
use crate::config::value::Patience;
use crate::config::{Mode, Restart};
use crate::exit::{self, Exit, ExitStatus};
use crate::signal::Signal;

/// A second request within this time is the first one once more: terminals and orchestrators repeat themselves.
const SAME_REQUEST: Duration = Duration::from_secs(1);
/// How often what was killed is looked for again: it may have forked as it died.
const AGAIN: Duration = Duration::from_millis(100);
/// How long we wait for what was killed. The kernel may hold it for ever (a dead disk), but not us.
const LAST_PATIENCE: Duration = Duration::from_secs(5);

/// What the supervisor is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// For the system.
    Waiting,
    /// `PRESTART` runs.
    Preparing,
    /// Workers run.
    Running,
    /// A stop was asked for; workers serve on.
    Draining {
        /// Until then.
        until: Time,
    },
    /// Workers and what they left behind are made to go.
    Stopping(Stop),
    /// We asked to leave.
    Over,
}

/// Why we end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Somebody asked.
    Asked,
    /// All work is done, or nothing is restarted.
    Finished,
    /// The workers cannot stay up.
    GaveUp,
    /// Too few were ready for too long.
    Unready,
    /// There never was a worker.
    CannotStart {
        /// Our exit code.
        code: u8,
        /// Why.
        reason: String,
    },
}

/// A stop under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stop {
    pub(super) ending: Ending,
    insistence: Insistence,
}

/// How hard.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Insistence {
    /// They were asked.
    Asking {
        /// When they are killed; `None` is never.
        kill_at: Option<Time>,
        /// Whether, workers gone, the descendants were asked as well.
        descendants_too: bool,
    },
    /// They were killed.
    Killing {
        /// When those that appeared meanwhile are.
        again_at: Time,
        /// When we leave whatever is left.
        leave_at: Time,
    },
}

impl Phase {
    pub(super) fn deadline(&self) -> Option<(Time, &'static str)> {
        match self {
            Self::Draining { until } => Some((*until, "the drain delay is over")),
            Self::Stopping(Stop { insistence: Insistence::Asking { kill_at, .. }, .. }) => {
                kill_at.map(|time| (time, "the stop timeout is over"))
            }
            Self::Stopping(Stop { insistence: Insistence::Killing { again_at, leave_at }, .. }) => {
                Some(((*again_at).min(*leave_at), "the killed are looked for"))
            }
            Self::Waiting | Self::Preparing | Self::Running | Self::Over => None,
        }
    }
}

impl Supervisor {
    pub(super) fn asked_to_stop(&mut self, now: Time, signal: Option<Signal>) {
        match self.asked_at {
            Some(asked_at) if now - asked_at < SAME_REQUEST => {}
            Some(_) => self.asked_to_quit(now),
            None => {
                self.asked_at = Some(now);
                match self.phase {
                    Phase::Waiting | Phase::Preparing | Phase::Running => self.drain(now, signal),
                    Phase::Draining { .. } | Phase::Stopping(_) | Phase::Over => {}
                }
            }
        }
    }

    /// Kill what is left, now.
    pub(super) fn asked_to_quit(&mut self, now: Time) {
        self.asked_at.get_or_insert(now);
        match &self.phase {
            Phase::Waiting | Phase::Preparing | Phase::Running | Phase::Draining { .. } => {
                self.stop_starting(now);
                self.phase = Phase::Stopping(Stop { ending: Ending::Asked, insistence: asking(Some(now)) });
                self.insist(now);
            }
            Phase::Stopping(_) => self.insist(now),
            Phase::Over => {}
        }
    }

    fn drain(&mut self, now: Time, signal: Option<Signal>) {
        let delay = self.config.settings.drain_delay;
        // Nobody serves yet, or nobody should wait.
        if delay.is_zero() || !matches!(self.phase, Phase::Running) || !self.anything_runs() {
            return self.begin_stopping(now, Ending::Asked);
        }
        self.report(Notice::Draining { signal, delay });
        self.stop_starting(now);
        self.phase = Phase::Draining { until: now + delay };
    }

    /// Ends for a reason of ours, unless an end is under way.
    pub(super) fn end(&mut self, now: Time, ending: Ending) {
        match self.phase {
            Phase::Waiting | Phase::Preparing | Phase::Running | Phase::Draining { .. } => {
                self.begin_stopping(now, ending)
            }
            Phase::Stopping(_) | Phase::Over => {}
        }
    }

    pub(super) fn begin_stopping(&mut self, now: Time, ending: Ending) {
        self.stop_starting(now);
        let workers = self.workers.iter().filter(|worker| worker.state.process().is_some()).count();
        self.report(Notice::Stopping { reason: self.reason(&ending), workers });
        let kill_at = match self.config.settings.stop_timeout {
            Patience::For(time) => Some(now + time),
            Patience::Forever => None,
        };
        self.phase = Phase::Stopping(Stop { ending, insistence: asking(kill_at) });
        if kill_at == Some(now) {
            return self.insist(now);
        }
        self.close_listeners(now);
        for index in 0..self.workers.len() {
            self.retire(now, index, Why::End);
        }
        if let Some(pid) = self.suspended.take() {
            // A signal waits for as long as its process is suspended.
            self.act(Action::Signal { pid, signal: Signal::CONT, target: Target::Group });
        }
        if let Some(pid) = self.prestart {
            self.act(Action::Signal { pid, signal: Signal::TERM, target: Target::Group });
        }
        if !self.anything_runs() {
            self.act(Action::Reap);
        }
    }

    /// No slot without a process gets one any more.
    fn stop_starting(&mut self, now: Time) {
        if self.phase == Phase::Running {
            self.announce(Announcement::Stopping);
        }
        self.measure_at = None;
        self.end_replacing(now);
        for worker in &mut self.workers {
            if worker.state.process().is_none() {
                worker.state = State::Finished;
            }
        }
    }

    pub(super) fn anything_runs(&self) -> bool {
        self.prestart.is_some() || self.workers.iter().any(|worker| worker.state.process().is_some())
    }

    pub(super) fn phase_deadline_reached(&mut self, now: Time) {
        match &mut self.phase {
            Phase::Draining { until } if *until <= now => self.begin_stopping(now, Ending::Asked),
            Phase::Stopping(stop) => match &mut stop.insistence {
                Insistence::Asking { kill_at: Some(kill_at), .. } if *kill_at <= now => self.kill(now),
                Insistence::Killing { leave_at, .. } if *leave_at <= now => {
                    self.report(Notice::Immortal);
                    self.leave();
                }
                Insistence::Killing { again_at, .. } if *again_at <= now => {
                    *again_at = now + AGAIN;
                    self.act(Action::SignalDescendants(Signal::KILL));
                }
                Insistence::Asking { .. } | Insistence::Killing { .. } => {}
            },
            Phase::Draining { .. } | Phase::Waiting | Phase::Preparing | Phase::Running | Phase::Over => {}
        }
    }

    /// Patience is over. What is left is killed; if we know of nobody, we look first: who finds nothing to kill has
    /// not killed.
    fn insist(&mut self, now: Time) {
        if self.anything_runs() {
            return self.kill(now);
        }
        if let Phase::Stopping(Stop { insistence: Insistence::Asking { kill_at, .. }, .. }) = &mut self.phase
        {
            *kill_at = Some(now);
            self.act(Action::Reap);
        }
    }

    fn kill(&mut self, now: Time) {
        let Phase::Stopping(stop) = &mut self.phase else { return };
        let leave_at = match stop.insistence {
            Insistence::Asking { .. } => now + LAST_PATIENCE,
            Insistence::Killing { leave_at, .. } => leave_at,
        };
        stop.insistence = Insistence::Killing { again_at: now + AGAIN, leave_at };
        for index in 0..self.workers.len() {
            if let Some(process) = self.workers[index].state.process() {
                let (worker, pid, slot) = (process.worker, process.pid, self.workers[index].slot);
                self.workers[index].state = State::Killed { process, why: Why::End };
                self.report(Notice::Killing { worker, slot, pid });
                self.act(Action::Signal { pid, signal: Signal::KILL, target: Target::Process });
            }
        }
        self.act(Action::SignalDescendants(Signal::KILL));
    }

    pub(super) fn reaped(&mut self, children_left: bool) {
        let anything_runs = self.anything_runs();
        let Phase::Stopping(stop) = &mut self.phase else { return };
        if anything_runs {
            return;
        }
        if !children_left {
            return self.leave();
        }
        match &mut stop.insistence {
            Insistence::Asking { descendants_too: true, .. } | Insistence::Killing { .. } => {}
            Insistence::Asking { descendants_too, .. } => {
                *descendants_too = true;
                self.report(Notice::StoppingDescendants);
                self.act(Action::SignalDescendants(Signal::TERM));
            }
        }
    }

    fn leave(&mut self) {
        let Phase::Stopping(stop) = std::mem::replace(&mut self.phase, Phase::Over) else { return };
        let killed = matches!(stop.insistence, Insistence::Killing { .. });
        let code = self.exit_code(&stop.ending, killed);
        let mut reason = self.reason(&stop.ending);
        if killed {
            reason.push_str("; what was still there was killed");
        }
        self.act(Action::Exit(Exit { code, reason }));
    }

    fn exit_code(&self, ending: &Ending, killed: bool) -> u8 {
        let workers_own = self.last_end.map_or(0, |status| status.code());
        match ending {
            Ending::Asked => match self.config.settings.exit_on_stop {
                ExitOnStop::Code(code) => code,
                ExitOnStop::Worker => workers_own,
                ExitOnStop::Auto if killed => exit::KILLED,
                ExitOnStop::Auto => match self.config.mode {
                    Mode::Plain => workers_own,
                    Mode::Cluster | Mode::Inherit | Mode::Reuseport | Mode::Ports => 0,
                },
            },
            Ending::Finished => self.lasting_failure().map_or(0, |status| status.code()),
            // A program that could not stay up has not succeeded, whatever its last word was.
            Ending::GaveUp => workers_own.max(1),
            Ending::Unready => exit::UNREADY,
            Ending::CannotStart { code, .. } => *code,
        }
    }

    /// The first failure that nobody made good: with a restart, a slot finishes only when it has succeeded.
    fn lasting_failure(&self) -> Option<ExitStatus> {
        self.first_failure.filter(|_| self.config.restart == Restart::Never)
    }

    fn reason(&self, ending: &Ending) -> String {
        match ending {
            Ending::Asked => "stopped as asked".to_owned(),
            Ending::Finished => match self.lasting_failure() {
                Some(status) if self.config.workers == 1 => format!("the program ended: {status}"),
                Some(status) => format!("all workers ended, the first failure was: {status}"),
                None => "all work finished".to_owned(),
            },
            Ending::GaveUp => {
                let failures = self.config.settings.max_failures.0.map_or(0, std::num::NonZeroU32::get);
                let last = self
                    .last_end
                    .map_or_else(String::new, |status| format!("; the last ended with: {status}"));
                format!("gave up: every worker failed {failures} times without becoming stable{last}")
            }
            Ending::Unready => format!(
                "unready for longer than EXIT_WHEN_UNREADY: {} of {} workers ready, {} needed",
                self.ready_workers(),
                self.wanted,
                self.min_ready()
            ),
            Ending::CannotStart { reason, .. } => reason.clone(),
        }
    }
}

fn asking(kill_at: Option<Time>) -> Insistence {
    Insistence::Asking { kill_at, descendants_too: false }
}
