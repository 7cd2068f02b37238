//! The contract with whoever deploys us: what was asked for, made valid, or everything that is wrong with it.
//!
//! Decides what the settings mean together (the mode, how many workers, whether they restart). Refuses to know
//! sockets, processes and the clock; after it, nothing looks at the environment again.

pub mod address;
pub mod cli;
pub mod environment;
pub mod kinds;
pub mod limits;
mod nearest;
pub mod report;
pub mod settings;
mod texts;
mod together;
pub mod value;

pub use texts::Source;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use cli::Invocation;
use environment::Environment;
use kinds::Balance;
use settings::{PREFIX, Settings};
use texts::Texts;
use value::Tristate;

/// How workers get their connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// We are the cluster primary of Node programs.
    Cluster,
    /// All workers share the sockets that we bound.
    Inherit,
    /// Each slot has sockets of its own, and the kernel spreads connections over them.
    Reuseport,
    /// Each worker binds `PORT`.
    Ports,
    /// We have nothing to do with connections.
    Plain,
}

impl Mode {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::Inherit => "inherit",
            Self::Reuseport => "reuseport",
            Self::Ports => "ports",
            Self::Plain => "plain",
        }
    }
}

/// Which deaths are followed by a new worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// All.
    Always,
    /// Those with a code other than 0.
    OnFailure,
    /// None.
    Never,
}

/// When a worker is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// When it has lived for this long.
    Alive(Duration),
    /// When it says so.
    Word(Word),
}

/// What a worker says when it is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// That a server of its listens.
    Listening,
    /// `ready`, through its channel.
    Message,
    /// Either of these two.
    Any,
    /// `READY=1`, which always counts.
    Notify,
    /// A newline on the descriptor that was agreed on.
    Newline,
}

/// The cores that the container really has, and how we know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cores {
    /// At least 1.
    pub count: u16,
    /// A phrase for people.
    pub why: String,
}

/// What we find, as values.
pub struct Surroundings {
    /// Our environment.
    pub environment: Vec<(OsString, OsString)>,
    /// Our pid.
    pub pid: u32,
    /// Finds the container's cores, if anybody asks: it takes a while.
    pub cores: fn() -> Cores,
    /// Finds the container's memory limit in bytes, or else what the machine has, if anybody asks.
    pub memory: fn() -> u64,
    /// Whether we are the foreground of a terminal, and so may hand it on.
    pub terminal: bool,
}

/// One thing that is wrong with a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The variable's name.
    pub variable: String,
    /// Its text.
    pub value: String,
    /// What is wrong in particular, or empty.
    pub complaint: String,
    /// What would be right.
    pub expected: String,
    /// A text that would be accepted.
    pub example: String,
}

/// Why there is no valid configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// Everything that is wrong; never empty.
    pub problems: Vec<Problem>,
    /// What is odd beside it.
    pub warnings: Vec<String>,
    /// Where the reason of the end goes even now.
    pub termination_log: Option<PathBuf>,
}

/// Everything that was asked for, valid.
#[derive(Clone, Debug)]
pub struct Config {
    /// COMMAND and its arguments; never empty.
    pub command: Vec<OsString>,
    /// The settings as they were asked for.
    pub settings: Settings,
    /// How workers get their connections.
    pub mode: Mode,
    /// How many workers there are, at least 1.
    pub workers: u16,
    /// Why that many.
    pub workers_why: String,
    /// Which deaths are followed by a new worker.
    pub restart: Restart,
    /// When a worker is ready.
    pub ready: Readiness,
    /// How connections reach the workers of a cluster.
    pub balance: Balance,
    /// Bytes of memory that no worker may stay above.
    pub max_memory: Option<u64>,
    /// Where our own supervisor wants to hear how we are (`sd_notify(3)`).
    pub notify_socket: Option<OsString>,
    /// Whether workers are kept from gaining privileges.
    pub no_new_privs: bool,
    /// Whether the one worker of `plain` is to be the terminal's foreground.
    pub terminal: bool,
    /// Names of the sockets that were passed to us, from descriptor 3 on.
    pub activation: Vec<String>,
    /// What workers inherit of our environment.
    pub environment: Vec<(OsString, OsString)>,
    /// What is odd, but no reason not to start.
    pub warnings: Vec<String>,
    /// Text and source of every row of the table, for `--check`.
    pub texts: Vec<(String, Source)>,
}

impl Config {
    /// Makes sense of flags and surroundings, or says everything that is wrong.
    pub fn new(invocation: Invocation, surroundings: Surroundings) -> Result<Self, Invalid> {
        let mut environment = Environment::sort(surroundings.environment, surroundings.pid);
        let mut texts = Texts::gather(&invocation.flags, &environment);
        let (settings, mistakes) = settings::read(texts.pairs());
        texts.complain(mistakes);
        let sockets =
            settings.listen.as_ref().map_or(0, |listen| listen.0.len()) + environment.activation.len();
        let has_sockets = sockets > 0;
        let mode = together::mode(&settings, has_sockets, &invocation.command[0]);
        let (workers, workers_why) = together::workers(&settings, mode, surroundings.cores);
        texts.complain(together::misfits(&settings, mode, workers, sockets));
        let mut warnings: Vec<String> =
            environment.unknown.iter().map(|name| nearest::unknown(name)).collect();
        if !texts.problems.is_empty() {
            return Err(Invalid {
                problems: texts.problems,
                warnings,
                termination_log: settings.termination_log,
            });
        }

        if has_sockets && matches!(mode, Mode::Ports | Mode::Plain) {
            warnings.push(format!(
                "LISTEN is not used in mode {}; set {PREFIX}MODE=inherit to share its sockets",
                mode.name()
            ));
        }
        warnings.extend(together::wrapper(&invocation.command, mode));
        if texts.web_concurrency {
            // A worker that reads it too (gunicorn, uvicorn) would multiply the workers by themselves.
            environment.withhold("WEB_CONCURRENCY");
        }
        let single_plain = mode == Mode::Plain && workers == 1;
        Ok(Self {
            command: invocation.command,
            mode,
            workers,
            workers_why,
            restart: together::restart(&settings, single_plain),
            ready: together::ready(&settings, mode),
            max_memory: together::max_memory(&settings, surroundings.memory),
            notify_socket: environment.notify_socket,
            balance: match texts.source("balance") {
                Source::Default if environment.wants_shared => Balance::Shared,
                Source::Default | Source::Flag | Source::Environment | Source::WebConcurrency => {
                    settings.balance
                }
            },
            no_new_privs: match settings.no_new_privs {
                Tristate::Auto => settings.user.is_some(),
                Tristate::On => true,
                Tristate::Off => false,
            },
            terminal: single_plain && surroundings.terminal,
            activation: environment.activation,
            environment: environment.inherited,
            warnings,
            texts: texts.rows,
            settings,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(flags: &[(&'static str, &str)], environment: &[(&str, &str)]) -> Result<Config, Invalid> {
        let flags = flags.iter().map(|(field, text)| (*field, text.into())).collect();
        let environment = environment.iter().map(|(name, value)| (name.into(), value.into())).collect();
        let cores = || Cores { count: 3, why: "3 cores allowed".to_owned() };
        let invocation = Invocation { flags, command: vec!["app".into()] };
        Config::new(
            invocation,
            Surroundings { environment, pid: 7, cores, memory: || 1 << 30, terminal: true },
        )
    }

    fn summary(flags: &[(&'static str, &str)], environment: &[(&str, &str)]) -> (Mode, u16, Restart) {
        let config = config(flags, environment).unwrap();
        (config.mode, config.workers, config.restart)
    }

    #[test]
    fn what_is_not_said_follows_from_what_is() {
        let (listen, pool) = (("listen", "80"), (Mode::Inherit, 3, Restart::Always));
        assert_eq!(summary(&[], &[]), (Mode::Plain, 1, Restart::Never));
        assert_eq!(summary(&[("workers", "2")], &[]), (Mode::Plain, 2, Restart::Always));
        assert_eq!(summary(&[listen], &[]), pool);
        assert_eq!(summary(&[], &[("LISTEN_FDS", "1"), ("LISTEN_PID", "7")]), pool);
        assert_eq!(summary(&[("mode", "cluster")], &[]), (Mode::Cluster, 3, Restart::Always));
        assert_eq!(summary(&[("first_port", "9000")], &[]), (Mode::Ports, 3, Restart::Always));
        assert_eq!(
            summary(&[listen, ("mode", "reuseport"), ("workers", "50%")], &[]),
            (Mode::Reuseport, 2, Restart::Always)
        );
        assert_eq!(
            summary(&[listen, ("workers", "1"), ("restart", "on-failure")], &[]),
            (Mode::Inherit, 1, Restart::OnFailure)
        );
    }

    #[test]
    fn a_flag_wins_over_a_variable_and_a_variable_over_web_concurrency() {
        let concurrency = ("WEB_CONCURRENCY", "5");
        assert_eq!(summary(&[], &[concurrency]).1, 5);
        assert_eq!(summary(&[], &[("ALLCORES_WORKERS", "4"), concurrency]).1, 4);
        assert_eq!(summary(&[("workers", "2")], &[("ALLCORES_WORKERS", "4"), concurrency]).1, 2);
        let names = |config: Config| config.environment.into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert!(names(config(&[], &[concurrency]).unwrap()).is_empty(), "a worker would multiply itself");
        assert_eq!(names(config(&[("workers", "2")], &[concurrency]).unwrap()), ["WEB_CONCURRENCY"]);
    }

    #[test]
    fn every_mistake_is_told_with_all_that_it_takes_to_mend_it() {
        let invalid = config(
            &[("backlog", "none")],
            &[("ALLCORES_MODE", "ports"), ("WEB_CONCURRENCY", "x"), ("ALLCORES_BAKCOFF", "1s")],
        );
        let told = report::invalid(&invalid.unwrap_err());
        for part in [
            "3 settings are wrong",
            "ALLCORES_BACKLOG=\"none\": expected a number from 1 to 65535; for example ALLCORES_BACKLOG=1024",
            "WEB_CONCURRENCY=\"x\": expected auto, a number",
            "ALLCORES_FIRST_PORT=\"\": mode ports needs it; expected a port from 1 to 65535",
            "warning: ALLCORES_BAKCOFF is no setting and is not used; did you mean ALLCORES_BACKOFF?",
        ] {
            assert!(told.contains(part), "{part} is not in:\n{told}");
        }
    }

    #[test]
    fn a_process_in_front_of_node_is_told_by_name() {
        for (command, is_told) in [
            ("node server.js", false),
            ("npm start", true),
            ("/usr/bin/npx x", true),
            ("node --watch x.js", true),
        ] {
            let command = command.split(' ').map(OsString::from).collect();
            let surroundings = Surroundings {
                environment: Vec::new(),
                pid: 7,
                cores: || Cores { count: 1, why: String::new() },
                memory: || 1 << 30,
                terminal: false,
            };
            let config = Config::new(Invocation { flags: Vec::new(), command }, surroundings).unwrap();
            assert_eq!(!config.warnings.is_empty(), is_told, "{:?}: {:?}", config.command, config.warnings);
        }
    }

    #[test]
    fn what_does_not_fit_together_is_told() {
        for flags in [
            &[("mode", "inherit")][..],
            &[("mode", "reuseport")],
            &[("mode", "ports")],
            &[("first_port", "65534"), ("workers", "3")],
            &[("listen", "80,81"), ("ready", "fd:4")],
            &[("mode", "cluster"), ("ready", "fd:3")],
        ] {
            assert!(config(flags, &[]).is_err(), "{flags:?}");
        }
        let passed = [("LISTEN_FDS", "1"), ("LISTEN_PID", "7")];
        assert!(config(&[("listen", "80"), ("ready", "fd:4")], &[]).is_ok());
        assert!(config(&[("listen", "80"), ("ready", "fd:4")], &passed).is_err());
        assert!(
            config(&[("mode", "plain"), ("listen", "80")], &[])
                .is_ok_and(|config| !config.warnings.is_empty())
        );
    }
}
