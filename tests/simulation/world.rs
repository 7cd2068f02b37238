//! The fake kernel: processes that are born, take signals, die, stay zombies until they are reaped, and whose pids are
//! used again as soon as they are free.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use allcores::cluster::{Effect, Input};
use allcores::config::cli::Invocation;
use allcores::config::kinds::Target;
use allcores::config::{Config, Cores, Surroundings};
use allcores::exit::{Exit, ExitStatus};
use allcores::ids::{ClientId, Pid, Slot, WorkerId};
use allcores::signal::Signal;
use allcores::supervisor::Supervisor;
use allcores::supervisor::action::{Action, Answer, Spawn};
use allcores::supervisor::event::{
    Child, Demand, Event, Measurements, Notification, SpawnFailure, SpawnFailureKind,
};
use allcores::supervisor::time::Time;

use crate::laws::Laws;

/// What a process is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Worker(WorkerId, Slot),
    Prestart,
    Orphan,
}

/// What a process does when it is asked to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manners {
    Obeys,
    Ignores,
    /// The kernel holds it: not even KILL ends it.
    Undying,
}

#[derive(Clone, Debug)]
pub struct Process {
    pub role: Role,
    pub manners: Manners,
    /// Set when it is dead and not reaped.
    pub zombie: Option<ExitStatus>,
    /// Whether nobody told it to die.
    pub of_itself: bool,
}

/// The kernel, the supervisor, and the clock.
#[derive(Clone, Debug)]
pub struct World {
    pub supervisor: Supervisor,
    pub now: Time,
    pub processes: BTreeMap<i32, Process>,
    pub exit: Option<Exit>,
    /// How the next processes behave.
    pub manners: Manners,
    /// Why the next process cannot be started.
    pub spawn_failure: Option<SpawnFailureKind>,
    /// What the next reading of cores and memory gives.
    pub cores: u16,
    pub memory: u64,
    /// Who asked and was not answered.
    pub waiting: BTreeSet<u64>,
    next_client: u64,
    laws: Laws,
    turns_at_this_time: u32,
    reap: bool,
}

/// A configuration from flags.
pub fn config(flags: &[(&'static str, &str)]) -> Config {
    let flags = flags.iter().map(|(field, text)| (*field, text.into())).collect();
    let cores = || Cores { count: 2, why: String::new() };
    let surroundings =
        Surroundings { environment: Vec::new(), pid: 1, cores, memory: || 1 << 30, terminal: false };
    Config::new(Invocation { flags, command: vec!["app".into()] }, surroundings).unwrap()
}

impl World {
    pub fn new(config: Config, seed: u64) -> Self {
        Self {
            laws: Laws::new(&config),
            supervisor: Supervisor::new(config, seed),
            now: Time::default(),
            processes: BTreeMap::new(),
            exit: None,
            manners: Manners::Obeys,
            spawn_failure: None,
            cores: 2,
            memory: 0,
            waiting: BTreeSet::new(),
            next_client: 1,
            turns_at_this_time: 0,
            reap: false,
        }
    }

    /// The system is ready; what is due at once happens.
    pub fn start(&mut self) {
        self.turn(Event::Started);
        while self.supervisor.deadline().is_some_and(|(time, _)| time <= self.now) {
            self.pass(Duration::ZERO);
        }
    }

    pub fn signal(&mut self, signal: Signal) {
        self.laws.signalled(signal, self.now);
        self.turn(Event::Signalled(signal));
    }

    /// A process comes to be an orphan of ours.
    pub fn adopt(&mut self) {
        let pid = self.free_pid();
        self.processes.insert(
            pid,
            Process { role: Role::Orphan, manners: self.manners, zombie: None, of_itself: false },
        );
    }

    /// A living process dies; nobody notices yet.
    pub fn die(&mut self, pid: i32, status: ExitStatus) {
        let process = self.processes.get_mut(&pid).unwrap();
        assert!(process.zombie.is_none(), "the dead do not die");
        process.of_itself = true;
        process.zombie = Some(status);
    }

    /// Living processes, by pid.
    pub fn living(&self) -> Vec<i32> {
        self.processes.iter().filter(|(_, process)| process.zombie.is_none()).map(|(pid, _)| *pid).collect()
    }

    /// SIGCHLD is heard: everything that can be reaped is, each dealt with before the next.
    pub fn reap(&mut self) {
        while let Some(pid) =
            self.processes.iter().find(|(_, process)| process.zombie.is_some()).map(|(pid, _)| *pid)
        {
            if self.processes[&pid].of_itself {
                self.laws.is_excused();
            }
            if let Role::Worker(id, _) = self.processes[&pid].role {
                // In a cluster its channel has been read to its end before.
                self.turn(Event::Cluster(Input::Ended(id)));
            }
            let process = self.processes.remove(&pid).unwrap();
            if process.of_itself {
                self.laws.is_excused();
            }
            let event = Event::Exited {
                pid: Pid::new(pid).unwrap(),
                status: process.zombie.unwrap(),
                out_of_memory: false,
            };
            self.turn(event);
        }
        self.turn(Event::Reaped { children_left: !self.processes.is_empty() });
    }

    /// A worker of a cluster writes to its channel.
    pub fn says(&mut self, worker: WorkerId, line: &str) {
        let bytes = format!("{line}\n").into_bytes();
        self.turn(Event::Cluster(Input::Read { worker, bytes, descriptors: Vec::new() }));
    }

    /// A worker's channel ends, and its process lives.
    pub fn is_mute(&mut self, worker: WorkerId) {
        self.laws.is_excused();
        self.turn(Event::Cluster(Input::Ended(worker)));
    }

    /// Somebody asks for something, and waits.
    pub fn demands(&mut self, demand: Demand) {
        let client = self.next_client;
        self.next_client += 1;
        self.waiting.insert(client);
        self.turn(Event::Demanded { client: ClientId(client), demand });
    }

    /// A process says something to the notification socket.
    pub fn notifies(&mut self, pid: i32, word: Notification) {
        if matches!(word, Notification::Stopping | Notification::Hung) {
            self.laws.is_excused();
        }
        self.turn(Event::Notified { lineage: vec![Pid::new(pid).unwrap()], words: vec![word] });
    }

    /// Workers whose process lives.
    pub fn workers(&self) -> Vec<WorkerId> {
        let living = self.processes.values().filter(|process| process.zombie.is_none());
        living
            .filter_map(|process| match process.role {
                Role::Worker(id, _) => Some(id),
                Role::Prestart | Role::Orphan => None,
            })
            .collect()
    }

    /// Time passes, to the next deadline at the latest; if it comes to that, it is met.
    pub fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        match self.supervisor.deadline() {
            Some((deadline, why)) if deadline <= until => {
                if deadline > self.now {
                    self.turns_at_this_time = 0;
                }
                self.turns_at_this_time += 1;
                assert!(self.turns_at_this_time < 1000, "turns at the deadline make no progress: {why}");
                self.now = self.now.max(deadline);
                self.turn(Event::DeadlineReached);
            }
            Some(_) | None => {
                self.now = until;
                self.turns_at_this_time = 0;
            }
        }
    }

    /// Nothing goes wrong any more: the dead are reaped at once and time passes, until we leave or `time` is over.
    pub fn settle(&mut self, time: Duration) {
        let until = self.now + time;
        self.reap();
        while self.exit.is_none() && self.now < until {
            self.pass(until - self.now);
            self.reap();
        }
    }

    fn turn(&mut self, event: Event) {
        let mut next = Some(event);
        while let Some(event) = next.take() {
            if self.exit.is_some() {
                return;
            }
            let actions = self.supervisor.handle(self.now, event.clone());
            self.laws.event(&event);
            for action in actions {
                assert!(self.exit.is_none(), "{action:?} after the exit");
                self.laws.action(&action, self.now, &self.processes, &self.supervisor);
                let answer = self.perform(action);
                assert!(answer.is_none() || next.is_none(), "one answer at a time");
                next = next.or(answer);
            }
            self.laws.state(&self.supervisor, self.now, &self.processes, next.is_some());
        }
        if std::mem::take(&mut self.reap) {
            self.reap();
        }
    }

    fn perform(&mut self, action: Action) -> Option<Event> {
        match action {
            Action::Spawn(spawn) => return Some(self.spawn(spawn)),
            Action::Signal { pid, signal, target: Target::Process | Target::Group } => {
                self.deliver(pid.raw(), signal)
            }
            Action::SignalDescendants(signal) => {
                for pid in self.living() {
                    self.deliver(pid, signal);
                }
            }
            Action::Reap => self.reap = true,
            Action::Cluster(effect) => self.leaves(&effect),
            Action::Exit(exit) => self.exit = Some(exit),
            Action::Answer { answer: Answer::Progress(_), client } => {
                assert!(self.waiting.contains(&client.0), "progress for one who was answered");
            }
            Action::Answer { answer: Answer::Done(_) | Answer::Failed(_), client } => {
                assert!(self.waiting.remove(&client.0), "{client:?} is answered twice");
            }
            Action::Show(worker) => return Some(Event::Shown { worker, status: "{}".to_owned() }),
            Action::Measure(pids) => {
                let memory = pids.into_iter().map(|pid| (pid, self.memory)).collect();
                return Some(Event::Measured(Measurements { cores: self.cores, memory, queues: Vec::new() }));
            }
            Action::Steer(_)
            | Action::KeepSlots(_)
            | Action::Announce(_)
            | Action::GiveTerminal(_)
            | Action::Suspend
            | Action::Report(_) => {}
        }
        None
    }

    /// A Node worker that is told to leave does, if it has manners.
    fn leaves(&mut self, effect: &Effect) {
        let Effect::Send { worker, line, .. } = effect else { return };
        assert!(line.contains("disconnect"), "{line}");
        let leaving = self
            .processes
            .values_mut()
            .find(|process| matches!(process.role, Role::Worker(id, _) if id == *worker))
            .unwrap();
        if leaving.manners == Manners::Obeys && leaving.zombie.is_none() {
            leaving.zombie = Some(ExitStatus::Code(0));
        }
    }

    fn deliver(&mut self, pid: i32, signal: Signal) {
        let process = self.processes.get_mut(&pid).unwrap();
        let ends = match process.manners {
            Manners::Obeys => true,
            Manners::Ignores => signal == Signal::KILL,
            Manners::Undying => false,
        };
        if ends && process.zombie.is_none() {
            process.zombie = Some(ExitStatus::Signal { signal, core_dumped: false });
            // Whoever forwards a signal does not mean to end anybody.
            process.of_itself = ![Signal::TERM, Signal::ABRT, Signal::KILL].contains(&signal);
        }
    }

    fn spawn(&mut self, spawn: Spawn) -> Event {
        let child = spawn.child();
        if let Some(kind) = self.spawn_failure {
            return Event::SpawnFailed { child, failure: SpawnFailure { kind, reason: "no".to_owned() } };
        }
        let pid = self.free_pid();
        let role = match (spawn, child) {
            (Spawn::Worker { worker, slot, .. }, _) => Role::Worker(worker, slot),
            (Spawn::Prestart, Child::Prestart | Child::Worker(_)) => Role::Prestart,
        };
        self.processes.insert(pid, Process { role, manners: self.manners, zombie: None, of_itself: false });
        Event::Spawned { child, pid: Pid::new(pid).unwrap() }
    }

    /// The lowest free number: what was reaped a moment ago is somebody else at once.
    fn free_pid(&self) -> i32 {
        (2..).find(|pid| !self.processes.contains_key(pid)).unwrap()
    }
}
