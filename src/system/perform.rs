//! Performs actions, each by one function; what an action's answer needs comes back as an event.

use std::ffi::{CStr, CString, OsStr, OsString};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;

use super::channel::Channel;
use super::child::{Blueprint, Inherited, Traits};
use super::process::Spawner;
use super::slots::Slots;
use super::{descendants, descriptors, newline, process, terminal};
use crate::config::kinds::{Ready, Target};
use crate::config::value::Switch;
use crate::config::{Config, Mode};
use crate::ids::{Generation, Pid, Slot, WorkerId};
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
    /// What all workers find, and nobody else.
    for_workers: Vec<(&'static str, String)>,
    listen_pid: bool,
    has_watchdog: bool,
    first_port: Option<u16>,
    worker_traits: Traits,
    /// The cores that workers are pinned to; empty for none.
    cores: Vec<usize>,
    /// What workers inherit.
    pub sockets: Slots,
    spawner: Spawner,
    /// Whether workers have a channel to us, at the first descriptor.
    with_channel: bool,
    /// The descriptor on which a worker writes a newline when it is ready.
    newline: Option<RawFd>,
}

/// Our ends of what a worker has the other ends of.
#[derive(Default)]
pub struct Ends {
    /// The channel of a cluster.
    pub channel: Option<Channel>,
    /// Where the newline of `READY=fd:N` comes.
    pub newline: Option<OwnedFd>,
}

/// The worker's. It alone keeps them open once it is born.
#[derive(Default)]
struct Theirs {
    channel: Option<OwnedFd>,
    newline: Option<OwnedFd>,
}

impl Performer {
    /// Prepares. The sockets' numbers lie above those at which a child puts them.
    pub fn new(
        config: &Config,
        worker_traits: Traits,
        allowed_cores: Vec<usize>,
        sockets: Slots,
        notify_socket: &str,
    ) -> Self {
        let program = config.command[0].clone();
        let environment =
            config.environment.iter().filter_map(|(name, value)| variable(name, value.as_bytes())).collect();
        let path = config
            .environment
            .iter()
            .find(|(name, _)| name == "PATH")
            .map_or(OsStr::new(USUAL_PATH), |(_, path)| path);
        let watchdog = config.settings.watchdog.0.map(|time| ("WATCHDOG_USEC", time.as_micros().to_string()));
        Self {
            for_workers: [("NOTIFY_SOCKET", notify_socket.to_owned())].into_iter().chain(watchdog).collect(),
            has_watchdog: config.settings.watchdog.0.is_some(),
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
            newline: match config.settings.ready {
                Ready::Descriptor(number) => Some(RawFd::from(number)),
                Ready::Auto | Ready::Listening | Ready::Notify | Ready::Message | Ready::Alive(_) => None,
            },
        }
    }

    /// Starts a process, and says how that went.
    pub fn spawn(&mut self, spawn: Spawn) -> (Event, Ends) {
        let child = spawn.child();
        match self.try_spawn(spawn) {
            Ok((pid, ends)) => (Event::Spawned { child, pid }, ends),
            Err(failure) => (Event::SpawnFailed { child, failure }, Ends::default()),
        }
    }

    fn try_spawn(&mut self, spawn: Spawn) -> Result<(Pid, Ends), SpawnFailure> {
        let (blueprint, ours, _theirs) = match spawn {
            Spawn::Prestart => (self.prestart(), Ends::default(), Theirs::default()),
            Spawn::Worker { worker, slot, generation } => {
                let no_sockets = |reason| SpawnFailure { kind: SpawnFailureKind::System, reason };
                self.sockets.make(slot).map_err(no_sockets)?;
                let (ours, theirs) = self.ends(slot).map_err(|error| self.failure(spawn, &error))?;
                (self.worker(worker, slot, generation, &theirs), ours, theirs)
            }
        };
        let pid = self.spawner.spawn(blueprint).map_err(|error| self.failure(spawn, &error))?;
        Ok((pid, ours))
    }

    /// Both ends of what connects a worker to us. Theirs lie above the places at which a child puts its sockets.
    fn ends(&self, slot: Slot) -> io::Result<(Ends, Theirs)> {
        let (mut ours, mut theirs) = (Ends::default(), Theirs::default());
        let above = descriptors::FIRST + self.sockets.of(slot).len() as RawFd;
        if self.with_channel {
            let (our_end, mut their_end) = Channel::pair()?;
            descriptors::lift(&mut their_end, above + 1)?;
            (ours.channel, theirs.channel) = (Some(our_end), Some(their_end));
        }
        if self.newline.is_some() {
            let (our_end, mut their_end) = newline::pair()?;
            descriptors::lift(&mut their_end, above + 1)?;
            (ours.newline, theirs.newline) = (Some(our_end), Some(their_end));
        }
        Ok((ours, theirs))
    }

    fn prestart(&self) -> Blueprint {
        let command = self.prestart.clone().unwrap_or_default();
        Blueprint {
            candidates: vec![c"/bin/sh".to_owned()],
            arguments: vec![c"/bin/sh".to_owned(), c"-c".to_owned(), command],
            environment: self.environment.clone(),
            own_pid: Vec::new(),
            descriptors: Vec::new(),
            core: None,
            // It may ask its questions before the worker has the terminal.
            traits: Traits { foreground: self.worker_traits.foreground, ..Traits::default() },
        }
    }

    fn worker(&self, worker: WorkerId, slot: Slot, generation: Generation, theirs: &Theirs) -> Blueprint {
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
        for (name, value) in &self.for_workers {
            set(name, value.clone());
        }
        if theirs.channel.is_some() {
            set("NODE_CHANNEL_FD", descriptors::FIRST.to_string());
            set("NODE_CHANNEL_SERIALIZATION_MODE", "json".to_owned());
            set("NODE_UNIQUE_ID", worker.to_string());
        }
        Blueprint {
            candidates: self.candidates.clone(),
            arguments: self.arguments.clone(),
            environment,
            own_pid: [
                ("LISTEN_PID", self.listen_pid && !sockets.is_empty()),
                ("WATCHDOG_PID", self.has_watchdog),
            ]
            .into_iter()
            .filter_map(|(name, is_wanted)| is_wanted.then_some(name))
            .collect(),
            descriptors: (descriptors::FIRST..)
                .zip(sockets.iter().map(|listener| &listener.fd).chain(&theirs.channel))
                .chain(self.newline.zip(theirs.newline.as_ref()))
                .map(|(theirs, ours)| Inherited { ours: ours.as_raw_fd(), theirs })
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
pub fn signal(pid: Pid, signal: Signal, target: Target) {
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
pub fn give_terminal(pid: Pid) {
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
