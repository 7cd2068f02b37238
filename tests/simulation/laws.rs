//! What is true after every step, whatever happens.

use std::collections::BTreeMap;

use allcores::config::Config;
use allcores::config::kinds::BackoffRange;
use allcores::ids::Slot;
use allcores::signal::Signal;
use allcores::supervisor::Supervisor;
use allcores::supervisor::action::{Action, Notice, Spawn};
use allcores::supervisor::event::Event;
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

    pub fn action(&mut self, action: &Action, now: Time, processes: &BTreeMap<i32, Process>) {
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
            Action::Spawn(spawn) => self.spawn(*spawn, now, processes),
            Action::Report(Notice::Resting { slot, delay, failures }) => {
                let doubled =
                    self.backoff.first.saturating_mul(1 << (failures - 1).min(20)).min(self.backoff.ceiling);
                assert!(
                    *delay >= doubled * 8 / 10 && *delay <= self.backoff.ceiling,
                    "a rest of {delay:?} after {failures} failures"
                );
                self.rests_until.insert(*slot, now + *delay);
            }
            Action::Report(Notice::Ready { worker, .. }) => {
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
            | Action::Measure(_)
            | Action::Announce(_)
            | Action::GiveTerminal(_)
            | Action::Cluster(_)
            | Action::Suspend
            | Action::Report(_) => {}
        }
    }

    fn spawn(&mut self, spawn: Spawn, now: Time, processes: &BTreeMap<i32, Process>) {
        assert!(!self.stop_asked, "{spawn:?} after a stop was asked for");
        assert!(!std::mem::replace(&mut self.spawn_pending, true), "{spawn:?} before the last was answered");
        let Spawn::Worker { worker, slot, .. } = spawn else { return };
        assert!(worker.0 > self.last_worker, "a worker's number is used again");
        self.last_worker = worker.0;
        let occupied =
            processes.values().any(|process| matches!(process.role, Role::Worker(_, taken) if taken == slot));
        assert!(!occupied, "two workers in slot {slot}");
        assert!(
            !processes.values().any(|process| process.role == Role::Prestart),
            "a worker beside PRESTART"
        );
        if let Some(until) = self.rests_until.remove(&slot) {
            assert!(now >= until, "slot {slot} is started before it has rested");
        }
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
        // The supervisor and the kernel agree on who is a worker: all that were not reaped, and nobody else.
        let mut ours: Vec<_> = supervisor
            .status(now)
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
