//! Real servers, unmodified, behind one socket that PID 1 owns: workers are killed under load, and nobody is refused.
//!
//! What a killed worker had in its hands is lost, and nothing else: see [`load::Request::is_excused`].

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test waits, sleeps and spawns; a failure is a panic"
)]

#[path = "../common/mod.rs"]
mod common;
mod fastcgi;
mod load;
mod pool;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use load::{Load, Outcome, Protocol};
use pool::{Pool, own_address};

const APPS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/servers/apps");
/// How often every worker is killed.
const ROUNDS: usize = 3;

/// Where the servers are installed, which is done once for all tests.
fn installed() -> &'static Path {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("servers");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/servers/setup.sh");
        common::must(Command::new(script).arg(&directory));
        directory
    })
}

fn path(relative: &str) -> String {
    installed().join(relative).to_str().unwrap().to_owned()
}

/// A server and how it is told to take descriptor 3.
struct Server {
    address: SocketAddr,
    protocol: Protocol,
    workers: u16,
    mode: &'static str,
    command: Vec<String>,
    environment: Vec<(&'static str, String)>,
}

impl Server {
    fn new(workers: u16, command: &[&str]) -> Self {
        let command = command.iter().map(|word| (*word).to_owned()).collect();
        Self {
            address: own_address(),
            protocol: Protocol::Http,
            workers,
            mode: "inherit",
            command,
            environment: Vec::new(),
        }
    }
}

/// The story that every server is told: one by one and then all at once its workers are killed while clients ask, and
/// in the end it is asked to stop while they still do.
fn survives(server: &Server) {
    installed();
    let mut pool = Pool::start(server);
    pool.wait_until_serving(server.workers);

    let load = Load::start(server.address, server.protocol);
    for _ in 0..ROUNDS {
        for worker in pool.workers() {
            pool.kill(&[worker]);
            pool.wait_until_replaced(&[worker], &load);
        }
    }
    let everybody = pool.workers();
    pool.kill(&everybody);
    pool.wait_until_replaced(&everybody, &load);
    let requests = load.finish();

    let in_hand = pool.kills().len() * load::CLIENTS;
    let failed: Vec<_> = requests.iter().filter(|request| !request.is_ok()).collect();
    println!("{} requests, {} failed, {} kills", requests.len(), failed.len(), pool.kills().len());
    for request in &failed {
        assert_eq!(request.outcome, Outcome::Cut, "nobody is refused, nobody waits in vain");
        assert!(request.is_excused(pool.kills()), "failed, and no worker was killed meanwhile: {request:?}");
    }
    assert!(failed.len() <= in_hand, "{} failed, and {in_hand} can have been in hand", failed.len());

    let load = Load::start(server.address, server.protocol);
    load.wait_for_answer();
    let (code, time) = pool.stop();
    load.finish();
    assert_eq!(code, 0, "a stop that was asked for");
    assert!(time < Duration::from_secs(7), "the stop took {time:?}, nearly the 8 s after which we kill");
}

#[test]
fn gunicorn_loses_only_what_killed_workers_had_in_hand() {
    let gunicorn = path("venv/bin/gunicorn");
    // It finds the socket by LISTEN_FDS and LISTEN_PID alone.
    let command =
        [gunicorn.as_str(), "--chdir", APPS, "--workers", "1", "--worker-tmp-dir", "/dev/shm", "app:wsgi"];
    survives(&Server::new(2, &command));
}

fn uvicorn() -> Server {
    let command =
        [&path("venv/bin/uvicorn"), "--app-dir", APPS, "--fd", "3", "--log-level", "warning", "app:asgi"];
    Server::new(3, &command)
}

#[test]
fn uvicorn_loses_only_what_killed_workers_had_in_hand() {
    survives(&uvicorn());
}

#[test]
fn uvicorn_with_a_queue_for_each_slot_loses_no_more() {
    survives(&Server { mode: "reuseport", ..uvicorn() });
}

#[test]
fn hypercorn_loses_only_what_killed_workers_had_in_hand() {
    let hypercorn = path("venv/bin/hypercorn");
    // No workers of its own: it serves in the process that we start.
    let command = [hypercorn.as_str(), "--bind", "fd://3", "--workers", "0", "app:asgi"];
    let environment = vec![("PYTHONPATH", APPS.to_owned())];
    survives(&Server { environment, ..Server::new(2, &command) });
}

#[test]
fn node_loses_only_what_killed_workers_had_in_hand() {
    survives(&Server::new(2, &["node", &format!("{APPS}/server.js")]));
}

#[test]
fn go_loses_only_what_killed_workers_had_in_hand() {
    survives(&Server::new(3, &[&path("go-server")]));
}

#[test]
fn puma_loses_only_what_killed_workers_had_in_hand() {
    let address = own_address();
    let url = format!("tcp://{address}");
    let command = ["puma", "--bind", &url, "--threads", "2:2", "--quiet", &format!("{APPS}/config.ru")];
    // It does not ask LISTEN_FDS; the descriptor is named in its own words.
    let environment = vec![("PUMA_INHERIT_0", format!("3:{url}"))];
    survives(&Server { address, environment, ..Server::new(2, &command) });
}

#[test]
fn php_fpm_loses_only_what_killed_workers_had_in_hand() {
    let address = own_address();
    let configuration = format!(
        "[global]\nerror_log = /dev/stderr\n[www]\nuser = root\ngroup = root\nlisten = {address}\n\
         pm = static\npm.max_children = 2\nclear_env = no\n"
    );
    let file = installed().join(format!("php-fpm-{}.conf", address.ip()));
    std::fs::write(&file, configuration).unwrap();
    let file = file.to_str().unwrap();
    let command = ["php-fpm8.2", "--nodaemonize", "--allow-to-run-as-root", "--fpm-config", file];
    let environment = vec![("FPM_SOCKETS", format!("{address}=3"))];
    survives(&Server { address, protocol: Protocol::FastCgi, environment, ..Server::new(2, &command) });
}
