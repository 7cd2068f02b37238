//! How workers come to be: one process at a time, asked of the system, which may refuse.

use super::Supervisor;
use super::action::{Action, Notice, Spawn};
use super::event::{Child, SpawnFailure, SpawnFailureKind};
use super::rollout::Limit;
use super::shutdown::Ending;
use super::time::Time;
use super::worker::{Awaits, Process, Role, State};
use crate::config::{Readiness, Restart};
use crate::exit::ExitStatus;
use crate::ids::{Pid, WorkerId};

impl Supervisor {
    /// Asks for one process, if one is due. The rest stays due at once, and signals are heard in between: however long
    /// starting takes, and however it fails, nothing else waits for it.
    pub(super) fn spawn_next(&mut self, now: Time) {
        let due = self
            .workers
            .iter_mut()
            .find(|worker| matches!(worker.state, State::Resting { until } if until <= now));
        if let Some(place) = due {
            let worker = self.next_worker;
            self.next_worker = WorkerId(worker.0 + 1);
            place.state = State::Spawning { worker };
            let (slot, generation) = (place.slot, place.generation);
            self.act(Action::Spawn(Spawn::Worker { worker, slot, generation }));
        }
    }

    fn spawning(&self, id: WorkerId) -> Option<usize> {
        self.workers.iter().position(|worker| worker.state == State::Spawning { worker: id })
    }

    pub(super) fn spawned(&mut self, now: Time, child: Child, pid: Pid) {
        let worker = match child {
            Child::Prestart => return self.prestart = Some(pid),
            Child::Worker(worker) => worker,
        };
        let Some(index) = self.spawning(worker) else { return };
        self.executable = true;
        let (awaits, expires, most) = (self.awaits(now), self.expires(now), self.most_connections());
        self.workers[index].spawned(Process { worker, pid, born: now }, awaits, expires);
        let slot = self.workers[index].slot;
        if let Some(cluster) = &mut self.cluster {
            cluster.join(worker, slot, most);
        }
        self.report(Notice::Started { worker, slot, pid });
        if self.is_of_reload(index) {
            self.tell_reloaders(&format!("slot {slot}: worker {worker} started"));
        }
    }

    /// What a worker that is started now must come to.
    fn awaits(&self, now: Time) -> Awaits {
        match self.config.ready {
            Readiness::Alive(time) => Awaits::Moment(now + time),
            Readiness::Word(word) => {
                let timeout = self.config.settings.ready_timeout;
                Awaits::Word { word, until: (!timeout.is_zero()).then(|| now + timeout) }
            }
        }
    }

    /// When a worker that is started now has served long enough: ±10 %, so that not all come to it together.
    fn expires(&mut self, now: Time) -> Option<(Time, Limit)> {
        let lifetime = self.config.settings.max_lifetime.0?;
        Some((now + lifetime / 1000 * self.random.between(900, 1100) as u32, Limit::Lifetime))
    }

    /// How many connections such a worker is handed: ±10 %, as well.
    fn most_connections(&mut self) -> Option<u64> {
        let most = self.config.settings.max_connections.0?;
        let share = u128::from(self.random.between(900, 1100));
        Some(u64::try_from(u128::from(most) * share / 1000).unwrap_or(u64::MAX).max(1))
    }

    pub(super) fn spawn_failed(&mut self, now: Time, child: Child, failure: SpawnFailure) {
        let code = failure.kind.code();
        self.report(Notice::SpawnFailed { child, failure: failure.clone() });
        let id = match child {
            Child::Prestart => {
                let reason = format!("PRESTART could not be run: {}", failure.reason);
                return self.end(now, Ending::CannotStart { code, reason });
            }
            Child::Worker(id) => id,
        };
        let Some(index) = self.spawning(id) else { return };
        self.workers[index].state = State::Finished;
        if failure.kind != SpawnFailureKind::System && !self.executable {
            return self.end(now, Ending::CannotStart { code, reason: failure.reason });
        }
        match self.workers[index].role {
            Role::Replacement(errand) => {
                let reason = format!("worker {id} could not be started: {}", failure.reason);
                return self.replacement_failed(now, index, errand, &reason);
            }
            Role::Current | Role::Former { .. } => {}
        }
        self.last_end = Some(ExitStatus::Code(code));
        self.first_failure.get_or_insert(ExitStatus::Code(code));
        if self.config.restart == Restart::Never {
            self.end_if_finished(now);
        } else {
            self.rest_after_failure(now, index);
        }
    }
}
