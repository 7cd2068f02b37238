//! What is true after every step, whatever happens.

use std::collections::BTreeMap;

use allcores::config::kinds::BackoffRange;
use allcores::config::limits::Portion;
use allcores::config::{Config, Mode};
use allcores::ids::Slot;
use allcores::signal::Signal;
use allcores::supervisor::Supervisor;
use allcores::supervisor::action::{Action, Notice, Spawn};
use allcores::supervisor::event::Event;
use allcores::supervisor::status::{RoleStatus, Status, WorkerStatus};
use allcores::supervisor::time::Time;

use crate::world::{Process, Role};

/// What the laws must remember.
#[derive(Clone, Debug)]
pub struct Laws {
    backoff: BackoffRange,
    rests_until: BTreeMap<Slot, Time>,
    stop_asked: bool,
    spawn_pending: bool,
    last_time: Time,
    last_worker: u64,
    /// Where two workers cannot live side by side.
    one_per_slot: bool,
    surge: Portion,
    /// How many were ready during the reload under way, up to what is wanted; since somebody was lost, if so.
    ready_before: Option<usize>,
}

impl Laws {
    pub fn new(config: &Config) -> Self {
        Self {
            backoff: config.settings.backoff,
            rests_until: BTreeMap::new(),
            stop_asked: false,
            spawn_pending: false,
            last_time: Time::default(),
            last_worker: 0,
            one_per_slot: config.mode == Mode::Ports,
            surge: config.settings.surge,
            ready_before: None,
        }
    }

    pub fn signalled(&mut self, signal: Signal, _now: Time) {
        self.stop_asked |= [Signal::TERM, Signal::INT].contains(&signal);
    }

    pub fn event(&mut self, event: &Event) {
        if matches!(event, Event::Spawned { .. } | Event::SpawnFailed { .. }) {
            self.spawn_pending = false;
        }
    }

    pub fn action(
        &mut self,
        action: &Action,
        now: Time,
        processes: &BTreeMap<i32, Process>,
        supervisor: &Supervisor,
    ) {
        match action {
            Action::Signal { pid, .. } => {
                let process = processes
                    .get(&pid.raw())
                    .unwrap_or_else(|| panic!("a signal to {pid}, which was reaped"));
                assert!(
                    process.role != Role::Orphan,
                    "a signal to {pid} as a worker, which is somebody else by now"
                );
            }
            Action::Spawn(spawn) => self.spawn(*spawn, now, processes, &supervisor.status(now)),
            Action::Report(Notice::Resting { slot, delay, failures }) => {
                let doubled =
                    self.backoff.first.saturating_mul(1 << (failures - 1).min(20)).min(self.backoff.ceiling);
                assert!(
                    *delay >= doubled * 8 / 10 && *delay <= self.backoff.ceiling,
                    "a rest of {delay:?} after {failures} failures"
                );
                self.rests_until.insert(*slot, now + *delay);
            }
            Action::Report(Notice::Hung { .. }) => self.is_excused(),
            // It is somebody's wish that all are started: nobody rests from what was before.
            Action::Report(Notice::Reloading { .. }) => self.rests_until.clear(),
            Action::Report(Notice::Scaled { to, .. }) => {
                self.is_excused();
                // A slot that is no more has no past.
                self.rests_until.retain(|slot, _| slot.0 < *to);
            }
            Action::Report(Notice::Ready { worker, slot, .. }) => {
                // Whoever rested there was replaced.
                self.rests_until.remove(slot);
                let lives = processes
                    .values()
                    .any(|process| matches!(process.role, Role::Worker(id, _) if id == *worker));
                assert!(lives, "worker {worker} is ready, and was reaped");
            }
            Action::Exit(exit) => {
                assert!(!exit.reason.is_empty() && !exit.reason.contains('\n'), "a reason is one line");
            }
            Action::SignalDescendants(_)
            | Action::Reap
            | Action::Answer { .. }
            | Action::Show(_)
            | Action::Measure(_)
            | Action::Steer(_)
            | Action::KeepSlots(_)
            | Action::Announce(_)
            | Action::GiveTerminal(_)
            | Action::Cluster(_)
            | Action::Suspend
            | Action::Report(_) => {}
        }
    }

    fn spawn(&mut self, spawn: Spawn, now: Time, processes: &BTreeMap<i32, Process>, status: &Status) {
        assert!(!self.stop_asked, "{spawn:?} after a stop was asked for");
        assert!(!std::mem::replace(&mut self.spawn_pending, true), "{spawn:?} before the last was answered");
        let Spawn::Worker { worker, slot, .. } = spawn else { return };
        assert!(worker.0 > self.last_worker, "a worker's number is used again");
        self.last_worker = worker.0;
        let taken = |process: &&Process| matches!(process.role, Role::Worker(_, taken) if taken == slot);
        let most = if self.one_per_slot { 0 } else { 1 };
        assert!(processes.values().filter(taken).count() <= most, "slot {slot} is crowded");
        assert!(
            !processes.values().any(|process| process.role == Role::Prestart),
            "a worker beside PRESTART"
        );
        let is_replacement = |worker: &WorkerStatus| {
            worker.role == RoleStatus::Replacement && worker.slot == slot && worker.process.is_none()
        };
        let until = self.rests_until.remove(&slot);
        if !status.workers.iter().any(is_replacement) {
            assert!(until.is_none_or(|until| now >= until), "slot {slot} is started before it has rested");
        }
    }

    /// Something that takes a ready worker away, and that we did not do.
    pub fn is_excused(&mut self) {
        self.ready_before = None;
    }

    fn reloading(&mut self, status: &Status) {
        let count = |is_it: &dyn Fn(&WorkerStatus) -> bool| {
            status.workers.iter().filter(|worker| is_it(worker)).count()
        };
        let replacements = count(&|worker| worker.role == RoleStatus::Replacement);
        if let Portion::Number(surge) = self.surge {
            assert!(replacements <= usize::from(surge), "more replacements than SURGE: {status:?}");
        }
        let ready = count(&|worker| worker.state == "ready").min(usize::from(status.wanted));
        let before = self.ready_before.unwrap_or(0).min(usize::from(status.wanted));
        self.ready_before = match status.reloading {
            Some(_) if !self.one_per_slot => {
                assert!(ready >= before, "fewer ready than before: {status:?}");
                Some(ready)
            }
            Some(_) | None => None,
        };
    }

    pub fn state(
        &mut self,
        supervisor: &Supervisor,
        now: Time,
        processes: &BTreeMap<i32, Process>,
        answer_pending: bool,
    ) {
        assert!(now >= self.last_time);
        self.last_time = now;
        if answer_pending {
            return;
        }
        let status = supervisor.status(now);
        self.reloading(&status);
        // The supervisor and the kernel agree on who is a worker: all that were not reaped, and nobody else.
        let mut ours: Vec<_> = status
            .workers
            .iter()
            .filter_map(|worker| worker.process.map(|(id, pid)| (pid.raw(), id)))
            .collect();
        ours.sort_unstable();
        let kernels: Vec<_> = processes
            .iter()
            .filter_map(|(pid, process)| match process.role {
                Role::Worker(id, _) => Some((*pid, id)),
                Role::Prestart | Role::Orphan => None,
            })
            .collect();
        assert_eq!(ours, kernels, "the supervisor's workers and the kernel's");
    }
}
