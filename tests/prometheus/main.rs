//! A real Prometheus scrapes a pool under load while workers are killed, rolled and added, and is then asked questions whose
//! answers we know. And `promtool` has nothing to say about what it reads.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a test spawns; a failure is a panic")]

#[path = "../common/mod.rs"]
mod common;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{fs, thread};

use common::{Program, must, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// Installs Prometheus, once. It is an error when it cannot be.
fn installed() {
    static DONE: OnceLock<()> = OnceLock::new();
    DONE.get_or_init(|| {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/install.sh");
        must(Command::new(script).args(["prometheus:prometheus", "python3:python3"]));
    });
}

/// An address of the test's own: all of 127.0.0.0/8 is this machine.
fn own_address(number: u8, port: u16) -> SocketAddr {
    let [high, low] = (std::process::id() as u16).to_be_bytes();
    (Ipv4Addr::new(127, high, low, number), port).into()
}

/// What a server says to one request.
fn ask(address: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer.split_once("\r\n\r\n")?.1.to_owned())
}

/// A pool of the worker in Python, in mode `cluster`.
struct Pool {
    program: Program,
    app: SocketAddr,
    probes: SocketAddr,
}

impl Pool {
    fn start(number: u8) -> Self {
        let (app, probes) = (own_address(number, 8000), own_address(number, 9180));
        let mut command = Command::new(env!("CARGO_BIN_EXE_allcores"));
        command.args(["--mode", "cluster", "--workers", "2", "--control", "off"]);
        command.args(["--http", &probes.to_string(), "--", "python3"]);
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/channel/worker.py"));
        command.env("APP_HOST", app.ip().to_string()).env("APP_PORT", app.port().to_string());
        let pool = Self { program: Program::start(command), app, probes };
        pool.wait_for("worker ready", 2);
        pool
    }

    fn lines_with(&self, what: &str) -> Vec<String> {
        self.program.lines().into_iter().filter(|line| line.contains(what)).collect()
    }

    fn wait_for(&self, what: &str, times: usize) {
        let wanted = format!("{times} times {what:?}");
        wait_until(&wanted, || (self.lines_with(what).len() >= times).then_some(()));
    }

    fn send(&self, signal: Signal) {
        kill(Pid::from_raw(self.program.pid()), signal).unwrap();
    }

    fn metrics(&self) -> String {
        ask(self.probes, "/metrics").unwrap()
    }
}

#[test]
fn promtool_has_nothing_to_say() {
    installed();
    let pool = Pool::start(1);
    ask(pool.app, "/").unwrap();
    let text = wait_until("a loop has answered", || {
        Some(pool.metrics()).filter(|text| text.contains("allcores_worker_event_loop_lag_seconds{"))
    });
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool = promtool.spawn().unwrap();
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let said = promtool.wait_with_output().unwrap();
    let words = String::from_utf8_lossy(&said.stdout) + String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success() && words.is_empty(), "{words}\n{text}");
}

/// Prometheus, scraping one target every second, with its memory in a directory that goes with it.
struct Prometheus {
    _program: Program,
    _directory: tempfile::TempDir,
    address: SocketAddr,
}

impl Prometheus {
    fn scraping(target: SocketAddr) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file: PathBuf = directory.path().join("prometheus.yml");
        let text = format!(
            "global: {{scrape_interval: 1s}}\n\
             scrape_configs: [{{job_name: pool, static_configs: [{{targets: ['{target}']}}]}}]\n"
        );
        fs::write(&file, text).unwrap();
        let address = own_address(3, 9090);
        let argument = |name: &str, value: &Path| format!("--{name}={}", value.display());
        let mut command = Command::new("prometheus");
        command.arg(argument("config.file", &file)).arg(argument("storage.tsdb.path", directory.path()));
        command.arg(format!("--web.listen-address={address}"));
        let program = Program::start(command);
        program.wait_for_line(&["Server is ready to receive web requests"]);
        Self { _program: program, _directory: directory, address }
    }

    /// The value of a query that has one.
    fn value(&self, query: &str) -> Option<f64> {
        let escaped: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let answer = ask(self.address, &format!("/api/v1/query?query={escaped}"))?;
        let answer: Value = serde_json::from_str(answer.get(answer.find('{')?..=answer.rfind('}')?)?).ok()?;
        answer["data"]["result"][0]["value"][1].as_str()?.parse().ok()
    }

    fn comes_to(&self, query: &str, expected: f64) {
        let mut last = None;
        wait_until(&format!("{query} is {expected}, and not what was printed"), || {
            let value = self.value(query);
            if value != last {
                println!("{query} is {value:?}");
                last = value;
            }
            (value == Some(expected)).then_some(())
        });
    }
}

#[test]
fn a_real_prometheus_knows_what_happened() {
    installed();
    let pool = Pool::start(2);
    let prometheus = Prometheus::scraping(pool.probes);
    prometheus.comes_to("up", 1.0);
    let stop = AtomicBool::new(false);
    let served: u32 = thread::scope(|scope| {
        let load = || {
            let mut served = 0;
            while !stop.load(Ordering::Relaxed) {
                served += u32::from(ask(pool.app, "/").is_some_and(|answer| answer.contains("in Python")));
            }
            served
        };
        let clients = [scope.spawn(load), scope.spawn(load)];
        let victim = pool.lines_with("worker ready").first().cloned().unwrap();
        let pid = common::field(&victim, "pid").unwrap().parse().unwrap();
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
        pool.wait_for("worker ready", 3);
        pool.send(Signal::SIGHUP);
        pool.wait_for("reload done", 1);
        pool.send(Signal::SIGTTIN);
        pool.wait_for("worker ready", 6);
        stop.store(true, Ordering::Relaxed);
        clients.into_iter().map(|client| client.join().unwrap()).sum()
    });
    assert!(served > 0);
    for (query, expected) in [
        ("allcores_ready", 1.0),
        ("allcores_workers_wanted", 3.0),
        ("sum(allcores_workers{state=\"ready\"})", 3.0),
        ("sum(allcores_workers)", 3.0),
        ("allcores_restarts_total{cause=\"crashed\"}", 1.0),
        ("allcores_restarts_total{cause=\"stopped\"}", 2.0),
        ("allcores_reloads_total{verdict=\"done\"}", 1.0),
        ("allcores_reloads_total{verdict=\"failed\"}", 0.0),
        ("allcores_signals_total{signal=\"HUP\"}", 1.0),
        ("allcores_signals_total{signal=\"TTIN\"}", 1.0),
        ("allcores_handoffs_pending", 0.0),
        ("count(allcores_worker_cpu_seconds_total > 0)", 3.0),
        ("count(allcores_worker_memory_bytes > 1e6)", 3.0),
        ("count(allcores_worker_event_loop_lag_seconds)", 3.0),
        ("count(allcores_build_info)", 1.0),
    ] {
        prometheus.comes_to(query, expected);
    }
    // A killed worker took what it did not answer: at most as many more as there were clients.
    let taken = prometheus.value("sum(allcores_handoffs_total)").unwrap();
    assert!((f64::from(served)..=f64::from(served + 2)).contains(&taken), "{served} served, {taken} taken");
    prometheus.comes_to("sum(allcores_handoff_seconds_count) - sum(allcores_handoffs_total)", 0.0);
    assert!(prometheus.value("allcores_worker_uptime_seconds{slot=\"0\"}").unwrap() > 0.0);
    assert_eq!(
        prometheus.value("max_over_time(allcores_ready[1m]) - min_over_time(allcores_ready[10s])"),
        Some(0.0)
    );
}
