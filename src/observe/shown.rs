//! The object of `/status`, the one table of its fields: what is written is what `allcores ctl` shows, and what the README says.
//!
//! Times are seconds, sizes are bytes; what is not known is `null`. Fields are added, never changed.

use std::time::Duration;

use serde::Serialize;

use super::figures::{self, Usage, View};
use crate::exit::ExitStatus;
use crate::ids::Slot;
use crate::supervisor::action::{Cause, Death};
use crate::supervisor::status::{RoleStatus, WorkerStatus};

macro_rules! shown {
    ($($(#[$comment:meta])* $name:ident at $at:literal { $($field:ident: $kind:ty, $meaning:literal;)+ })+) => {
        $($(#[$comment])*
        #[derive(Clone, Debug, PartialEq, Serialize)]
        pub struct $name { $(#[doc = $meaning] pub $field: $kind,)+ })+

        /// Path and meaning of every field.
        pub const FIELDS: &[(&str, &str)] = &[$($((concat!($at, stringify!($field)), $meaning),)+)+];
    };
}

shown! {
    /// Everything.
    Shown at "" {
        version: String, "version of allcores";
        pid: u32, "its process";
        mode: String, "`cluster`, `inherit`, `reuseport`, `ports` or `plain`";
        phase: String, "`preparing`, `running`, `draining`, `stopping`, `gave-up` or `over`";
        ready: bool, "what `/readyz` says";
        was_ready: bool, "what `/startupz` says";
        uptime: f64, "since its start";
        generation: u32, "how often the pool was rolled, from 1";
        workers_wanted: u16, "how many workers there are to be";
        workers_ready: u16, "how many slots have a ready worker";
        min_ready: u16, "how many it takes to be ready";
        follows_cores: bool, "whether the number of workers follows the cores";
        orphans: u64, "adopted processes that were reaped";
        workers: Vec<Worker>, "slot by slot: its own worker, then one that is to replace it, then one that leaves";
        listeners: Vec<Listener>, "the sockets that workers have their connections from";
        deaths: Vec<Past>, "the last deaths, youngest first";
        reload: Option<Reload>, "the reload under way";
        last_reload: Option<LastReload>, "the last that ended";
        container: Container, "what all workers together may use";
    }

    /// A slot and the process in it.
    Worker at "workers[]." {
        slot: u16, "from 0";
        role: String, "`current`, `replacement` or `former`";
        worker: Option<u64>, "its number, never reused; `null` where there is no process";
        pid: Option<i32>, "its process";
        generation: u32, "the generation that it belongs to";
        state: String, "`resting`, `starting`, `ready`, `draining`, `stopping` or `finished`";
        age: Option<f64>, "since the process was started";
        rests: Option<f64>, "how long until the slot is started again";
        restarts: u64, "processes started in the slot after the first";
        failures: u32, "failures since the slot was last stable";
        memory: Option<u64>, "bytes in memory";
        cpu: Option<f64>, "time of cores since its start";
        load: Option<f64>, "cores that it used since the last look, if that was lately";
        open_files: Option<u32>, "descriptors";
        connections: Option<u64>, "mode `cluster`: connections that it took";
        lag: Option<f64>, "mode `cluster`: how late its event loop was when it was last asked";
        says: Option<String>, "what it says of itself (`STATUS=`)";
        last_death: Option<String>, "how the last process in the slot ended, if that was lately";
    }

    /// A socket.
    Listener at "listeners[]." {
        name: String, "its name, or else its address";
        address: String, "where it is";
        waiting: Option<u32>, "connections that wait to be accepted";
    }

    /// A death.
    Past at "deaths[]." {
        ago: f64, "how long ago";
        worker: u64, "who";
        slot: u16, "where";
        pid: i32, "its process";
        age: f64, "how long it lived";
        status: String, "how it ended: `exit 1`, `killed by SEGV`";
        cause: String, "why: the words of the log";
    }

    /// A reload under way.
    Reload at "reload." {
        done: usize, "slots that were replaced";
        of: usize, "slots in all";
    }

    /// A reload that ended.
    LastReload at "last_reload." {
        verdict: String, "`done`, `failed` or `ended`";
        reason: String, "what was done, or why not";
        took: f64, "how long it took";
        ago: f64, "how long ago it ended";
    }

    /// The container.
    Container at "container." {
        cores: u16, "cores";
        memory_limit: Option<u64>, "bytes that it may have in memory";
        memory_used: Option<u64>, "bytes that it has";
        oom_kills: Option<u64>, "processes that the kernel killed for want of memory";
        throttled: Option<f64>, "how long its quota kept it from running";
    }
}

/// The README's table of fields, as Markdown.
pub fn markdown() -> String {
    let rows = FIELDS.iter().map(|(field, meaning)| format!("| `{field}` | {meaning} |\n"));
    std::iter::once("| field | meaning |\n|---|---|\n".to_owned()).chain(rows).collect()
}

/// No finer than a millisecond, which is as good as it was measured.
fn seconds(time: Duration) -> f64 {
    time.as_millis() as f64 / 1000.0
}

impl Shown {
    /// As text.
    pub fn json(&self) -> String {
        // Numbers, texts and lists: there is nothing in it that JSON could not say.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The object of this moment.
    pub fn of(view: &View) -> Self {
        let View { about, uptime, status, figures } = *view;
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: about.pid,
            mode: about.mode.name().to_owned(),
            phase: status.phase.name().to_owned(),
            ready: status.ready,
            was_ready: status.was_ready,
            uptime: seconds(uptime),
            generation: status.generation.0,
            workers_wanted: status.wanted,
            workers_ready: super::probes::ready(status),
            min_ready: status.min_ready,
            follows_cores: status.follows_cores,
            orphans: status.orphans,
            workers: status.workers.iter().map(|worker| Worker::of(worker, view)).collect(),
            listeners: figures.listeners.iter().map(Listener::of).collect(),
            deaths: status.recent_deaths.iter().map(|(ago, death)| Past::of(*ago, death)).collect(),
            reload: status.reloading.map(|(done, of)| Reload { done, of }),
            last_reload: status.last_reload.as_ref().map(|last| LastReload {
                verdict: last.verdict.name().to_owned(),
                reason: last.reason.clone(),
                took: seconds(last.took),
                ago: seconds(last.ago),
            }),
            container: Container {
                cores: figures.container.cores,
                memory_limit: figures.container.memory_limit,
                memory_used: figures.container.memory_used,
                oom_kills: figures.container.oom_kills,
                throttled: figures.container.throttled.map(seconds),
            },
        }
    }
}

impl Worker {
    fn of(worker: &WorkerStatus, view: &View) -> Self {
        let usage = worker.process.and_then(|(_, pid)| view.figures.usage.get(&pid).copied());
        let Usage { memory, cpu, open_files } = usage.unwrap_or_default();
        let load = worker.process.and_then(|(_, pid)| view.figures.load.get(&pid).copied());
        Self {
            slot: worker.slot.0,
            role: role(worker.role).to_owned(),
            worker: worker.process.map(|(id, _)| id.0),
            pid: worker.process.map(|(_, pid)| pid.raw()),
            generation: worker.generation.0,
            state: worker.state.to_owned(),
            age: worker.age.map(seconds),
            rests: worker.rests.map(seconds),
            restarts: worker.restarts,
            failures: worker.failures,
            memory,
            cpu: cpu.map(seconds),
            load: load.map(|load| (load * 1000.0).round() / 1000.0),
            open_files,
            connections: worker.connections,
            lag: worker.lag.map(seconds),
            says: worker.says.clone(),
            last_death: last_death(worker.slot, view),
        }
    }
}

fn role(role: RoleStatus) -> &'static str {
    match role {
        RoleStatus::Current => "current",
        RoleStatus::Replacement => "replacement",
        RoleStatus::Former => "former",
    }
}

fn last_death(slot: Slot, view: &View) -> Option<String> {
    let last = view.status.recent_deaths.iter().map(|(_, death)| death).find(|death| death.slot == slot);
    last.map(|death| end(death.status, death.cause))
}

/// How and why, without saying one thing twice.
fn end(status: ExitStatus, cause: Cause) -> String {
    match cause {
        Cause::Crashed | Cause::Exited => status.to_string(),
        Cause::Oom
        | Cause::ReadyTimeout
        | Cause::Watchdog
        | Cause::Memory
        | Cause::Lifetime
        | Cause::Stopped => format!("{status} ({})", cause.name()),
    }
}

impl Listener {
    fn of(listener: &figures::Listener) -> Self {
        let figures::Listener { name, address, waiting } = listener.clone();
        Self { name, address, waiting }
    }
}

impl Past {
    fn of(ago: Duration, death: &Death) -> Self {
        Self {
            ago: seconds(ago),
            worker: death.worker.0,
            slot: death.slot.0,
            pid: death.pid.raw(),
            age: seconds(death.age),
            status: death.status.to_string(),
            cause: death.cause.name().to_owned(),
        }
    }
}
