//! Does: the only module that touches the kernel. It decides nothing.
//!
//! [`System::prepare`] may fail, and says why. [`System::run`] may not: it returns an [`Exit`], not a `Result`.

pub mod cgroup;
mod child;
mod clock;
mod descendants;
mod descriptors;
mod perform;
mod process;
pub mod signals;
mod socket;
pub mod terminal;
mod user;

use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tracing::{debug, trace, warn};

use crate::config::kinds::FileLimit;
use crate::config::{Config, Mode};
use crate::exit::{self, Exit};
use crate::observe::log;
use crate::signal::Signal;
use crate::supervisor::Supervisor;
use crate::supervisor::action::Action;
use crate::supervisor::event::Event;
use cgroup::OutOfMemory;
use child::{FileLimits, Traits};
use clock::Clock;
use perform::Performer;
use process::Wait;
use signals::Signals;
use socket::{Listener, Manner};

const SIGNALS: Token = Token(0);
/// Most children that are reaped before signals are heard again.
const REAP_BATCH: usize = 512;

/// Everything that a run holds.
pub struct System {
    supervisor: Supervisor,
    performer: Performer,
    signals: Signals,
    poll: Poll,
    clock: Clock,
    out_of_memory: OutOfMemory,
    and_suspended: bool,
    reap: bool,
    exit: Option<Exit>,
    /// Keeps the numbers free that a child puts its sockets at.
    _reserved: Vec<std::os::fd::OwnedFd>,
}

/// Why a run cannot begin.
#[derive(Debug, PartialEq, Eq)]
pub struct StartError {
    /// The exit code.
    pub code: u8,
    /// One line.
    pub reason: String,
}

impl StartError {
    fn system(reason: String) -> Self {
        Self { code: exit::SYSTEM, reason }
    }

    fn setting(name: &str, reason: &str) -> Self {
        Self { code: exit::SETTINGS, reason: format!("ALLCORES_{name}: {reason}") }
    }
}

/// Takes over the sockets that were passed to us, and sees to it that nothing else we inherited is inherited on. To be
/// called before any other descriptor is made.
pub fn adopt_descriptors(config: &Config) -> Result<Vec<Listener>, StartError> {
    let mut listeners = Vec::new();
    for (fd, name) in (descriptors::FIRST..).zip(&config.activation) {
        let adopted = descriptors::adopt(fd);
        let adopted = adopted.ok_or_else(|| {
            StartError::system(format!("LISTEN_FDS promises descriptor {fd}, which is not open"))
        })?;
        listeners.push(Listener::passed(adopted, name.clone()));
    }
    descriptors::close_inherited_at_exec();
    Ok(listeners)
}

impl System {
    /// Gets everything ready: users looked up, sockets bound, orphans ours.
    pub fn prepare(config: Config, signals: Signals, passed: Vec<Listener>) -> Result<Self, StartError> {
        let traits = worker_traits(&config)?;
        let mut sockets = bind(&config, passed)?;
        let count = sockets.first().map_or(0, Vec::len);
        let end = perform::end_of_sockets(count);
        let failed = |what: &str, error: io::Error| StartError::system(format!("{what}: {error}"));
        for listener in sockets.iter_mut().flatten() {
            descriptors::lift(&mut listener.fd, end).map_err(|error| failed("descriptors", error))?;
        }
        let poll = Poll::new().map_err(|error| failed("epoll", error))?;
        poll.registry()
            .register(&mut SourceFd(&signals.as_raw_fd()), SIGNALS, Interest::READABLE)
            .map_err(|error| failed("signals cannot be watched", error))?;
        let reserved = match sockets.first().and_then(|own| own.first()) {
            Some(listener) => {
                descriptors::reserve(&listener.fd, end).map_err(|error| failed("descriptors", error))?
            }
            None => Vec::new(),
        };
        if std::process::id() != 1
            && let Err(error) = process::adopt_orphans()
        {
            warn!(error = %error, "orphans cannot be adopted; they go to the init above us");
        }
        Ok(Self {
            performer: Performer::new(&config, traits, cgroup::allowed_cores(), sockets),
            signals,
            poll,
            out_of_memory: OutOfMemory::watch(Path::new("/")),
            and_suspended: config.terminal,
            reap: true,
            exit: None,
            supervisor: Supervisor::new(config, seed()),
            clock: Clock::start(),
            _reserved: reserved,
        })
    }

    /// Runs until there is nothing left to run.
    pub fn run(mut self) -> Exit {
        // A stop that was asked for before the first worker is heard before it.
        self.hear_signals();
        self.turn(Event::Started);
        let mut events = Events::with_capacity(4);
        loop {
            if let Some(exit) = self.exit {
                return exit;
            }
            self.wait(&mut events);
            self.hear_signals();
            self.reap_children();
            let now = self.clock.now();
            if let Some((_, why)) = self.supervisor.deadline().filter(|(time, _)| *time <= now) {
                trace!(why, "deadline reached");
                self.turn(Event::DeadlineReached);
            }
        }
    }

    /// Sleeps until a signal comes or the supervisor wants to be asked again.
    fn wait(&mut self, events: &mut Events) {
        let timeout = match self.supervisor.deadline() {
            _ if self.reap || self.exit.is_some() => Some(Duration::ZERO),
            Some((time, _)) => Some(time - self.clock.now()),
            None => None,
        };
        if let Err(error) = self.poll.poll(events, timeout) {
            // Signals are blocked, so that only a debugger interrupts this; then we go round once more.
            debug!(error = %error, "waiting was interrupted");
        }
    }

    fn hear_signals(&mut self) {
        for signal in self.signals.drain() {
            // What it says is that there is somebody to reap; nobody is told before they are reaped.
            if signal == Signal::CHLD {
                self.reap = true;
            } else {
                self.reap_children();
                self.turn(Event::Signalled(signal));
            }
        }
    }

    /// Reaps what there is. Each death is dealt with before the next is looked for, so that no action names a pid that
    /// is free again.
    fn reap_children(&mut self) {
        for _ in 0..REAP_BATCH {
            if !std::mem::take(&mut self.reap) {
                return;
            }
            let event = match process::wait(self.and_suspended) {
                Wait::Exited(pid, status) => {
                    self.reap = true;
                    let killed = status.code() == 128 + Signal::KILL.number() as u8;
                    trace!(pid = pid.raw(), status = %status, "reaped");
                    Event::Exited { pid, status, out_of_memory: killed && self.out_of_memory.happened() }
                }
                Wait::Suspended(pid) => {
                    self.reap = true;
                    Event::Suspended { pid }
                }
                Wait::Nothing => Event::Reaped { children_left: true },
                Wait::NoChildren => Event::Reaped { children_left: false },
            };
            self.turn(event);
        }
    }

    /// One event, its actions, and the answers to them.
    fn turn(&mut self, event: Event) {
        let mut next = Some(event);
        while let Some(event) = next.take() {
            if self.exit.is_some() {
                return;
            }
            for action in self.supervisor.handle(self.clock.now(), event) {
                debug_assert!(next.is_none() || !matches!(action, Action::Spawn(_)), "one answer at a time");
                self.perform(action, &mut next);
            }
        }
    }

    fn perform(&mut self, action: Action, answer: &mut Option<Event>) {
        match action {
            Action::Spawn(spawn) => *answer = Some(self.performer.spawn(spawn)),
            Action::Signal { pid, signal, target } => perform::signal(pid, signal, target),
            Action::SignalDescendants(signal) => perform::signal_descendants(signal),
            Action::Reap => self.reap = true,
            Action::GiveTerminal(pid) => perform::give_terminal(pid),
            Action::Suspend => perform::suspend(),
            Action::Report(notice) => log::notice(&notice),
            Action::Exit(exit) => {
                debug!(code = exit.code, "leaving");
                self.exit = Some(exit);
            }
        }
    }
}

fn worker_traits(config: &Config) -> Result<Traits, StartError> {
    let identity = match &config.settings.user {
        Some(name) => user::find(name).map_err(|reason| StartError::setting("USER", &reason))?,
        None => None,
    };
    let files = config.settings.nofile.map(file_limits).transpose()?;
    Ok(Traits { identity, no_new_privs: config.no_new_privs, files, foreground: config.terminal })
}

/// A limit above the hard one needs CAP_SYS_RESOURCE, which we try out on ourselves.
fn file_limits(FileLimit(soft): FileLimit) -> Result<FileLimits, StartError> {
    let (own, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((1024, 1024));
    if soft > hard && setrlimit(Resource::RLIMIT_NOFILE, own, soft).is_err() {
        let reason = format!(
            "{soft} is above the hard limit of {hard}, which we may not raise; start the container with --ulimit nofile={soft}"
        );
        return Err(StartError::setting("NOFILE", &reason));
    }
    Ok(FileLimits { soft, hard: hard.max(soft) })
}

/// The sockets of each slot: one set for all, or in `reuseport` a set for each.
fn bind(config: &Config, passed: Vec<Listener>) -> Result<Vec<Vec<Listener>>, StartError> {
    let reuseport = match config.mode {
        Mode::Inherit => false,
        Mode::Reuseport => true,
        Mode::Ports | Mode::Plain => return Ok(Vec::new()),
    };
    let addresses = config.settings.listen.as_ref().map(|listen| listen.0.as_slice()).unwrap_or_default();
    let mut backlog = config.settings.backlog.0;
    if let Some(longest) = socket::longest_backlog().filter(|longest| *longest < backlog) {
        warn!(backlog, somaxconn = longest, "BACKLOG is cut to net.core.somaxconn");
        backlog = longest;
    }
    let manner = Manner { backlog, reuseport };
    let mut first = passed;
    for address in addresses {
        first.push(socket::listen(address, addresses, manner).map_err(StartError::system)?);
    }
    let mut sockets = vec![first];
    if reuseport {
        let alone = sockets[0].iter().filter(|listener| !listener.multiplies).count();
        if alone > 0 {
            warn!(
                sockets = alone,
                "UNIX sockets and those passed to us cannot be one per slot; workers share them"
            );
        }
        for _ in 1..config.workers {
            let own = another_set(&sockets[0], config, addresses, manner)?;
            sockets.push(own);
        }
    }
    Ok(sockets)
}

fn another_set(
    first: &[Listener],
    config: &Config,
    addresses: &[crate::config::address::Address],
    manner: Manner,
) -> Result<Vec<Listener>, StartError> {
    let mut set = Vec::new();
    for (index, listener) in first.iter().enumerate() {
        set.push(if listener.multiplies {
            socket::listen(&addresses[index - config.activation.len()], addresses, manner)
                .map_err(StartError::system)?
        } else {
            let fd = listener
                .fd
                .try_clone()
                .map_err(|error| StartError::system(format!("descriptors: {error}")))?;
            Listener::passed(fd, listener.name.clone())
        });
    }
    Ok(set)
}

/// Pools that start together do not fail together: the jitter differs from one to the next.
fn seed() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    since.as_nanos() as u64 ^ u64::from(std::process::id()).rotate_left(32)
}
