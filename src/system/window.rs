//! What is seen of a run from outside: the supervisor's picture, and readings of the system, taken when somebody asks.

use std::time::Duration;

use super::cgroup::Cgroups;
use super::readings;
use crate::config::Config;
use crate::observe::figures::{About, Figures, Listener, View};
use crate::observe::routes::Sight;
use crate::supervisor::Supervisor;
use crate::supervisor::status::Status;
use crate::supervisor::time::Time;

/// Readings of this age are shown again: however often somebody asks, reading stays cheap.
const FRESH: Duration = Duration::from_millis(500);

/// What does not change, and the last readings.
pub struct Window {
    about: About,
    last: Option<(Time, Figures)>,
}

/// Whatever is there to be seen.
pub struct Scene<'a> {
    /// What the supervisor knows.
    pub supervisor: &'a Supervisor,
    /// The container.
    pub groups: &'a Cgroups,
    /// The sockets.
    pub listeners: &'a dyn Fn() -> Vec<Listener>,
}

/// The view of one moment.
pub struct Look<'a> {
    /// Through which it is had.
    pub window: &'a mut Window,
    /// Of what.
    pub scene: Scene<'a>,
    /// When.
    pub now: Time,
}

impl Window {
    /// A window on this run.
    pub fn new(config: &Config) -> Self {
        Self { about: About { pid: std::process::id(), mode: config.mode }, last: None }
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
        let figures = read(status, &self.scene);
        self.window.last = Some((self.now, figures.clone()));
        figures
    }

    fn view<'a>(&self, status: &'a Status, figures: &'a Figures) -> View<'a> {
        View { about: self.window.about, uptime: self.now.since_start(), status, figures }
    }
}

fn read(status: &Status, scene: &Scene) -> Figures {
    let pids = status.workers.iter().filter_map(|worker| worker.process.map(|(_, pid)| pid));
    Figures {
        usage: pids.map(|pid| (pid, readings::usage(pid))).collect(),
        container: readings::container(scene.groups),
        listeners: (scene.listeners)(),
        handoffs: None,
    }
}
