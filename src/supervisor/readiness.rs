//! Who is ready, whether that is enough, and who is told.
//!
//! Decides which words make a worker ready, when the pool as a whole is, what our own supervisor hears of it, and when being
//! unready has lasted too long.

use std::time::Duration;

use super::Supervisor;
use super::action::{Action, Announcement, Notice};
use super::event::Notification;
use super::shutdown::{Ending, Phase};
use super::time::Time;
use super::worker::{Awaits, Leave, Process, Role, Sign, State, Why};
use crate::config::{Readiness, Word};
use crate::ids::{Pid, WorkerId};

/// Most time that a worker gets for asking once: a roll-out may wait for it.
const LONGEST_EXTENSION: Duration = Duration::from_secs(3600);

/// Whether enough workers are ready, and since when not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Availability {
    /// They never were; since we began.
    Never(Time),
    /// They are.
    Now,
    /// They were; since then not.
    Lost(Time),
}

impl Supervisor {
    /// A worker said something that may make it ready.
    pub(super) fn said(&mut self, now: Time, worker: WorkerId, word: Word) {
        let counts = match self.config.ready {
            Readiness::Alive(_) => word == Word::Notify,
            Readiness::Word(Word::Any) => matches!(word, Word::Listening | Word::Message | Word::Notify),
            Readiness::Word(awaited) => awaited == word || word == Word::Notify,
        };
        let Some(index) = self.index_of(worker).filter(|_| counts) else { return };
        if let Some(process) = self.workers[index].ready_at(now) {
            self.became_ready(now, index, process);
        }
    }

    pub(super) fn become_ready(&mut self, now: Time, index: usize) {
        if let Some(process) = self.workers[index].has_lived(now) {
            self.became_ready(now, index, process);
        }
    }

    fn became_ready(&mut self, now: Time, index: usize, process: Process) {
        let (Process { worker, pid, born }, slot) = (process, self.workers[index].slot);
        self.report(Notice::Ready { worker, slot, pid, after: now - born });
        if let Role::Replacement(errand) = self.workers[index].role {
            self.take_over(now, index, process, errand);
        }
    }

    /// A process that belongs to a worker, or to nobody, notified us (`sd_notify(3)`).
    pub(super) fn notified(&mut self, now: Time, lineage: &[Pid], words: Vec<Notification>) {
        // The nearest worker upwards: one may have an allcores among its own processes.
        let Some(index) = lineage.iter().find_map(|pid| self.index_of_pid(*pid)) else {
            return self.report(Notice::Stranger(lineage.first().copied()));
        };
        for word in words {
            self.noted(now, index, word);
        }
    }

    fn noted(&mut self, now: Time, index: usize, word: Notification) {
        let Some(process) = self.workers[index].state.process() else { return };
        let vitals = &mut self.workers[index].vitals;
        match word {
            Notification::Ready => self.said(now, process.worker, Word::Notify),
            Notification::Reloading => vitals.says = Some("reloading".to_owned()),
            Notification::Status(text) => vitals.says = Some(text),
            Notification::Errno(number) => vitals.says = Some(format!("errno {number}")),
            Notification::Alive => vitals.sign = Sign::Seen(now),
            Notification::Hung => self.hung(now, index),
            Notification::Stopping => self.said_stopping(now, index),
            Notification::Extend(time) => self.extend(now + time.min(LONGEST_EXTENSION), index),
            Notification::MainPid(lineage) => {
                let is_its_own = lineage.contains(&process.pid);
                // A worker that says it again and again fills no log.
                if let Some(pid) = lineage.first().copied().filter(|pid| *pid != process.pid)
                    && !std::mem::replace(&mut vitals.has_named_main, true)
                {
                    self.report(Notice::MainPid { worker: process.worker, pid, is_its_own });
                }
            }
        }
    }

    /// A worker asks for more time: to become ready, or to leave while the others stay.
    fn extend(&mut self, until: Time, index: usize) {
        match &mut self.workers[index].state {
            State::Starting { awaits: Awaits::Word { until: Some(patience), .. }, .. }
            | State::Stopping {
                leave:
                    Leave {
                        // Who hangs and can still ask has had its time.
                        why: Why::Retired(_) | Why::NotReady | Why::Itself(_),
                        kill_at: Some(patience),
                    },
                ..
            } => *patience = until.max(*patience),
            State::Starting { .. }
            | State::Stopping { .. }
            | State::Settling { .. }
            | State::Leaving { .. }
            | State::Ready { .. }
            | State::Killed { .. }
            | State::Resting { .. }
            | State::Spawning { .. }
            | State::Finished => {}
        }
    }

    /// How many workers are ready.
    pub(super) fn ready_workers(&self) -> usize {
        self.workers.iter().filter(|worker| matches!(worker.state, State::Ready { .. })).count()
    }

    /// How many must be ready. Nobody waits for more than there are to be.
    pub(super) fn min_ready(&self) -> u16 {
        self.config.settings.min_ready.of(self.wanted).min(self.wanted)
    }

    /// Looks whether enough workers are ready, and tells of a change.
    pub(super) fn look_at_readiness(&mut self, now: Time) {
        if !matches!(self.phase, Phase::Running) {
            return;
        }
        let (ready, wanted) = (self.ready_workers(), self.wanted);
        let is_available = ready >= usize::from(self.min_ready());
        let before = self.availability;
        self.availability = match (before, is_available) {
            (_, true) => Availability::Now,
            (Availability::Now, false) => Availability::Lost(now),
            (Availability::Never(_) | Availability::Lost(_), false) => before,
        };
        match (before, self.availability) {
            (Availability::Never(since), Availability::Now) => {
                self.report(Notice::Available { ready, wanted, after: now - since });
                self.announce(Announcement::Ready);
            }
            (Availability::Lost(since), Availability::Now) => {
                self.report(Notice::Available { ready, wanted, after: now - since });
            }
            (Availability::Now, Availability::Lost(_)) => self.report(Notice::Unavailable { ready, wanted }),
            (Availability::Never(_) | Availability::Now | Availability::Lost(_), _) => {}
        }
        if self.config.notify_socket.is_some() && self.announced != Some((ready, wanted)) {
            self.announced = Some((ready, wanted));
            self.announce(Announcement::Status(format!("{ready} of {wanted} workers ready")));
        }
    }

    /// Tells our own supervisor, if there is one.
    pub(super) fn announce(&mut self, announcement: Announcement) {
        if self.config.notify_socket.is_some() {
            self.act(Action::Announce(announcement));
        }
    }

    /// When being unready has lasted too long.
    pub(super) fn unready_deadline(&self) -> Option<(Time, &'static str)> {
        let limit = self.config.settings.exit_when_unready.0?;
        match (&self.phase, self.availability) {
            (Phase::Running, Availability::Never(since) | Availability::Lost(since)) => {
                Some((since + limit, "unready for too long"))
            }
            (_, Availability::Never(_) | Availability::Lost(_) | Availability::Now) => None,
        }
    }

    pub(super) fn unready_deadline_reached(&mut self, now: Time) {
        if self.unready_deadline().is_some_and(|(time, _)| time <= now) {
            self.end(now, Ending::Unready);
        }
    }

    /// When a ready worker has been silent for so long that something is done about it.
    pub(super) fn watchdog_deadline(&self) -> Option<(Time, &'static str)> {
        let limit = self.config.settings.watchdog.0?;
        let ready = self.workers.iter().filter(|worker| matches!(worker.state, State::Ready { .. }));
        ready
            .map(|worker| match worker.vitals.sign {
                Sign::Seen(time) if self.cluster.is_some() => {
                    (time + limit / 2, "a worker is asked whether it is hung")
                }
                Sign::Seen(time) | Sign::Asked(time) => (time + limit, "a worker is silent"),
            })
            .min()
    }

    /// A moment in a ready worker's life has come.
    pub(super) fn ready_deadline_reached(&mut self, now: Time, index: usize) {
        let worker = &mut self.workers[index];
        let slot = worker.slot;
        if let Some((_, limit)) = worker.vitals.expires.take_if(|(time, _)| *time <= now)
            && worker.role == Role::Current
        {
            self.replace(slot, super::rollout::Errand::Limit(limit));
        }
        let Some(limit) = self.config.settings.watchdog.0 else { return };
        let Some(process) = self.workers[index].state.process() else { return };
        match self.workers[index].vitals.sign {
            sign if sign.time() + limit <= now => self.hung(now, index),
            Sign::Seen(time) if time + limit / 2 <= now => {
                if let Some(cluster) = &mut self.cluster {
                    let effects = cluster.ask(now, process.worker);
                    self.workers[index].vitals.sign = Sign::Asked(time);
                    self.perform_effects(now, effects);
                }
            }
            Sign::Seen(_) | Sign::Asked(_) => {}
        }
    }

    /// A worker showed that it is not hung.
    pub(super) fn alive(&mut self, now: Time, worker: WorkerId) {
        if let Some(index) = self.index_of(worker) {
            self.workers[index].vitals.sign = Sign::Seen(now);
        }
    }
}
