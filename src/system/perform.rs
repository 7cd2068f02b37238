//! Performs actions, each by one function; what an action's answer needs comes back as an event.

use std::ffi::{CStr, CString, OsStr, OsString};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use super::channel::Channel;
use super::child::{Blueprint, Traits};
use super::process::Spawner;
use super::slots::Slots;
use super::{descendants, descriptors, process, terminal};
use crate::config::kinds::Target;
use crate::config::value::Switch;
use crate::config::{Config, Mode};
use crate::ids::{Generation, Slot, WorkerId};
use crate::signal::Signal;
use crate::supervisor::action::Spawn;
use crate::supervisor::event::{Event, SpawnFailure, SpawnFailureKind};

/// Where programs are looked for when PATH is not set.
const USUAL_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// All that it takes to start processes: prepared once, and the sockets that they inherit.
pub struct Performer {
    program: OsString,
    candidates: Vec<CString>,
    arguments: Vec<CString>,
    environment: Vec<CString>,
    prestart: Option<CString>,
    listen_pid: bool,
    first_port: Option<u16>,
    worker_traits: Traits,
    /// The cores that workers are pinned to; empty for none.
    cores: Vec<usize>,
    /// What workers inherit.
    pub sockets: Slots,
    spawner: Spawner,
    /// Whether workers have a channel to us, at the first descriptor.
    with_channel: bool,
}

impl Performer {
    /// Prepares. The sockets' numbers lie above those at which a child puts them.
    pub fn new(config: &Config, worker_traits: Traits, allowed_cores: Vec<usize>, sockets: Slots) -> Self {
        let program = config.command[0].clone();
        let environment =
            config.environment.iter().filter_map(|(name, value)| variable(name, value.as_bytes())).collect();
        let path = config
            .environment
            .iter()
            .find(|(name, _)| name == "PATH")
            .map_or(OsStr::new(USUAL_PATH), |(_, path)| path);
        Self {
            candidates: candidates(&program, path),
            arguments: config.command.iter().map(|word| c_string(word.as_bytes())).collect(),
            environment,
            prestart: config.settings.prestart.as_ref().map(|command| c_string(command.as_bytes())),
            listen_pid: config.settings.listen_pid == Switch::On,
            first_port: config.settings.first_port.filter(|_| config.mode == Mode::Ports),
            worker_traits,
            cores: if config.settings.affinity == Switch::On { allowed_cores } else { Vec::new() },
            sockets,
            program,
            spawner: Spawner::new(),
            with_channel: config.mode == Mode::Cluster,
        }
    }

    /// Starts a process, and says how that went.
    pub fn spawn(&mut self, spawn: Spawn) -> (Event, Option<Channel>) {
        let child = spawn.child();
        let (channel, theirs) = match self.channel(spawn) {
            Ok(Some((channel, theirs))) => (Some(channel), Some(theirs)),
            Ok(None) => (None, None),
            Err(error) => return (Event::SpawnFailed { child, failure: self.failure(spawn, &error) }, None),
        };
        let blueprint = match spawn {
            Spawn::Prestart => self.prestart(),
            Spawn::Worker { worker, slot, generation } => {
                if let Err(reason) = self.sockets.make(slot) {
                    let failure = SpawnFailure { kind: SpawnFailureKind::System, reason };
                    return (Event::SpawnFailed { child, failure }, None);
                }
                self.worker(worker, slot, generation, theirs.as_ref())
            }
        };
        match self.spawner.spawn(blueprint) {
            Ok(pid) => (Event::Spawned { child, pid }, channel),
            Err(error) => (Event::SpawnFailed { child, failure: self.failure(spawn, &error) }, None),
        }
    }

    /// Our end and the worker's of a channel, where workers have one. Ours alone keeps theirs open from now on.
    fn channel(&self, spawn: Spawn) -> io::Result<Option<(Channel, OwnedFd)>> {
        match spawn {
            Spawn::Worker { .. } if self.with_channel => {
                let (ours, mut theirs) = Channel::pair()?;
                descriptors::lift(&mut theirs, descriptors::FIRST + 1)?;
                Ok(Some((ours, theirs)))
            }
            Spawn::Worker { .. } | Spawn::Prestart => Ok(None),
        }
    }

    fn prestart(&self) -> Blueprint {
        let command = self.prestart.clone().unwrap_or_default();
        Blueprint {
            candidates: vec![c"/bin/sh".to_owned()],
            arguments: vec![c"/bin/sh".to_owned(), c"-c".to_owned(), command],
            environment: self.environment.clone(),
            listen_pid: false,
            sockets: Vec::new(),
            core: None,
            // It may ask its questions before the worker has the terminal.
            traits: Traits { foreground: self.worker_traits.foreground, ..Traits::default() },
        }
    }

    fn worker(
        &self,
        worker: WorkerId,
        slot: Slot,
        generation: Generation,
        channel: Option<&OwnedFd>,
    ) -> Blueprint {
        let sockets = self.sockets.of(slot);
        let mut environment = self.environment.clone();
        let mut set = |name: &str, value: String| {
            environment.retain(|entry| !entry.as_bytes().starts_with(format!("{name}=").as_bytes()));
            environment.extend(variable(OsStr::new(name), value.as_bytes()));
        };
        set("ALLCORES_WORKER", worker.to_string());
        set("ALLCORES_SLOT", slot.to_string());
        set("ALLCORES_GENERATION", generation.to_string());
        set("NODE_APP_INSTANCE", slot.to_string());
        if let Some(first) = self.first_port {
            set("PORT", (u32::from(first) + u32::from(slot.0)).to_string());
        }
        if !sockets.is_empty() {
            set("LISTEN_FDS", sockets.len().to_string());
            set(
                "LISTEN_FDNAMES",
                sockets.iter().map(|listener| listener.name.as_str()).collect::<Vec<_>>().join(":"),
            );
        }
        if channel.is_some() {
            set("NODE_CHANNEL_FD", descriptors::FIRST.to_string());
            set("NODE_CHANNEL_SERIALIZATION_MODE", "json".to_owned());
            set("NODE_UNIQUE_ID", worker.to_string());
        }
        Blueprint {
            candidates: self.candidates.clone(),
            arguments: self.arguments.clone(),
            environment,
            listen_pid: self.listen_pid && !sockets.is_empty(),
            sockets: sockets
                .iter()
                .map(|listener| listener.fd.as_raw_fd())
                .chain(channel.map(AsRawFd::as_raw_fd))
                .collect(),
            core: self.cores.get(usize::from(slot.0) % self.cores.len().max(1)).copied(),
            traits: self.worker_traits.clone(),
        }
    }

    fn failure(&self, spawn: Spawn, error: &io::Error) -> SpawnFailure {
        let program = match spawn {
            Spawn::Prestart => "/bin/sh".into(),
            Spawn::Worker { .. } => self.program.to_string_lossy(),
        };
        let (kind, remedy) = match error.raw_os_error() {
            Some(libc::EAGAIN | libc::ENOMEM | libc::EMFILE | libc::ENFILE | libc::EINTR) => {
                (SpawnFailureKind::System, "the system has no room; it is tried again")
            }
            Some(libc::ENOENT | libc::ENOTDIR) if self.candidates.iter().any(exists) => (
                SpawnFailureKind::NotFound,
                "it exists, but what its first line or its ELF header asks for does not",
            ),
            Some(libc::ENOENT | libc::ENOTDIR) => {
                (SpawnFailureKind::NotFound, "it is neither a path to a file nor a program in PATH")
            }
            Some(libc::EACCES) => (
                SpawnFailureKind::NotExecutable,
                "it must be a file with the x bit, in directories that the user may enter",
            ),
            Some(libc::ENOEXEC) => (
                SpawnFailureKind::NotExecutable,
                "it is no program for this machine; a script begins with #!",
            ),
            Some(_) | None => (SpawnFailureKind::NotExecutable, "it was found, but does not start"),
        };
        SpawnFailure { kind, reason: format!("'{program}': {error}; {remedy}") }
    }
}

/// Signals one process or group. It is not reaped yet, so it exists; as a zombie it does not mind.
pub fn signal(pid: crate::ids::Pid, signal: Signal, target: Target) {
    if let Err(error) = process::signal(pid, signal, target) {
        // A group is empty when its leader has not come to lead it, or all that is left of it is a zombie.
        let alone = (target == Target::Group).then(|| process::signal(pid, signal, Target::Process));
        if !matches!(alone, Some(Ok(()))) {
            tracing::warn!(pid = pid.raw(), signal = %signal, error = %error, "signal could not be sent");
        }
    }
}

/// Signals everything that lives below us. A kill is one line of the log each.
pub fn signal_descendants(number: Signal) {
    let Some(found) = descendants::of(std::process::id()) else {
        // Without /proc the name space is all that we know; as its init we can reach everything in it.
        if std::process::id() == 1 {
            let _ = process::signal_everything(number);
        } else {
            tracing::warn!("/proc cannot be read; what workers left behind is not found");
        }
        return;
    };
    for descendant in found {
        if number == Signal::KILL {
            tracing::warn!(pid = descendant.pid.raw(), name = %descendant.name, "process still there, killing it");
        }
        // It may have ended since.
        let _ = process::signal(descendant.pid, number, Target::Process);
    }
}

/// Suspends ourselves and whoever shares our job, until somebody continues it.
pub fn suspend() {
    if let Err(error) = process::suspend_ourselves() {
        tracing::warn!(error = %error, "cannot suspend");
    }
}

/// Makes a worker's group the foreground.
pub fn give_terminal(pid: crate::ids::Pid) {
    terminal::give_to(pid);
}

fn exists(path: impl AsRef<CStr>) -> bool {
    std::fs::symlink_metadata(OsStr::from_bytes(path.as_ref().to_bytes())).is_ok()
}

/// What `execvp(3)` would try: the word itself when it has a slash or is empty, else the word in every directory of PATH.
fn candidates(program: &OsStr, path: &OsStr) -> Vec<CString> {
    if program.is_empty() || program.as_bytes().contains(&b'/') {
        return vec![c_string(program.as_bytes())];
    }
    let in_directory = |directory: &[u8]| {
        let directory: &[u8] = if directory.is_empty() { b"." } else { directory };
        c_string(&[directory, b"/", program.as_bytes()].concat())
    };
    path.as_bytes().split(|byte| *byte == b':').map(in_directory).collect()
}

fn variable(name: &OsStr, value: &[u8]) -> Option<CString> {
    CString::new([name.as_bytes(), b"=", value].concat()).ok()
}

/// Words from the command line and the environment cannot hold a NUL; settings are checked.
fn c_string(bytes: &[u8]) -> CString {
    CString::new(bytes).unwrap_or_default()
}
