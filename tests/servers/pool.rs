//! allcores as PID 1 of a name space of its own, and its workers as we see them from outside.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::Server;
use crate::common::{Program, field, wait_until};
use crate::load::{Load, Protocol, ask};

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
    address: SocketAddr,
    protocol: Protocol,
    kills: Vec<Kill>,
}

impl Pool {
    /// Starts it.
    pub fn start(server: &Server) -> Self {
        let mut unshare = Command::new("unshare");
        unshare.args(["--pid", "--fork", "--mount-proc", "--kill-child", env!("CARGO_BIN_EXE_allcores")]);
        unshare.args(["--mode", server.mode, "--workers", &server.workers.to_string()]);
        unshare.args(["--listen", &server.address.to_string(), "--"]).args(&server.command);
        unshare.envs(server.environment.iter().map(|(name, value)| (name, value)));
        let mut program = Program::start(unshare);
        let supervisor = wait_until("unshare has a child", || {
            assert!(!program.has_ended(), "it could not begin: {:?}", program.lines());
            children(program.pid()).first().copied()
        });
        Self { program, supervisor, address: server.address, protocol: server.protocol, kills: Vec::new() }
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

    /// Waits until all have been reported ready, and the first answer has come.
    pub fn wait_until_serving(&self, workers: u16) {
        for slot in 0..workers {
            self.program.wait_for_line(&["worker ready", &format!(" slot={slot} ")]);
        }
        wait_until("it answers", || ask(self.address, self.protocol).is_ok().then_some(()));
    }

    /// Kills these workers, without waiting for the effect.
    pub fn kill(&mut self, workers: &[WorkerId]) {
        for worker in workers {
            let line = self.program.wait_for_line(&["worker ready", &format!(" worker={worker} ")]);
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
            let death = self.program.wait_for_line(&["worker died", &format!(" worker={worker} ")]);
            assert!(death.contains("signal=KILL") && death.contains("cause=crashed"), "{death}");
            let slot = number(&death, "slot").unwrap();
            let successor = wait_until("the slot has a ready worker again", || {
                let lines = self.program.lines();
                let ready = lines.iter().filter(|line| line.contains("worker ready"));
                let in_slot = ready.filter(|line| number(line, "slot") == Some(slot));
                in_slot.filter_map(|line| number(line, "worker")).find(|candidate| candidate > worker)
            });
            wait_until("the replacement serves", || load.served().contains(&successor).then_some(()));
        }
    }

    /// Asks it to stop: its exit code, and how long that took.
    pub fn stop(&mut self) -> (i32, Duration) {
        let asked = Instant::now();
        kill(Pid::from_raw(self.supervisor), Signal::SIGTERM).unwrap();
        (self.program.wait(), asked.elapsed())
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
