//! Does: the only module that touches the kernel. It decides nothing.
//!
//! [`System::prepare`] may fail, and says why. [`System::run`] may not: it returns an [`Exit`], not a `Result`.

mod accept;
mod announce;
mod bind;
pub mod cgroup;
mod channel;
mod child;
pub mod clock;
mod connection;
pub mod control;
mod descendants;
mod descriptors;
mod door;
mod hear;
mod memory;
mod newline;
mod notify;
mod perform;
mod places;
mod prepare;
mod primary;
mod process;
mod queue;
pub mod readings;
mod server;
pub mod signals;
mod slots;
mod socket;
mod source;
mod steer;
pub mod terminal;
mod user;
mod watch;
mod window;

use std::cell::OnceCell;
use std::collections::VecDeque;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll};
use tracing::{debug, info, trace, warn};

use crate::config::Config;
use crate::exit::Exit;
use crate::ids::Pid;
use crate::observe::log;
use crate::supervisor::Supervisor;
use crate::supervisor::action::{Action, Spawn};
use crate::supervisor::event::{Child, Event, Measurements};
use crate::supervisor::time::Time;
use announce::Announcer;
use cgroup::{Cgroups, OutOfMemory};
use clock::Clock;
use newline::Newlines;
use notify::Notify;
use perform::Performer;
pub use prepare::{StartError, adopt_descriptors, worker_traits};
use primary::Primary;
use server::Server;
use signals::Signals;
use socket::{Listener, SocketFile};
use source::Source;
use watch::Changes;
use window::Window;

/// Everything that a run holds.
pub struct System {
    supervisor: Supervisor,
    performer: Performer,
    primary: Option<Primary>,
    notify: Notify,
    newlines: Newlines,
    changes: Option<Changes>,
    announcer: Announcer,
    signals: Signals,
    poll: Poll,
    clock: Clock,
    server: Server,
    /// Removed when we leave.
    _control: Option<SocketFile>,
    window: Window,
    groups: OnceCell<Cgroups>,
    out_of_memory: OutOfMemory,
    and_suspended: bool,
    reap: bool,
    /// Whether our code was let go since something rare was done.
    is_lean: bool,
    exit: Option<Exit>,
}

/// With nothing due for longer than this, everything has begun, and what is rare is over.
const BUSY: Duration = Duration::from_secs(2);

impl System {
    /// Gets everything ready: users looked up, sockets bound, orphans ours.
    pub fn prepare(config: &Config, signals: Signals, passed: Vec<Listener>) -> Result<Self, StartError> {
        let traits = worker_traits(config)?;
        let failed = |what: &str, error: io::Error| StartError::system(format!("{what}: {error}"));
        let poll = Poll::new().map_err(|error| failed("epoll", error))?;
        let watch = |fd: i32, source: Source| {
            poll.registry().register(&mut SourceFd(&fd), source.token(), Interest::READABLE)
        };
        watch(signals.as_raw_fd(), Source::Signals)
            .map_err(|error| failed("signals cannot be watched", error))?;
        let notify = Notify::bind()
            .and_then(|notify| watch(notify.as_raw_fd(), Source::Notifications).map(|()| notify))
            .map_err(|error| failed("there is no notification socket", error))?;
        let sockets = prepare::bind(config, passed)?;
        let (primary, sockets) = prepare::primary(config, &traits, sockets, &poll)?;
        let (doors, control) = control::open(&config.settings)?;
        let server = Server::new(&poll, doors).map_err(|error| failed("clients cannot be watched", error))?;
        if std::process::id() != 1
            && let Err(error) = process::adopt_orphans()
        {
            warn!(error = %error, "orphans cannot be adopted; they go to the init above us");
        }
        Ok(Self {
            performer: Performer::new(config, traits, cgroup::allowed_cores(), sockets, notify.name()),
            primary,
            notify,
            newlines: Newlines::default(),
            changes: config
                .settings
                .reload_on_change
                .as_ref()
                .map(|paths| Changes::watch(&paths.0, poll.registry())),
            announcer: Announcer::new(config.notify_socket.clone()),
            signals,
            poll,
            server,
            _control: control,
            window: Window::new(config),
            groups: OnceCell::new(),
            out_of_memory: OutOfMemory::default(),
            and_suspended: config.terminal,
            reap: true,
            is_lean: false,
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
                self.server.say_last_words(self.clock.now());
                return exit;
            }
            self.wait(&mut events);
            let is_there = |source| events.iter().any(|event| Source::of(event.token()) == source);
            // First: who said something may be about to end, and is looked up among the living.
            if is_there(Source::Notifications) || self.notify.has_unread() {
                self.hear_notifications();
            }
            if is_there(Source::Signals) {
                self.hear_signals();
            }
            self.reap_children();
            self.hear_workers(&events);
            self.hear_clients(&events);
            self.meet_deadline();
        }
    }

    fn groups(&self) -> &Cgroups {
        self.groups.get_or_init(find_groups)
    }

    fn ran_out_of_memory(&mut self) -> bool {
        self.out_of_memory.happened(self.groups.get_or_init(find_groups))
    }

    fn meet_deadline(&mut self) {
        let now = self.clock.now();
        let registry = self.poll.registry();
        if let Some(path) = self.changes.as_mut().and_then(|changes| changes.take(now, registry)) {
            self.turn(Event::Changed(path));
        }
        if let Some((_, why)) = self.supervisor.deadline().filter(|(time, _)| *time <= now) {
            trace!(why, "deadline reached");
            self.turn(Event::DeadlineReached);
        }
    }

    /// When something is due, whatever happens until then.
    fn deadline(&self) -> Option<Time> {
        let supervisor = self.supervisor.deadline().map(|(time, _)| time);
        let changes = self.changes.as_ref().and_then(Changes::deadline);
        supervisor.into_iter().chain(changes).chain(self.server.deadline()).min()
    }

    /// Whether somebody said more than was read, of which nobody tells us a second time.
    fn has_unread(&self) -> bool {
        self.notify.has_unread()
            || self.newlines.has_unread()
            || self.primary.as_ref().is_some_and(Primary::has_unread)
            || self.changes.as_ref().is_some_and(Changes::has_unread)
            || self.server.could_go_on()
    }

    /// Sleeps until something happens or is due.
    fn wait(&mut self, events: &mut Events) {
        if let Some(lull) = self.supervisor.lull() {
            self.signals.wait(lull);
        }
        let timeout = match self.deadline() {
            _ if self.reap || self.has_unread() || self.exit.is_some() => Some(Duration::ZERO),
            Some(time) => Some(time - self.clock.now()),
            None => None,
        };
        if !self.is_lean && timeout.is_none_or(|time| time > BUSY) {
            self.is_lean = true;
            memory::let_go_of_code();
        }
        if let Err(error) = self.poll.poll(events, timeout) {
            // Signals are blocked, so that only a debugger interrupts this; then we go round once more.
            debug!(error = %error, "waiting was interrupted");
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

    fn measure(&mut self, pids: &[Pid]) -> Measurements {
        // Much of our code takes part in it, and in little else.
        self.is_lean = false;
        Measurements {
            cores: self.groups().cores(cgroup::allowed_cores().len()).count,
            memory: readings::memory_of(pids),
            queues: self.performer.sockets.queues(),
        }
    }

    fn spawn(&mut self, spawn: Spawn) -> Event {
        let (event, ends) = self.performer.spawn(spawn);
        if let Event::Spawned { child: Child::Worker(worker), pid } = event {
            if let Some((channel, primary)) = ends.channel.zip(self.primary.as_mut()) {
                primary.join(worker, channel, pid);
            }
            if let Some(end) = ends.newline {
                self.newlines.join(worker, pid, end, self.poll.registry());
            }
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
            Action::Show(worker) => answers.push_back(Event::Shown { worker, status: self.shown() }),
            Action::Measure(pids) => answers.push_back(Event::Measured(self.measure(&pids))),
            Action::Steer(slots) => self.performer.sockets.steer(&slots),
            Action::KeepSlots(count) => self.performer.sockets.keep(count),
            Action::Announce(announcement) => self.announcer.tell(&announcement),
            Action::Answer { client, answer } => self.server.answer(self.clock.now(), client, &answer),
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
