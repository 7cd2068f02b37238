//! Reads what was asked for, runs it, and leaves with the exit code that tells the truth about it.

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use allcores::config::cli::{Cli, Invocation};
use allcores::config::environment::Environment;
use allcores::config::{Config, Surroundings, cli, report};
use allcores::ctl::{self, task};
use allcores::exit::{self, Exit};
use allcores::observe::{log, termination};
use allcores::system::signals::Signals;
use allcores::system::{StartError, System, adopt_descriptors, cgroup, terminal, worker_traits};

fn main() -> ExitCode {
    // First of all: what is sent to us from now on waits until it can be heard.
    let signals = Signals::block();
    // An abort of PID 1 arrives as the exit code of a crash of its kernel; ours names a bug.
    std::panic::set_hook(Box::new(|panic| {
        complain(&format!("allcores: bug: {panic}"));
        std::process::exit(i32::from(exit::BUG));
    }));
    let end = match cli::parse(std::env::args_os().skip(1)) {
        Ok(Cli::Help) => return print(&(report::help() + &task::help())),
        Ok(Cli::Version) => return print(&format!("{}\n", report::version())),
        Ok(Cli::Check(invocation)) => match configure(invocation).and_then(validate) {
            Ok(config) => return print(&report::check(&config)),
            Err(exit) => exit,
        },
        Ok(Cli::Run(invocation)) => {
            configure(invocation).and_then(|config| run(config, signals)).unwrap_or_else(|exit| exit)
        }
        Ok(Cli::Ctl { control, words }) => return ctl(control, &words, signals),
        Err(cli::UsageError(line)) => {
            complain(&format!("allcores: {line}"));
            let log = setting("ALLCORES_TERMINATION_LOG").map(PathBuf::from);
            end(log.as_ref(), Exit { code: exit::USAGE, reason: line })
        }
    };
    ExitCode::from(end.code)
}

/// For what comes before the log or after it. `eprintln!` would panic where standard error is closed.
fn complain(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn print(text: &str) -> ExitCode {
    // Whoever closed our output does not want to read more.
    let _ = std::io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

fn configure(invocation: Invocation) -> Result<Config, Exit> {
    let surroundings = Surroundings {
        environment: std::env::vars_os().collect(),
        pid: std::process::id(),
        cores: || cgroup::cores(Path::new("/"), cgroup::allowed_cores().len()),
        memory: || cgroup::memory(Path::new("/")),
        terminal: terminal::is_ours(),
    };
    Config::new(invocation, surroundings).map_err(|invalid| {
        let reason = report::invalid(&invalid);
        complain(reason.trim_end());
        end(invalid.termination_log.as_ref(), Exit { code: exit::SETTINGS, reason })
    })
}

/// What only the system can say of the settings: whether there is such a user, and so many files.
fn validate(config: Config) -> Result<Config, Exit> {
    match worker_traits(&config) {
        Ok(_) => Ok(config),
        Err(error) => Err(fail(&config, error)),
    }
}

/// A task to another allcores, whose termination log is none of our business.
fn ctl(control: Option<OsString>, words: &[OsString], signals: std::io::Result<Signals>) -> ExitCode {
    let fail = |code: u8, reason: &str| {
        complain(&format!("allcores: {reason}"));
        ExitCode::from(code)
    };
    let task = match task::parse(words) {
        Ok(task) => task,
        Err(cli::UsageError(line)) => return fail(exit::USAGE, &line),
    };
    let control = control.or_else(|| setting("ALLCORES_CONTROL"));
    let control = match ctl::control(control.as_deref().map(OsStr::to_string_lossy).as_deref()) {
        Ok(control) => control,
        Err(reason) => return fail(exit::SETTINGS, &reason),
    };
    match ctl::run(&task, &control, signals) {
        Ok(code) => ExitCode::from(code),
        Err(reason) => fail(ctl::FAILED, &reason),
    }
}

/// Says why there is no run.
fn fail(config: &Config, StartError { code, reason }: StartError) -> Exit {
    complain(&format!("allcores: {reason}"));
    end(config.settings.termination_log.as_ref(), Exit { code, reason })
}

fn run(config: Config, signals: std::io::Result<Signals>) -> Result<Exit, Exit> {
    let passed = adopt_descriptors(&config).map_err(|error| fail(&config, error))?;
    log::start(config.settings.log_format, &config.settings.log);
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let deaf = |error| StartError { code: exit::SYSTEM, reason: format!("signals cannot be heard: {error}") };
    let signals = signals.map_err(|error| fail(&config, deaf(error)))?;
    tracing::info!(
        version = %env!("CARGO_PKG_VERSION"),
        mode = %config.mode.name(),
        workers = config.workers,
        why = %config.workers_why,
        sockets = %report::sockets(&config),
        stop = %report::timetable(&config),
        "starting"
    );
    let system = System::prepare(&config, signals, passed).map_err(|error| fail(&config, error))?;
    let exit = system.run();
    if exit.code == 0 {
        tracing::info!(code = exit.code, reason = %exit.reason, "leaving");
    } else {
        tracing::error!(code = exit.code, reason = %exit.reason, "leaving");
    }
    Ok(end(config.settings.termination_log.as_ref(), exit))
}

/// One setting, where there is no command line to read all of them with.
fn setting(variable: &str) -> Option<OsString> {
    let environment = Environment::sort(std::env::vars_os(), std::process::id());
    let mut settings = environment.settings.into_iter();
    settings.find(|(name, _)| name == variable).map(|(_, value)| value)
}

/// Leaves the reason where it is looked for. That it cannot be left is no other end.
fn end(path: Option<&PathBuf>, exit: Exit) -> Exit {
    if let Err(error) = termination::write(path, &exit.reason) {
        complain(&format!("allcores: the termination log could not be written: {error}"));
    }
    exit
}
