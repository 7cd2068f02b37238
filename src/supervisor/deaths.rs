//! What follows a death: whose it was first, and then another worker, a rest, or the end of us all.

use super::Supervisor;
use super::action::{Death, Notice};
use super::shutdown::{Ending, Phase};
use super::status::MOST_DEATHS;
use super::time::Time;
use super::worker::{End, Role, State, Verdict};
use crate::config::Restart;
use crate::exit::ExitStatus;
use crate::ids::Pid;

impl Supervisor {
    pub(super) fn exited(&mut self, now: Time, pid: Pid, status: ExitStatus, out_of_memory: bool) {
        if let Some(index) = self.index_of_pid(pid) {
            self.suspended = self.suspended.filter(|suspended| *suspended != pid);
            self.worker_died(now, index, status, out_of_memory);
        } else if self.prestart == Some(pid) {
            self.prestart = None;
            self.prestart_ended(now, status);
        } else {
            self.past.orphans += 1;
        }
    }

    fn prestart_ended(&mut self, now: Time, status: ExitStatus) {
        self.report(Notice::PrestartEnded(status));
        match self.phase {
            Phase::Preparing if status.is_success() => self.begin(now),
            Phase::Preparing => {
                let reason = format!("PRESTART failed: {status}");
                self.end(now, Ending::CannotStart { code: status.code(), reason });
            }
            // Running does not happen: workers begin when it is gone. When we are stopping, `Reaped` goes on.
            Phase::Draining { .. } => self.begin_stopping(now, Ending::Asked),
            Phase::Waiting | Phase::Running | Phase::Stopping(_) | Phase::Over => {}
        }
    }

    fn worker_died(&mut self, now: Time, index: usize, status: ExitStatus, out_of_memory: bool) {
        let stable_after = self.config.settings.stable_after;
        let end = End { status, out_of_memory, wished: self.wished_to_leave(index) };
        let Some((death, verdict)) = self.workers[index].died(now, end, stable_after) else { return };
        let role = self.workers[index].role;
        if !matches!(role, Role::Former { .. }) {
            self.last_end = Some(status);
            if !status.is_success() {
                self.first_failure.get_or_insert(status);
            }
        }
        self.report(Notice::Died(death.clone()));
        match self.phase {
            Phase::Running => {
                self.remember(now, death.clone());
                match role {
                    Role::Current => self.after_death(now, index, status, verdict),
                    Role::Replacement(errand) => {
                        let Death { worker, cause, status, .. } = death;
                        let reason = format!("worker {worker} was not ready: {} ({status})", cause.name());
                        self.replacement_failed(now, index, errand, &reason);
                    }
                    Role::Former { .. } => {}
                }
            }
            // Nothing waits out a delay for nobody.
            Phase::Draining { .. } if !self.anything_runs() => self.begin_stopping(now, Ending::Asked),
            Phase::Draining { .. } | Phase::Waiting | Phase::Preparing | Phase::Stopping(_) | Phase::Over => {
            }
        }
    }

    fn remember(&mut self, now: Time, death: Death) {
        *self.past.deaths.entry(death.cause).or_default() += 1;
        self.past.recent_deaths.truncate(MOST_DEATHS - 1);
        self.past.recent_deaths.push_front((now, death));
    }

    fn after_death(&mut self, now: Time, index: usize, status: ExitStatus, verdict: Verdict) {
        let finished = match self.config.restart {
            Restart::Always => false,
            Restart::OnFailure => status.is_success(),
            Restart::Never => true,
        };
        if finished {
            // `died` left the slot finished.
            return self.end_if_finished(now);
        }
        match verdict {
            Verdict::Failed => self.rest_after_failure(now, index),
            Verdict::EndedEarly => {
                let until = now + self.workers[index].backoff.pause(&mut self.random);
                self.workers[index].state = State::Resting { until };
            }
            Verdict::Clean => {
                self.workers[index].backoff.forget();
                self.workers[index].state = State::Resting { until: now };
            }
        }
    }

    pub(super) fn rest_after_failure(&mut self, now: Time, index: usize) {
        let worker = &mut self.workers[index];
        let delay = worker.backoff.fail(&mut self.random);
        worker.state = State::Resting { until: now + delay };
        let (slot, failures) = (worker.slot, worker.backoff.failures());
        if self.has_given_up() {
            return self.end(now, Ending::GaveUp);
        }
        self.report(Notice::Resting { slot, delay, failures });
    }

    /// Every slot that is not finished has failed too often, and none has a worker that may yet do better.
    fn has_given_up(&self) -> bool {
        let limit = self.config.settings.max_failures.0;
        let mut open = self.workers.iter().filter(|worker| worker.state != State::Finished);
        open.all(|worker| worker.state.process().is_none() && worker.backoff.is_exhausted(limit))
    }

    pub(super) fn end_if_finished(&mut self, now: Time) {
        if self.workers.iter().all(|worker| worker.state == State::Finished) {
            self.end(now, Ending::Finished);
        } else if self.has_given_up() {
            self.end(now, Ending::GaveUp);
        }
    }
}
