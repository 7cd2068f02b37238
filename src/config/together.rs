//! What the settings mean together: the mode, the number of workers, and what does not fit.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::time::Duration;

use super::kinds::{Balance, MOST_WORKERS, ModeChoice, Ready, RestartChoice, WorkerCount};
use super::limits::Size;
use super::settings::{Mistake, Settings};
use super::{Cores, Mode, Readiness, Restart, Word};

/// How workers get their connections.
pub fn mode(settings: &Settings, has_sockets: bool, program: &OsStr) -> Mode {
    match settings.mode {
        ModeChoice::Auto if base_name(program) == "node" => Mode::Cluster,
        ModeChoice::Cluster => Mode::Cluster,
        ModeChoice::Auto if has_sockets => Mode::Inherit,
        ModeChoice::Auto if settings.first_port.is_some() => Mode::Ports,
        ModeChoice::Auto | ModeChoice::Plain => Mode::Plain,
        ModeChoice::Inherit => Mode::Inherit,
        ModeChoice::Reuseport => Mode::Reuseport,
        ModeChoice::Ports => Mode::Ports,
    }
}

fn base_name(program: &OsStr) -> &str {
    Path::new(program).file_name().and_then(OsStr::to_str).unwrap_or_default()
}

/// A word of advice for commands that put another process in front of the program: it would take the channel.
pub fn wrapper(command: &[OsString], mode: Mode) -> Option<String> {
    let name = base_name(&command[0]);
    let is_wrapper = ["npm", "npx", "yarn", "yarnpkg", "pnpm", "pnpx"].contains(&name);
    let watches = name == "node"
        && command.iter().any(|word| word.to_str().is_some_and(|word| word.starts_with("--watch")));
    match mode {
        Mode::Cluster | Mode::Plain if is_wrapper => Some(format!(
            "{name} puts another process in front of the program; write what it starts, like: allcores node server.js"
        )),
        Mode::Cluster if watches => {
            Some("node --watch puts another process in front of the program; leave --watch out".to_owned())
        }
        Mode::Cluster | Mode::Inherit | Mode::Reuseport | Mode::Ports | Mode::Plain => None,
    }
}

/// Which deaths are followed by a new worker.
pub fn restart(settings: &Settings, single_plain: bool) -> Restart {
    match settings.restart {
        RestartChoice::Auto if single_plain => Restart::Never,
        RestartChoice::Auto | RestartChoice::Always => Restart::Always,
        RestartChoice::OnFailure => Restart::OnFailure,
        RestartChoice::Never => Restart::Never,
    }
}

/// When a worker is ready.
pub fn ready(settings: &Settings, mode: Mode) -> Readiness {
    match settings.ready {
        Ready::Auto if mode == Mode::Cluster => Readiness::Word(Word::Any),
        Ready::Auto => Readiness::Alive(Duration::from_secs(1)),
        Ready::Alive(time) => Readiness::Alive(time),
        Ready::Listening => Readiness::Word(Word::Listening),
        Ready::Message => Readiness::Word(Word::Message),
        Ready::Notify => Readiness::Word(Word::Notify),
        Ready::Descriptor(_) => Readiness::Word(Word::Newline),
    }
}

/// Bytes of memory that no worker may stay above.
pub fn max_memory(settings: &Settings, limit: fn() -> u64) -> Option<u64> {
    settings.max_memory.0.map(|size| match size {
        Size::Bytes(bytes) => bytes,
        Size::Percent(percent) => limit() / 100 * u64::from(percent),
    })
}

/// What each setting allows, but not all of them together.
pub fn misfits(settings: &Settings, mode: Mode, workers: u16, sockets: usize) -> Vec<Mistake> {
    if matches!(settings.ready, Ready::Listening | Ready::Message) && mode != Mode::Cluster {
        return vec![("ready", format!("in mode {} nobody says so", mode.name()))];
    }
    let hands_over =
        mode == Mode::Cluster && matches!(settings.balance, Balance::RoundRobin | Balance::SourceIp);
    if settings.max_connections.0.is_some() && !hands_over {
        let complaint = "connections are counted only where they are handed over: mode cluster, with BALANCE round-robin or source-ip";
        return vec![("max_connections", complaint.to_owned())];
    }
    if let Ready::Descriptor(number) = settings.ready {
        let taken = match mode {
            Mode::Cluster => 4,
            Mode::Inherit | Mode::Reuseport => 3 + sockets as u16,
            Mode::Ports | Mode::Plain => 3,
        };
        if number < taken {
            let complaint =
                format!("descriptor {number} is taken by a socket or the channel; take one from {taken} on");
            return vec![("ready", complaint)];
        }
    }
    let complaint = match mode {
        Mode::Inherit | Mode::Reuseport if sockets == 0 => {
            ("listen", format!("mode {} needs sockets, and LISTEN names none", mode.name()))
        }
        Mode::Ports => match settings.first_port {
            None => ("first_port", "mode ports needs it".to_owned()),
            Some(first) if u32::from(first) + u32::from(workers) - 1 > 65535 => {
                ("first_port", format!("{workers} workers from there on would go beyond port 65535"))
            }
            Some(_) => return Vec::new(),
        },
        Mode::Cluster | Mode::Inherit | Mode::Reuseport | Mode::Plain => return Vec::new(),
    };
    vec![complaint]
}

/// How many workers, and why.
pub fn workers(settings: &Settings, mode: Mode, cores: fn() -> Cores) -> (u16, String) {
    match settings.workers {
        WorkerCount::Auto if mode == Mode::Plain => (1, "one in plain".to_owned()),
        WorkerCount::Auto => {
            let Cores { count, why } = cores();
            (count.min(MOST_WORKERS), why)
        }
        WorkerCount::Number(number) => (number, "as set".to_owned()),
        WorkerCount::Share(percent) => {
            let Cores { count, why } = cores();
            let number =
                (u32::from(count) * u32::from(percent)).div_ceil(100).clamp(1, u32::from(MOST_WORKERS));
            (number as u16, format!("{percent}% of {why}"))
        }
    }
}
