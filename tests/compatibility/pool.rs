//! A program on several workers, under one primary or the other, and what it says.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener};
use std::process::Command;
use std::sync::atomic::{AtomicU8, AtomicU16, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::common::{Program, field, wait_until};

/// Who plays the primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Primary {
    /// Node itself.
    Nodes,
    /// allcores.
    Ours,
}

/// Both, one after the other.
pub const BOTH: [Primary; 2] = [Primary::Nodes, Primary::Ours];

/// An address that no other test has: all of 127.0.0.0/8 is this machine.
pub fn own_address() -> SocketAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [high, low] = (std::process::id() as u16).to_be_bytes();
    SocketAddr::from(([127, high, low, NEXT.fetch_add(1, Ordering::Relaxed)], 8000))
}

/// A port that nobody has at any address, for what is bound at all of them. Below those that the kernel gives to clients.
pub fn own_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    wait_until("a port is free", || {
        let number = (std::process::id() as u16).wrapping_mul(31) + NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 20_000 + number % 12_000;
        TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).ok().map(|_| port)
    })
}

/// A program that is to be started.
#[derive(Clone, Debug)]
pub struct Launch {
    app: &'static str,
    node: u8,
    workers: usize,
    environment: Vec<(String, String)>,
    settings: Vec<String>,
}

impl Launch {
    /// This file of `apps/` on so many workers.
    pub fn new(app: &'static str, workers: usize) -> Self {
        let modules = crate::installed().join("packages/node_modules");
        let environment = vec![("NODE_PATH".to_owned(), modules.to_str().unwrap().to_owned())];
        Self { app, node: crate::NODE, workers, environment, settings: Vec::new() }
    }

    /// The same, listening here.
    pub fn at(self, address: SocketAddr) -> Self {
        self.env("TEST_HOST", &address.ip().to_string()).env("TEST_PORT", &address.port().to_string())
    }

    /// With this version of Node.
    pub fn node(self, node: u8) -> Self {
        Self { node, ..self }
    }

    /// With a variable.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With a setting, which only ours knows.
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.settings.extend([format!("--{name}"), value.to_owned()]);
        self
    }

    /// Starts it.
    pub fn start(&self, primary: Primary) -> Pool {
        let (node, app, workers) = (crate::node(self.node), crate::app(self.app), self.workers.to_string());
        let mut command = match primary {
            Primary::Nodes => {
                let mut command = Command::new(node);
                command.args([&crate::app("primary.js"), &workers, &app]);
                command
            }
            Primary::Ours => {
                let mut command = Command::new(env!("CARGO_BIN_EXE_allcores"));
                command.args(["--log", "debug", "-n", &workers]).args(&self.settings);
                command.arg("--").arg(node).arg(app);
                command
            }
        };
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        Pool { program: Program::start(command), primary }
    }

    /// Starts it, and waits until all workers listen.
    pub fn serve(&self, primary: Primary) -> Pool {
        let pool = self.start(primary);
        pool.seen_all("listening", self.workers);
        if primary == Primary::Ours {
            // What workers said was heard as well.
            wait_until("all are ready", || {
                assert!(!pool.has_ended(), "{}", pool.text());
                (pool.lines_with("worker ready") >= self.workers).then_some(())
            });
        }
        pool
    }
}

/// What runs. Dropping it kills the primary, and its workers die of that.
pub struct Pool {
    pub program: Program,
    pub primary: Primary,
}

impl Pool {
    /// What the programs have said so far with this word in it.
    pub fn seen(&self, word: &str) -> Vec<Value> {
        let lines = self.program.lines();
        let said = lines.iter().filter_map(|line| line.strip_prefix("SEEN "));
        let said = said.map(|text| serde_json::from_str::<Value>(text).unwrap());
        said.filter(|value| value.get(word).is_some()).collect()
    }

    /// Waits until they have said it so many times.
    pub fn seen_all(&self, word: &str, count: usize) -> Vec<Value> {
        let deadline = Instant::now() + Duration::from_secs(15);
        loop {
            let seen = self.seen(word);
            if seen.len() >= count {
                return seen;
            }
            assert!(
                Instant::now() < deadline && !self.has_ended(),
                "{:?}: no {count} '{word}' in:\n{}",
                self.primary,
                self.text()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn has_ended(&self) -> bool {
        is_gone(self.program.pid())
    }

    /// Everything that was written.
    pub fn text(&self) -> String {
        self.program.lines().join("\n")
    }

    /// How many lines have this in them.
    pub fn lines_with(&self, part: &str) -> usize {
        self.program.lines().iter().filter(|line| line.contains(part)).count()
    }

    /// The workers that live: children of the primary.
    pub fn workers(&self) -> BTreeSet<i32> {
        children(self.program.pid())
    }

    /// Waits until the primary says that somebody died.
    pub fn wait_for_death(&self) -> String {
        self.program.wait_for_line(&["worker died"])
    }

    /// Sends a signal to the primary.
    pub fn send(&self, signal: Signal) {
        send(self.program.pid(), signal);
    }

    /// Asks it to stop: its exit code, and how long that took.
    pub fn stop(&mut self) -> (i32, Duration) {
        let asked = Instant::now();
        self.send(Signal::SIGTERM);
        (self.program.wait(), asked.elapsed())
    }

    /// What the primary and nobody else has used of the processor.
    pub fn processor_time(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.program.pid())).unwrap();
        let (_, rest) = stat.rsplit_once(')').unwrap();
        let ticks: u64 =
            rest.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum();
        Duration::from_millis(ticks * 10)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{:?}:\n{}", self.primary, self.text());
        }
    }
}

/// Sends a signal to a process of ours.
pub fn send(pid: i32, signal: Signal) {
    kill(Pid::from_raw(pid), signal).unwrap();
}

/// A process has ended, or waits to be reaped.
pub fn is_gone(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z'))
}

/// The cause in a death's line.
pub fn cause(line: &str) -> Option<&str> {
    field(line, "cause")
}

/// An address without its port, as Node writes it.
pub fn host(address: SocketAddr) -> String {
    match address.ip() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => address.to_string(),
    }
}

fn children(pid: i32) -> BTreeSet<i32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<_>>())
        .collect()
}
