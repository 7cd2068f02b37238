//! What the settings mean together: the mode, the number of workers, and what does not fit.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use super::kinds::{MOST_WORKERS, ModeChoice, Ready, WorkerCount};
use super::settings::{Mistake, Settings};
use super::{Cores, Mode};

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

/// What each setting allows, but not all of them together.
pub fn misfits(settings: &Settings, mode: Mode, workers: u16, has_sockets: bool) -> Vec<Mistake> {
    if matches!(settings.ready, Ready::Listening | Ready::Message) && mode != Mode::Cluster {
        return vec![("ready", format!("in mode {} nobody says so", mode.name()))];
    }
    let complaint = match mode {
        Mode::Inherit | Mode::Reuseport if !has_sockets => {
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
