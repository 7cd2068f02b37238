//! allcores as PID 1 of a name space of its own, and its workers as we see them from outside.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::common::{Program, field, wait_until};
use crate::load::{Client, Load};
use crate::programs::Server;

const PORT: u16 = 8000;

/// A worker, by its number. Never reused, and in every answer of the apps.
pub type WorkerId = u64;

/// The moment when a worker was killed lies between these two.
#[derive(Clone, Copy, Debug)]
pub struct Kill {
    pub before: Instant,
    pub after: Instant,
}

/// An address that no other test run has: all of 127.0.0.0/8 is this machine.
pub fn own_address() -> SocketAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [high, low] = (std::process::id() as u16).to_be_bytes();
    SocketAddr::from(([127, high, low, NEXT.fetch_add(1, Ordering::Relaxed)], PORT))
}

/// A pool under test.
pub struct Pool {
    program: Program,
    /// PID 1's number out here.
    supervisor: i32,
    kills: Vec<Kill>,
    generation: u64,
}

impl Pool {
    /// Starts it, and waits until all workers are ready, and the first answer has come.
    pub fn start(server: &Server) -> Self {
        let mut unshare = Command::new("unshare");
        unshare.args(["--pid", "--fork", "--mount-proc", "--kill-child", env!("CARGO_BIN_EXE_allcores")]);
        unshare.args(["--workers", &server.workers.to_string(), "--listen", &server.address.to_string()]);
        for (name, value) in &server.settings {
            unshare.args([&format!("--{name}"), value]);
        }
        unshare.arg("--").args(&server.command);
        unshare.envs(server.environment.iter().map(|(name, value)| (name, value)));
        let mut program = Program::start(unshare);
        let supervisor = wait_until("unshare has a child", || {
            assert!(!program.has_ended(), "it could not begin: {:?}", program.lines());
            children(program.pid()).first().copied()
        });
        let pool = Self { program, supervisor, kills: Vec::new(), generation: 1 };
        for slot in 0..server.workers {
            pool.wait_for(&["worker ready", &format!(" slot={slot} ")]);
        }
        let mut client = Client::new(server.address, server.protocol);
        wait_until("it answers", || client.ask("/").is_ok().then_some(()));
        pool
    }

    /// Waits for a line of the log that has all these words in it.
    pub fn wait_for(&self, words: &[&str]) -> String {
        self.program.wait_for_line(words)
    }

    /// How many lines have this in them so far.
    pub fn count(&self, part: &str) -> usize {
        self.program.lines().iter().filter(|line| line.contains(part)).count()
    }

    /// Sends a signal to PID 1.
    pub fn send(&self, signal: Signal) {
        kill(Pid::from_raw(self.supervisor), signal).unwrap();
    }

    /// Asks it to replace all workers. The line that says how that went.
    pub fn reload(&mut self) -> String {
        self.send(Signal::SIGHUP);
        self.verdict()
    }

    /// Waits for the end of the next reload. The line that says how it went.
    pub fn verdict(&mut self) -> String {
        self.generation += 1;
        self.wait_for(&["took=", "reload ", &format!(" generation={} ", self.generation)])
    }

    /// The kills so far.
    pub fn kills(&self) -> &[Kill] {
        &self.kills
    }

    /// The workers that live, by what the log says.
    pub fn workers(&self) -> Vec<WorkerId> {
        let lines = self.program.lines();
        let numbers = |what: &str| -> Vec<WorkerId> {
            lines
                .iter()
                .filter(|line| line.contains(what))
                .filter_map(|line| number(line, "worker"))
                .collect()
        };
        let dead = numbers("worker died");
        numbers("worker ready").into_iter().filter(|worker| !dead.contains(worker)).collect()
    }

    /// Kills these workers, without waiting for the effect.
    pub fn kill(&mut self, workers: &[WorkerId]) {
        for worker in workers {
            let line = self.wait_for(&["worker ready", &format!(" worker={worker} ")]);
            let inside = number(&line, "pid").unwrap();
            let pid = self.outside(inside as i32);
            let before = Instant::now();
            kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
            self.kills.push(Kill { before, after: Instant::now() });
        }
    }

    /// Waits until each one's death was reported, its slot has a ready worker again, and that one has answered clients.
    pub fn wait_until_replaced(&self, workers: &[WorkerId], load: &Load) {
        for worker in workers {
            let death = self.wait_for(&["worker died", &format!(" worker={worker} ")]);
            assert!(death.contains("signal=KILL") && death.contains("cause=crashed"), "{death}");
            let slot = number(&death, "slot").unwrap();
            let successor = wait_until("the slot has a ready worker again", || {
                let lines = self.program.lines();
                let ready = lines.iter().filter(|line| line.contains("worker ready"));
                let in_slot = ready.filter(|line| number(line, "slot") == Some(slot));
                in_slot.filter_map(|line| number(line, "worker")).find(|candidate| candidate > worker)
            });
            load.wait_for_answer_of(successor);
        }
    }

    /// Asks it to stop: its exit code, and how long that took.
    pub fn stop(&mut self) -> (i32, Duration) {
        let asked = Instant::now();
        self.send(Signal::SIGTERM);
        (self.program.wait(), asked.elapsed())
    }

    /// Waits for its end: its exit code.
    pub fn wait(&mut self) -> i32 {
        self.program.wait()
    }

    /// The number out here of PID 1's child that has this number inside.
    fn outside(&self, inside: i32) -> i32 {
        let has_number = |pid: &i32| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
            numbers.and_then(|numbers| numbers.split_whitespace().last()?.parse().ok()) == Some(inside)
        };
        children(self.supervisor).into_iter().find(has_number).unwrap()
    }
}

/// The children of a process with one thread.
fn children(pid: i32) -> Vec<i32> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    list.split_whitespace().filter_map(|child| child.parse().ok()).collect()
}

/// A number of a line of the log.
fn number(line: &str, name: &str) -> Option<u64> {
    field(line, name)?.parse().ok()
}
