//! How many workers there are to be: what `WORKERS` says, following the cores, or what somebody asked for.

use std::time::Duration;

use super::Supervisor;
use super::action::{Action, Cause, Notice};
use super::backoff::Backoff;
use super::event::{Measurements, Scale};
use super::rollout::{Errand, Limit};
use super::shutdown::Phase;
use super::time::Time;
use super::worker::{Role, State, Worker};
use crate::config::kinds::{MOST_WORKERS, WorkerCount};
use crate::config::{Mode, Restart};
use crate::ids::Slot;

/// How often cores and memory are read.
const MEASURE_EVERY: Duration = Duration::from_secs(10);

/// Where the number of workers comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sizing {
    /// The cores; what they were at the last reading, if that was another number.
    Cores {
        /// A number that is followed when it is read once more.
        other: Option<u16>,
    },
    /// It was said.
    Fixed,
}

impl Supervisor {
    /// What `WORKERS` says.
    pub(super) fn configured_sizing(mode: Mode, workers: WorkerCount) -> Sizing {
        match workers {
            WorkerCount::Auto if mode != Mode::Plain => Sizing::Cores { other: None },
            WorkerCount::Auto | WorkerCount::Number(_) | WorkerCount::Share(_) => Sizing::Fixed,
        }
    }

    /// Another number of workers was asked for. What came of it, or why not.
    pub(super) fn scale(&mut self, now: Time, scale: Scale) -> Result<String, String> {
        if self.phase != Phase::Running {
            return Err("workers are not running".to_owned());
        }
        if self.config.terminal || self.config.restart == Restart::Never {
            return Err("this is one program and no pool; set WORKERS or RESTART=always".to_owned());
        }
        let from = self.wanted;
        let wanted = match scale {
            Scale::To(number) => u32::from(number),
            Scale::More(more) => u32::from(from) + u32::from(more),
            Scale::Less(less) => u32::from(from.saturating_sub(less)),
            Scale::Auto => u32::from(self.configured),
        };
        let most = u32::from(self.most_workers());
        if !(1..=most).contains(&wanted) {
            return Err(format!("{wanted} workers are not possible; a number from 1 to {most} is"));
        }
        let auto = Self::configured_sizing(self.config.mode, self.config.settings.workers);
        self.sizing = if scale == Scale::Auto { auto } else { Sizing::Fixed };
        self.resize(now, wanted as u16, "as asked");
        self.measure_later(now);
        Ok(format!("{from} workers before, {wanted} wanted now"))
    }

    fn most_workers(&self) -> u16 {
        match (self.config.mode, self.config.settings.first_port) {
            (Mode::Ports, Some(first)) => MOST_WORKERS.min((65535 - first).saturating_add(1)),
            (Mode::Ports | Mode::Cluster | Mode::Inherit | Mode::Reuseport | Mode::Plain, _) => MOST_WORKERS,
        }
    }

    fn resize(&mut self, now: Time, wanted: u16, why: &'static str) {
        let from = std::mem::replace(&mut self.wanted, wanted);
        if from == wanted {
            return;
        }
        self.report(Notice::Scaled { from, to: wanted, why });
        for slot in (from..wanted).map(Slot) {
            // Where one still leaves, the next follows when it is gone: no slot ever has three.
            if self.workers.iter().all(|worker| worker.slot != slot) {
                self.add_worker(now, slot);
            }
        }
        // Nothing new may come to those who are to go.
        self.steer();
        // The highest slots are the youngest.
        for slot in (wanted..from).rev().map(Slot) {
            self.forget_errands(slot);
            for index in 0..self.workers.len() {
                if self.workers[index].slot == slot {
                    self.dismiss(now, index, Cause::Stopped, None);
                }
            }
        }
    }

    pub(super) fn add_worker(&mut self, now: Time, slot: Slot) {
        let backoff = Backoff::new(self.config.settings.backoff);
        self.workers.push(Worker::new(slot, Role::Current, self.generation, backoff, now));
    }

    /// Whether anything is worth being read now and then.
    pub(super) fn measure_later(&mut self, now: Time) {
        let wants_to_know = self.sizing != Sizing::Fixed
            || self.config.max_memory.is_some()
            || self.steering.is_some() && self.wanted > 1;
        self.measure_at = wants_to_know.then(|| now + MEASURE_EVERY);
    }

    pub(super) fn measure(&mut self, now: Time) {
        if self.measure_at.is_none_or(|time| time > now) {
            return;
        }
        self.measure_later(now);
        let processes = self.workers.iter().filter_map(|worker| worker.state.process());
        let pids = match self.config.max_memory {
            Some(_) => processes.map(|process| process.pid).collect(),
            None => Vec::new(),
        };
        self.act(Action::Measure(pids));
    }

    pub(super) fn measured(&mut self, now: Time, measurements: &Measurements) {
        if self.phase != Phase::Running {
            return;
        }
        self.queues_read(&measurements.queues);
        self.measure_at = self.look_again(now).or(self.measure_at);
        self.follow_cores(now, measurements.cores);
        let Some(limit) = self.config.max_memory else { return };
        for (pid, bytes) in &measurements.memory {
            let Some(index) = self.index_of_pid(*pid) else { continue };
            let worker = &mut self.workers[index];
            let is_above = *bytes > limit;
            // Twice is staying above; once may be a peak.
            let stays_above = std::mem::replace(&mut worker.vitals.was_above, is_above) && is_above;
            let slot = worker.slot;
            if stays_above && worker.role == Role::Current && matches!(worker.state, State::Ready { .. }) {
                self.replace(slot, Errand::Limit(Limit::Memory));
            }
        }
    }

    /// Follows a live resize of the container when it was read twice.
    fn follow_cores(&mut self, now: Time, cores: u16) {
        let cores = cores.clamp(1, self.most_workers());
        let Sizing::Cores { other } = &mut self.sizing else { return };
        let before = std::mem::replace(other, (cores != self.wanted).then_some(cores));
        self.configured = cores;
        if before == Some(cores) {
            *other = None;
            self.resize(now, cores, "the container's cores changed");
        }
    }
}
