//! A pool as it may be seen, for tests.

use std::collections::BTreeMap;
use std::time::Duration;

use super::figures::{About, Container, Figures, Handoffs, Listener, Usage, View};
use super::routes::Sight;
use crate::cluster;
use crate::cluster::figures::{AcceptError, Histogram};
use crate::config::Mode;
use crate::exit::ExitStatus;
use crate::ids::{Generation, Pid, Slot, WorkerId};
use crate::signal::Signal;
use crate::supervisor::action::{Cause, Death};
use crate::supervisor::status::{PhaseStatus, ReloadStatus, ReloadVerdict, RoleStatus, Status, WorkerStatus};

/// Two slots: one that serves and is being replaced, one that rests.
pub struct Sample {
    /// What the supervisor would say.
    pub status: Status,
    /// What the system would read.
    pub figures: Figures,
}

impl Default for Sample {
    fn default() -> Self {
        let second = Duration::from_secs(1);
        let death = Death {
            worker: WorkerId(9),
            slot: Slot(1),
            pid: pid(19),
            age: second,
            status: ExitStatus::Code(1),
            cause: Cause::Crashed,
        };
        let reload = ReloadStatus {
            verdict: ReloadVerdict::Done,
            reason: "2 workers replaced".to_owned(),
            took: 2 * second,
            ago: second,
        };
        let status = Status {
            phase: PhaseStatus::Running,
            ready: true,
            was_ready: true,
            wanted: 2,
            min_ready: 1,
            follows_cores: true,
            generation: Generation(2),
            workers: vec![
                worker(0, RoleStatus::Current, "ready", Some((7, 17))),
                worker(1, RoleStatus::Current, "resting", None),
                worker(0, RoleStatus::Replacement, "starting", Some((10, 20))),
            ],
            reloading: Some((0, 2)),
            last_reload: Some(reload),
            reloads: BTreeMap::from([(ReloadVerdict::Done, 1)]),
            deaths: BTreeMap::from([(Cause::Crashed, 1)]),
            recent_deaths: vec![(second, death)],
            signals: BTreeMap::from([(Signal::HUP, 1)]),
            orphans: 3,
        };
        let usage = Usage { memory: Some(1 << 20), cpu: Some(second / 4), open_files: Some(12) };
        let container = Container {
            cores: 2,
            memory_limit: Some(1 << 30),
            memory_used: Some(1 << 25),
            oom_kills: Some(0),
            throttled: Some(second),
        };
        let listener = Listener { name: "we\"b".to_owned(), address: "[::]:80".to_owned(), waiting: Some(5) };
        let mut seconds = Histogram::default();
        (seconds.counts[0], seconds.counts[5], seconds.counts[12]) = (1, 1, 1);
        let passed = cluster::figures::Figures {
            handoffs: BTreeMap::from([(Slot(0), 40)]),
            seconds,
            accept_errors: BTreeMap::from([(AcceptError::TooManyFiles, 2)]),
        };
        let handoffs = Handoffs { passed, pending: 1 };
        let figures = Figures {
            usage: BTreeMap::from([(pid(17), usage)]),
            load: BTreeMap::from([(pid(17), 0.5)]),
            container,
            listeners: vec![listener],
            handoffs: Some(handoffs),
        };
        Self { status, figures }
    }
}

fn pid(raw: i32) -> Pid {
    Pid::new(raw).unwrap()
}

fn worker(slot: u16, role: RoleStatus, state: &'static str, process: Option<(u64, i32)>) -> WorkerStatus {
    WorkerStatus {
        slot: Slot(slot),
        role,
        generation: Generation(1),
        state,
        process: process.map(|(worker, raw)| (WorkerId(worker), pid(raw))),
        age: process.map(|_| Duration::from_millis(1500)),
        rests: process.is_none().then_some(Duration::from_secs(2)),
        restarts: 1,
        failures: 1,
        says: Some("fine".to_owned()),
        lag: Some(Duration::from_millis(2)),
        connections: Some(40),
    }
}

impl Sight for Sample {
    fn status(&self) -> Status {
        self.status.clone()
    }
    fn figures(&mut self, _: &Status) -> Figures {
        self.figures.clone()
    }
    fn view<'a>(&self, status: &'a Status, figures: &'a Figures) -> View<'a> {
        let about = About { pid: 1, mode: Mode::Cluster };
        View { about, uptime: Duration::from_secs(60), status, figures }
    }
}
