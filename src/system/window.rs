//! What is seen of a run from outside: the supervisor's picture, and readings of the system, taken when somebody asks.

use std::collections::BTreeMap;
use std::time::Duration;

use super::cgroup::Cgroups;
use super::primary::Primary;
use super::queue::Depths;
use super::readings;
use super::slots::Slots;
use crate::cluster::figures::{self as cluster, Histogram};
use crate::config::Config;
use crate::ids::Pid;
use crate::observe::figures::{About, Figures, Handoffs, Listener, Usage, View};
use crate::observe::routes::Sight;
use crate::observe::shown::Shown;
use crate::supervisor::Supervisor;
use crate::supervisor::status::Status;
use crate::supervisor::time::Time;

/// Readings of this age are shown again: however often somebody asks, reading stays cheap.
const FRESH: Duration = Duration::from_millis(500);

/// Readings of this age still say something of the load of now.
const LATELY: Duration = Duration::from_secs(90);

/// What does not change, and the last readings.
pub struct Window {
    about: About,
    last: Option<(Time, Figures)>,
}

/// The view of one moment.
pub struct Look<'a> {
    /// Through which it is had.
    pub window: &'a mut Window,
    /// What the supervisor knows.
    pub supervisor: &'a Supervisor,
    /// The container.
    pub groups: &'a Cgroups,
    /// The sockets that workers inherit.
    pub sockets: &'a Slots,
    /// Those of a cluster.
    pub primary: Option<&'a Primary>,
    /// When.
    pub now: Time,
}

impl Window {
    /// A window on this run.
    pub fn new(config: &Config) -> Self {
        Self { about: About { pid: std::process::id(), mode: config.mode }, last: None }
    }

    /// Whether readings were taken at this moment.
    pub fn was_read(&self, now: Time) -> bool {
        self.last.as_ref().is_some_and(|(time, _)| *time == now)
    }
}

impl Sight for Look<'_> {
    fn status(&self) -> Status {
        self.supervisor.status(self.now)
    }

    fn figures(&mut self, status: &Status) -> Figures {
        if let Some((time, figures)) = &self.window.last
            && self.now - *time < FRESH
        {
            return figures.clone();
        }
        let mut figures = self.read(status);
        if let Some((time, before)) = self.window.last.as_ref().filter(|(time, _)| self.now - *time < LATELY)
        {
            figures.load = load(&figures, before, self.now - *time);
        }
        self.window.last = Some((self.now, figures.clone()));
        figures
    }

    fn view<'a>(&self, status: &'a Status, figures: &'a Figures) -> View<'a> {
        View { about: self.window.about, uptime: self.now.since_start(), status, figures }
    }
}

impl Look<'_> {
    /// The object of `/status`.
    pub fn json(&mut self) -> String {
        let status = self.status();
        let figures = self.figures(&status);
        Shown::of(&self.view(&status, &figures)).json()
    }

    fn read(&self, status: &Status) -> Figures {
        let pids = status.workers.iter().filter_map(|worker| worker.process.map(|(_, pid)| pid));
        let mut depths = Depths::new();
        self.sockets.add_depths(&mut depths);
        if let Some(primary) = self.primary {
            primary.add_depths(&mut depths);
        }
        let listener = |((name, address), waiting)| Listener { name, address, waiting };
        Figures {
            usage: pids.map(|pid| (pid, readings::usage(pid))).collect(),
            container: readings::container(self.groups),
            load: BTreeMap::new(),
            listeners: depths.into_iter().map(listener).collect(),
            handoffs: self.supervisor.handoffs().map(handoffs),
        }
    }
}

fn handoffs((figures, pending): (&cluster::Figures, usize)) -> Handoffs {
    let seconds = &figures.seconds;
    let bounds = Histogram::BOUNDS.iter().map(Duration::as_secs_f64);
    Handoffs {
        pending: pending as u64,
        taken: figures.handoffs.clone(),
        buckets: bounds.zip(seconds.counts).collect(),
        count: seconds.counts.iter().sum(),
        sum: seconds.sum.as_secs_f64(),
        accept_errors: figures.accept_errors.iter().map(|(error, count)| (error.name(), *count)).collect(),
    }
}

/// Cores that each process used since readings of so long ago. A pid that another process has by now has used less than its
/// predecessor.
fn load(now: &Figures, before: &Figures, passed: Duration) -> BTreeMap<Pid, f64> {
    let used = |(pid, usage): (&Pid, &Usage)| {
        let earlier = before.usage.get(pid)?.cpu?;
        Some((*pid, usage.cpu?.checked_sub(earlier)?.as_secs_f64() / passed.as_secs_f64()))
    };
    now.usage.iter().filter_map(used).collect()
}
