//! A story: what happens, and when, on the left; what the supervisor asks for, below. In virtual time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use allcores::cluster::{Effect, Input};
use allcores::config::cli::Invocation;
use allcores::config::kinds::Target;
use allcores::config::{Config, Cores, Mode, Surroundings};
use allcores::exit::ExitStatus;
use allcores::ids::{ClientId, ListenerId, Pid, Slot, WorkerId};
use allcores::signal::Signal;
use allcores::supervisor::Supervisor;
use allcores::supervisor::action::{Action, Notice, Spawn};
use allcores::supervisor::event::{
    Child, Demand, Event, Measurements, Notification, SpawnFailure, SpawnFailureKind,
};
use allcores::supervisor::status::Status;
use allcores::supervisor::time::Time;

use crate::primary;
use crate::transcript::Transcript;

/// A supervisor, a clock that stands until it is told to go, and the transcript.
#[derive(Clone)]
pub struct Story {
    supervisor: Supervisor,
    now: Time,
    alive: BTreeSet<i32>,
    /// Workers whose channel is open, by pid.
    channels: BTreeMap<i32, WorkerId>,
    next_pid: i32,
    failure: Option<SpawnFailureKind>,
    is_cluster: bool,
    transcript: Transcript,
}

/// A configuration from flags, on two cores.
pub fn config(flags: &[(&'static str, &str)]) -> Config {
    let flags = flags.iter().map(|(field, text)| (*field, text.into())).collect();
    let invocation = Invocation { flags, command: vec!["app".into()] };
    let cores = || Cores { count: 2, why: "2 cores".to_owned() };
    let surroundings =
        Surroundings { environment: Vec::new(), pid: 1, cores, memory: || 1 << 30, terminal: true };
    Config::new(invocation, surroundings).unwrap()
}

impl Story {
    /// A story that has not begun.
    pub fn new(flags: &[(&'static str, &str)]) -> Self {
        Self::of(config(flags))
    }

    /// A story that has not begun, below a supervisor that wants to be told.
    pub fn below(flags: &[(&'static str, &str)], socket: &str) -> Self {
        Self::of(Config { notify_socket: Some(socket.into()), ..config(flags) })
    }

    fn of(config: Config) -> Self {
        let is_cluster = config.mode == Mode::Cluster;
        let supervisor = Supervisor::new(config, 1);
        let (now, alive, channels) = (Time::default(), BTreeSet::new(), BTreeMap::new());
        let (next_pid, failure, transcript) = (2, None, Transcript::default());
        Self { supervisor, now, alive, channels, next_pid, failure, is_cluster, transcript }
    }

    /// A pool of two behind a socket that has begun.
    pub fn pool(flags: &[(&'static str, &str)]) -> Self {
        let all: Vec<_> = [("listen", "8080"), ("workers", "2")].iter().chain(flags).copied().collect();
        let mut story = Self::new(&all);
        story.begin();
        story
    }

    /// The system is ready, and nothing more is due.
    pub fn begin(&mut self) {
        self.happens("started", Event::Started);
        self.run_to(self.now);
    }

    /// Time passes; every deadline on the way is met on time.
    pub fn pass(&mut self, millis: u64) {
        let until = self.now + Duration::from_millis(millis);
        self.run_to(until);
        self.now = until;
    }

    fn run_to(&mut self, until: Time) {
        let mut turns = 0;
        while let Some((time, why)) = self.supervisor.deadline().filter(|(time, _)| *time <= until) {
            turns += 1;
            assert!(turns < 100_000, "turns at the deadline make no progress: {why}");
            self.now = self.now.max(time);
            self.happens(why, Event::DeadlineReached);
        }
    }

    /// We are sent a signal.
    pub fn signal(&mut self, name: &str) {
        let signal = Signal::parse(name).unwrap();
        self.happens(name, Event::Signalled(signal));
    }

    /// A child ends with a code, and is reaped.
    pub fn exits(&mut self, pid: i32, code: u8) {
        self.ends(pid, ExitStatus::Code(code), false);
    }

    /// A child is killed by a signal, and is reaped.
    pub fn is_killed(&mut self, pid: i32, name: &str) {
        self.ends(
            pid,
            ExitStatus::Signal { signal: Signal::parse(name).unwrap(), core_dumped: false },
            false,
        );
    }

    /// A child is killed by the kernel for want of memory.
    pub fn is_out_of_memory(&mut self, pid: i32) {
        self.ends(pid, ExitStatus::Signal { signal: Signal::KILL, core_dumped: false }, true);
    }

    /// A worker writes lines to its channel.
    pub fn says(&mut self, worker: u64, lines: &str) {
        let bytes = format!("{lines}\n").into_bytes();
        let input = Input::Read { worker: WorkerId(worker), bytes, descriptors: Vec::new() };
        self.happens(&format!("worker {worker} writes"), Event::Cluster(input));
        self.run_to(self.now);
    }

    /// A client connects to a listener of the cluster.
    pub fn client(&mut self, listener: u32) {
        self.happens("a client", Event::Cluster(Input::Readable(ListenerId(listener))));
    }

    /// A worker's channel ends, and its process lives.
    pub fn channel_ends(&mut self, worker: u64) {
        self.channels.retain(|_, open| *open != WorkerId(worker));
        self.happens(&format!("channel of {worker} ends"), Event::Cluster(Input::Ended(WorkerId(worker))));
        self.run_to(self.now);
    }

    fn ends(&mut self, pid: i32, status: ExitStatus, out_of_memory: bool) {
        self.alive.remove(&pid);
        if let Some(worker) = self.channels.remove(&pid) {
            self.happens(&format!("channel of {worker} ends"), Event::Cluster(Input::Ended(worker)));
        }
        let event = Event::Exited { pid: Pid::new(pid).unwrap(), status, out_of_memory };
        self.happens(&format!("{pid} ends: {status}"), event);
        self.reaped();
        self.run_to(self.now);
    }

    /// An orphan comes to us.
    pub fn adopts(&mut self, pid: i32) {
        self.alive.insert(pid);
    }

    /// The terminal's user suspends the worker.
    pub fn is_suspended(&mut self, pid: i32) {
        self.happens(&format!("{pid} is suspended"), Event::Suspended { pid: Pid::new(pid).unwrap() });
    }

    /// Somebody asks for something.
    pub fn demands(&mut self, client: u64, demand: Demand) {
        self.happens(&format!("client {client} asks"), Event::Demanded { client: ClientId(client), demand });
        self.run_to(self.now);
    }

    /// A process says something to the notification socket; who is above it, nearest first.
    pub fn notifies(&mut self, lineage: &[i32], words: Vec<Notification>) {
        let lineage: Vec<_> = lineage.iter().filter_map(|pid| Pid::new(*pid)).collect();
        self.happens(&format!("{} notifies", lineage[0]), Event::Notified { lineage, words });
        self.run_to(self.now);
    }

    /// What was to be read was read.
    pub fn is_measured(&mut self, cores: u16, memory: &[(i32, u64)]) {
        let memory = memory.iter().filter_map(|(pid, bytes)| Some((Pid::new(*pid)?, *bytes))).collect();
        self.happens("measured", Event::Measured(Measurements { cores, memory, queues: Vec::new() }));
        self.run_to(self.now);
    }

    /// Somebody looks at what workers do.
    pub fn is_looked_at(&mut self) {
        self.happens("looked", Event::Looked);
    }

    /// So many connections wait in each slot's queue.
    pub fn queues_are(&mut self, depths: &[u32]) {
        let queues = (0..).map(Slot).zip(depths.iter().copied()).collect();
        self.happens("measured", Event::Measured(Measurements { cores: 2, memory: Vec::new(), queues }));
        self.run_to(self.now);
    }

    /// What was told so far.
    pub fn transcript(&self) -> &str {
        self.transcript.text()
    }

    /// The picture of this moment.
    pub fn status(&self) -> Status {
        self.supervisor.status(self.now)
    }

    /// From now on nothing can be started.
    pub fn cannot_start(&mut self, kind: SpawnFailureKind) {
        self.failure = Some(kind);
    }

    /// From now on everything can be started.
    pub fn can_start(&mut self) {
        self.failure = None;
    }

    fn reaped(&mut self) {
        let children_left = !self.alive.is_empty();
        self.quietly(Event::Reaped { children_left });
    }

    fn happens(&mut self, what: &str, event: Event) {
        self.transcript.tell(self.now, what);
        self.quietly(event);
    }

    fn quietly(&mut self, event: Event) {
        for action in self.supervisor.handle(self.now, event) {
            if let Some(line) = line(&action) {
                self.transcript.then(&line);
            }
            match action {
                Action::Spawn(spawn) => self.answer_spawn(spawn),
                Action::Reap => self.reaped(),
                Action::Cluster(effect) => self.do_in_cluster(&effect),
                Action::Show(worker) => self.quietly(Event::Shown { worker, status: "{}".to_owned() }),
                Action::Signal { .. }
                | Action::SignalDescendants(_)
                | Action::GiveTerminal(_)
                | Action::Suspend
                | Action::Report(_)
                | Action::Answer { .. }
                | Action::Measure(_)
                | Action::Steer(_)
                | Action::KeepSlots(_)
                | Action::Announce(_)
                | Action::Exit(_) => {}
            }
        }
    }

    fn do_in_cluster(&mut self, effect: &Effect) {
        if let Some(answer) = primary::answer_to(effect) {
            self.quietly(Event::Cluster(answer));
        }
        if let Effect::EndChannel { worker, .. } = effect {
            self.channel_ends(worker.0);
        }
    }

    fn answer_spawn(&mut self, spawn: Spawn) {
        let child = spawn.child();
        if let Some(kind) = self.failure {
            let failure = SpawnFailure { kind, reason: format!("{kind:?}") };
            return self.quietly(Event::SpawnFailed { child, failure });
        }
        let pid = self.next_pid;
        self.next_pid += 1;
        self.alive.insert(pid);
        if let (true, Child::Worker(worker)) = (self.is_cluster, child) {
            self.channels.insert(pid, worker);
        }
        self.quietly(Event::Spawned { child, pid: Pid::new(pid).unwrap() });
    }

    /// Forgets what was told so far: the test is about what follows.
    pub fn chapter(&mut self) {
        self.transcript.clear();
    }

    /// The story went like this.
    #[track_caller]
    pub fn went(&self, expected: &str) {
        self.transcript.must_be(expected);
    }
}

/// An action as a line; what only repeats an event is left out.
fn line(action: &Action) -> Option<String> {
    Some(match action {
        Action::Spawn(Spawn::Prestart) => "start PRESTART".to_owned(),
        Action::Spawn(Spawn::Worker { worker, slot, .. }) => format!("start worker {worker} in slot {slot}"),
        Action::Signal { pid, signal, target: Target::Process } => format!("{signal} to {pid}"),
        Action::Signal { pid, signal, target: Target::Group } => format!("{signal} to group {pid}"),
        Action::SignalDescendants(signal) => format!("{signal} to all descendants"),
        Action::Reap => "reap".to_owned(),
        Action::Cluster(effect) => primary::told(effect),
        Action::GiveTerminal(pid) => format!("terminal to {pid}"),
        Action::Suspend => "suspend ourselves".to_owned(),
        Action::Answer { client, answer } => format!("to client {}: {answer:?}", client.0),
        Action::Show(worker) => format!("show worker {worker} the status"),
        Action::Measure(pids) => {
            format!("measure {}", pids.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
        }
        Action::Steer(slots) => {
            format!("steer to {}", slots.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
        }
        Action::KeepSlots(count) => format!("keep {count} slots"),
        Action::Announce(announcement) => format!("announce {announcement:?}"),
        Action::Exit(exit) => format!("exit {}: {}", exit.code, exit.reason),
        Action::Report(notice) => return told(notice),
    })
}

fn told(notice: &Notice) -> Option<String> {
    Some(match notice {
        Notice::Ready { worker, .. } => format!("worker {worker} is ready"),
        Notice::NotReady { worker, after, .. } => {
            format!("worker {worker} is not ready after {}ms", after.as_millis())
        }
        Notice::Died(death) => format!("worker {} {}", death.worker, death.cause.name()),
        Notice::SpawnFailed { child, .. } => format!("{child:?} cannot be started"),
        Notice::Resting { slot, delay, failures } => {
            format!("slot {slot} rests {}ms, failures: {failures}", delay.as_millis())
        }
        Notice::Draining { delay, .. } => format!("draining for {}ms", delay.as_millis()),
        Notice::Immortal => "something survived".to_owned(),
        Notice::Ignored(signal) => format!("{signal} means nothing"),
        Notice::Hung { worker, silent, .. } => {
            format!("worker {worker} is hung, silent for {}ms", silent.as_millis())
        }
        Notice::Reloading { generation, workers } => {
            format!("reload to generation {generation}: {workers} workers")
        }
        Notice::Reloaded { verdict, reason, .. } => format!("reload {}: {reason}", verdict.name()),
        Notice::Recycling { slot, limit } => format!("slot {slot} came to {}", limit.name()),
        Notice::ReplacementFailed { slot, reason } => format!("replacement in slot {slot} failed: {reason}"),
        Notice::Scaled { from, to, why } => format!("scaled from {from} to {to} {why}"),
        Notice::Refused { what, reason } => format!("{what} refused: {reason}"),
        Notice::Stalled { slot, waiting } => format!("slot {slot} does not accept, {waiting} wait"),
        Notice::Accepting(slot) => format!("slot {slot} accepts again"),
        Notice::Changed(path) => format!("{} changed", path.display()),
        Notice::Stranger(_) => "notified by a stranger".to_owned(),
        Notice::MainPid { worker, pid, is_its_own } => {
            format!("worker {worker} names main process {pid}, its own: {is_its_own}")
        }
        Notice::Started { .. }
        | Notice::PrestartEnded(_)
        | Notice::Stopping { .. }
        | Notice::StoppingDescendants
        | Notice::Killing { .. }
        | Notice::Available { .. }
        | Notice::Unavailable { .. }
        | Notice::Forwarded { .. } => return None,
    })
}
