//! The servers, where they are installed, and how each is told to take descriptor 3.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::common::must;
use crate::load::Protocol;
use crate::pool::own_address;

const APPS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/servers/apps");
const PHP_SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/servers/apps/index.php");

/// Where the servers are installed, which is done once for all tests.
pub fn installed() -> &'static Path {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("servers");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/servers/setup.sh");
        must(Command::new(script).arg(&directory));
        directory
    })
}

fn path(relative: &str) -> String {
    installed().join(relative).to_str().unwrap().to_owned()
}

/// A server under test, and how it is supervised.
#[derive(Clone)]
pub struct Server {
    pub address: SocketAddr,
    pub protocol: Protocol,
    pub workers: u16,
    pub command: Vec<String>,
    pub settings: Vec<(&'static str, String)>,
    pub environment: Vec<(&'static str, String)>,
}

impl Server {
    fn new(workers: u16, command: &[&str]) -> Self {
        let command = command.iter().map(|word| (*word).to_owned()).collect();
        let settings = vec![("mode", "inherit".to_owned())];
        let (address, protocol) = (own_address(), Protocol::Http);
        Self { address, protocol, workers, command, settings, environment: Vec::new() }
    }

    /// With a setting.
    pub fn set(mut self, name: &'static str, value: &str) -> Self {
        self.settings.retain(|(known, _)| *known != name);
        self.settings.push((name, value.to_owned()));
        self
    }

    /// With a variable.
    pub fn env(mut self, name: &'static str, value: &str) -> Self {
        self.environment.push((name, value.to_owned()));
        self
    }

    /// The same, whose clients keep their connections.
    pub fn keep_alive(self) -> Self {
        Self { protocol: Protocol::KeepAlive, ..self }
    }
}

/// It finds the socket by LISTEN_FDS and LISTEN_PID alone, and says READY=1.
pub fn gunicorn(options: &[&str]) -> Server {
    let gunicorn = path("venv/bin/gunicorn");
    let command = [
        &[gunicorn.as_str(), "--chdir", APPS, "--workers", "1", "--worker-tmp-dir", "/dev/shm"],
        options,
        &["app:wsgi"],
    ];
    Server::new(2, &command.concat())
}

/// It says nothing; the program in it can.
pub fn uvicorn() -> Server {
    let command =
        [&path("venv/bin/uvicorn"), "--app-dir", APPS, "--fd", "3", "--log-level", "warning", "app:asgi"];
    Server::new(3, &command)
}

/// No workers of its own: it serves in the process that we start.
pub fn hypercorn() -> Server {
    let command = [&path("venv/bin/hypercorn"), "--bind", "fd://3", "--workers", "0", "app:asgi"];
    Server::new(2, &command).env("PYTHONPATH", APPS)
}

pub fn node() -> Server {
    Server::new(2, &["node", &format!("{APPS}/server.js")])
}

pub fn go() -> Server {
    Server::new(3, &[&path("go-server")])
}

/// It does not ask LISTEN_FDS; the descriptor is named in its own words.
pub fn puma() -> Server {
    let address = own_address();
    let url = format!("tcp://{address}");
    let command = ["puma", "--bind", &url, "--threads", "2:2", "--quiet", &format!("{APPS}/config.ru")];
    Server { address, ..Server::new(2, &command) }.env("PUMA_INHERIT_0", &format!("3:{url}"))
}

pub fn php_fpm() -> Server {
    let address = own_address();
    let configuration = format!(
        "[global]\nerror_log = /dev/stderr\n[www]\nuser = root\ngroup = root\nlisten = {address}\n\
         pm = static\npm.max_children = 2\nclear_env = no\n"
    );
    let file = installed().join(format!("php-fpm-{}.conf", address.ip()));
    std::fs::write(&file, configuration).unwrap();
    let file = file.to_str().unwrap();
    let command = ["php-fpm8.2", "--nodaemonize", "--allow-to-run-as-root", "--fpm-config", file];
    let server = Server { address, protocol: Protocol::FastCgi(PHP_SCRIPT), ..Server::new(2, &command) };
    server.env("FPM_SOCKETS", &format!("{address}=3"))
}
