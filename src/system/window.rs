//! What is seen of a run from outside: the supervisor's picture, and readings of the system, taken when somebody asks.

use std::collections::BTreeMap;
use std::time::Duration;

use super::cgroup::Cgroups;
use super::primary::Primary;
use super::queue::Depths;
use super::readings;
use super::slots::Slots;
use crate::cluster::Cluster;
use crate::config::Config;
use crate::ids::Pid;
use crate::observe::figures::{About, Figures, Handoffs, Listener, Usage, View};
use crate::observe::routes::Sight;
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

/// Whatever there is to be seen.
pub struct Scene<'a> {
    /// What the supervisor knows.
    pub supervisor: &'a Supervisor,
    /// The container.
    pub groups: &'a Cgroups,
    /// The sockets that workers inherit.
    pub sockets: &'a Slots,
    /// Those of a cluster.
    pub primary: Option<&'a Primary>,
}

/// The view of one moment.
pub struct Look<'a> {
    window: &'a mut Window,
    scene: Scene<'a>,
    now: Time,
    has_read: bool,
}

impl Window {
    /// A window on this run.
    pub fn new(config: &Config) -> Self {
        Self { about: About { pid: std::process::id(), mode: config.mode }, last: None }
    }

    /// Looks through it.
    pub fn look<'a>(&'a mut self, scene: Scene<'a>, now: Time) -> Look<'a> {
        Look { window: self, scene, now, has_read: false }
    }
}

impl Sight for Look<'_> {
    fn status(&self) -> Status {
        self.scene.supervisor.status(self.now)
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
        self.has_read = true;
        figures
    }

    fn view<'a>(&self, status: &'a Status, figures: &'a Figures) -> View<'a> {
        View { about: self.window.about, uptime: self.now.since_start(), status, figures }
    }
}

impl Look<'_> {
    /// When.
    pub fn now(&self) -> Time {
        self.now
    }

    /// Whether the system was read anew.
    pub fn has_read(&self) -> bool {
        self.has_read
    }

    fn read(&self, status: &Status) -> Figures {
        let pids = status.workers.iter().filter_map(|worker| worker.process.map(|(_, pid)| pid));
        let mut depths = Depths::new();
        self.scene.sockets.add_depths(&mut depths);
        if let Some(primary) = self.scene.primary {
            primary.add_depths(&mut depths);
        }
        let listener = |((name, address), waiting)| Listener { name, address, waiting };
        Figures {
            usage: pids.map(|pid| (pid, readings::usage(pid))).collect(),
            container: readings::container(self.scene.groups),
            load: BTreeMap::new(),
            listeners: depths.into_iter().map(listener).collect(),
            handoffs: self.scene.supervisor.cluster().map(handoffs),
        }
    }
}

fn handoffs(cluster: &Cluster) -> Handoffs {
    Handoffs { passed: cluster.figures().clone(), pending: cluster.pending() }
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
