//! Does: the only module that touches the kernel. It decides nothing.
//!
//! [`System::prepare`] may fail, and says why. [`System::run`] may not: it returns an [`Exit`], not a `Result`.

mod bind;
pub mod cgroup;
mod channel;
mod child;
mod clock;
mod descendants;
mod descriptors;
mod perform;
mod prepare;
mod primary;
mod process;
mod queue;
pub mod readings;
pub mod signals;
mod slots;
mod socket;
mod steer;
pub mod terminal;
mod user;

use std::cell::OnceCell;
use std::collections::VecDeque;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use tracing::{debug, info, trace, warn};

use crate::config::Config;
use crate::exit::Exit;
use crate::ids::Pid;
use crate::observe::log;
use crate::signal::Signal;
use crate::supervisor::Supervisor;
use crate::supervisor::action::{Action, Spawn};
use crate::supervisor::event::{Child, Event, Measurements};
use cgroup::{Cgroups, OutOfMemory};
use clock::Clock;
use perform::Performer;
pub use prepare::{StartError, adopt_descriptors, worker_traits};
use primary::{Primary, Source};
use process::Wait;
use queue::Depths;
use signals::Signals;
use socket::Listener;

const SIGNALS: Token = Token(0);
/// Most children that are reaped before signals are heard again.
const REAP_BATCH: usize = 512;

/// Everything that a run holds.
pub struct System {
    supervisor: Supervisor,
    performer: Performer,
    primary: Option<Primary>,
    signals: Signals,
    poll: Poll,
    clock: Clock,
    groups: OnceCell<Cgroups>,
    out_of_memory: OutOfMemory,
    and_suspended: bool,
    reap: bool,
    exit: Option<Exit>,
}

impl System {
    /// Gets everything ready: users looked up, sockets bound, orphans ours.
    pub fn prepare(config: &Config, signals: Signals, passed: Vec<Listener>) -> Result<Self, StartError> {
        let traits = worker_traits(config)?;
        let sockets = prepare::bind(config, passed)?;
        let failed = |what: &str, error: io::Error| StartError::system(format!("{what}: {error}"));
        let poll = Poll::new().map_err(|error| failed("epoll", error))?;
        poll.registry()
            .register(&mut SourceFd(&signals.as_raw_fd()), SIGNALS, Interest::READABLE)
            .map_err(|error| failed("signals cannot be watched", error))?;
        let (primary, sockets) = prepare::primary(config, &traits, sockets, &poll)?;
        if std::process::id() != 1
            && let Err(error) = process::adopt_orphans()
        {
            warn!(error = %error, "orphans cannot be adopted; they go to the init above us");
        }
        Ok(Self {
            performer: Performer::new(config, traits, cgroup::allowed_cores(), sockets),
            primary,
            signals,
            poll,
            groups: OnceCell::new(),
            out_of_memory: OutOfMemory::default(),
            and_suspended: config.terminal,
            reap: true,
            exit: None,
            supervisor: Supervisor::new(config.clone(), seed()),
            clock: Clock::start(),
        })
    }

    /// Runs until there is nothing left to run.
    pub fn run(mut self) -> Exit {
        // A stop that was asked for before the first worker is heard before it.
        self.hear_signals();
        self.turn(Event::Started);
        self.meet_deadline();
        // After the first worker: to find these files takes as long as to start one.
        self.out_of_memory = OutOfMemory::watch(self.groups());
        if self.groups().dies_together() {
            info!("memory.oom.group is set: when memory runs out, the kernel kills the whole container");
        }
        let mut events = Events::with_capacity(64);
        loop {
            if let Some(exit) = self.exit {
                return exit;
            }
            self.wait(&mut events);
            if events.iter().any(|event| event.token() == SIGNALS) {
                self.hear_signals();
            }
            self.reap_children();
            self.hear_workers(&events);
            self.meet_deadline();
        }
    }

    /// Connections that wait to be accepted, by the name of the listener or its address.
    pub fn queue_depths(&self) -> Vec<(String, u32)> {
        let mut depths = Depths::new();
        self.performer.sockets.add_depths(&mut depths);
        if let Some(primary) = &self.primary {
            primary.add_depths(&mut depths);
        }
        depths.into_iter().collect()
    }

    fn groups(&self) -> &Cgroups {
        self.groups.get_or_init(find_groups)
    }

    fn meet_deadline(&mut self) {
        let now = self.clock.now();
        if let Some((_, why)) = self.supervisor.deadline().filter(|(time, _)| *time <= now) {
            trace!(why, "deadline reached");
            self.turn(Event::DeadlineReached);
        }
    }

    /// Sleeps until a signal comes or the supervisor wants to be asked again.
    fn wait(&mut self, events: &mut Events) {
        let has_unread = self.primary.as_ref().is_some_and(Primary::has_unread);
        let timeout = match self.supervisor.deadline() {
            _ if self.reap || has_unread || self.exit.is_some() => Some(Duration::ZERO),
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
                    self.hear_last_words(pid);
                    let groups = self.groups.get_or_init(find_groups);
                    Event::Exited {
                        pid,
                        status,
                        out_of_memory: killed && self.out_of_memory.happened(groups),
                    }
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

    /// Hears what workers say and who connects.
    fn hear_workers(&mut self, events: &Events) {
        let Some(primary) = &mut self.primary else { return };
        let mut inputs = Vec::new();
        primary.read_on(&mut inputs);
        for event in events.iter().filter(|event| event.token() != SIGNALS) {
            primary.is_ready(&Source::of(event.token()), &mut inputs);
        }
        for input in inputs {
            self.turn(Event::Cluster(input));
        }
    }

    /// What a worker said before it died counts, and comes before its death.
    fn hear_last_words(&mut self, pid: Pid) {
        let mut inputs = Vec::new();
        if let Some(primary) = &mut self.primary {
            primary.reaped(pid, &mut inputs);
        }
        for input in inputs {
            self.turn(Event::Cluster(input));
        }
    }

    /// One event, its actions, and the answers to them.
    fn turn(&mut self, event: Event) {
        let mut answers = VecDeque::new();
        self.step(event, &mut answers);
        while let Some(answer) = answers.pop_front() {
            self.step(answer, &mut answers);
        }
    }

    fn step(&mut self, event: Event, answers: &mut VecDeque<Event>) {
        if self.exit.is_some() {
            return;
        }
        for action in self.supervisor.handle(self.clock.now(), event) {
            self.perform(action, answers);
        }
    }

    fn measure(&self, pids: &[Pid]) -> Measurements {
        Measurements {
            cores: self.groups().cores(cgroup::allowed_cores().len()).count,
            memory: pids.iter().filter_map(|pid| Some((*pid, readings::memory(*pid)?))).collect(),
            queues: self.performer.sockets.queues(),
        }
    }

    fn spawn(&mut self, spawn: Spawn) -> Event {
        let (event, channel) = self.performer.spawn(spawn);
        if let (Event::Spawned { child: Child::Worker(worker), pid }, Some(channel), Some(primary)) =
            (&event, channel, &mut self.primary)
        {
            primary.join(*worker, channel, *pid);
        }
        event
    }

    fn perform(&mut self, action: Action, answers: &mut VecDeque<Event>) {
        match action {
            Action::Spawn(spawn) => answers.push_back(self.spawn(spawn)),
            Action::Cluster(effect) => {
                let mut inputs = Vec::new();
                if let Some(primary) = &mut self.primary {
                    primary.perform(effect, &mut inputs);
                }
                answers.extend(inputs.into_iter().map(Event::Cluster));
            }
            Action::Signal { pid, signal, target } => perform::signal(pid, signal, target),
            Action::SignalDescendants(signal) => perform::signal_descendants(signal),
            Action::Measure(pids) => answers.push_back(Event::Measured(self.measure(&pids))),
            Action::Steer(slots) => self.performer.sockets.steer(&slots),
            Action::KeepSlots(count) => self.performer.sockets.keep(count),
            Action::Answer { .. } | Action::Announce(_) => {}
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

fn find_groups() -> Cgroups {
    Cgroups::find(Path::new("/"))
}

/// Pools that start together do not fail together: the jitter differs from one to the next.
fn seed() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    since.as_nanos() as u64 ^ u64::from(std::process::id()).rotate_left(32)
}
