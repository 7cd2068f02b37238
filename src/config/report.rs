//! What the settings look like to people: problems, `--help`, `--check` and the README's table, all from the one table.

use std::fmt::Write;

use super::settings::{Row, TABLE};
use super::value::Patience;
use super::{Config, Invalid, Problem, Source};
use crate::signal::Signal;

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}={:?}: ", self.variable, self.value)?;
        if !self.complaint.is_empty() {
            write!(f, "{}; ", self.complaint)?;
        }
        write!(f, "expected {}; for example {}={}", self.expected, self.variable, self.example)
    }
}

/// All problems and warnings, one a line.
pub fn invalid(invalid: &Invalid) -> String {
    let count = match invalid.problems.len() {
        1 => "a setting is wrong".to_owned(),
        n => format!("{n} settings are wrong"),
    };
    let problems = invalid.problems.iter().map(ToString::to_string);
    let warnings = invalid.warnings.iter().map(|warning| format!("warning: {warning}"));
    let lines = std::iter::once(count).chain(problems).chain(warnings);
    lines.map(|line| format!("allcores: {line}\n")).collect()
}

/// `allcores X.Y.Z (GIT)`.
pub fn version() -> String {
    format!("allcores {} ({})", env!("CARGO_PKG_VERSION"), env!("BUILD_GIT"))
}

/// `--help`.
pub fn help() -> String {
    let mut text = String::from(
        "allcores: PID 1 for containers, one program on every core\n\n\
         usage: allcores [--SETTING VALUE]... [--] COMMAND [ARG]...\n       \
         allcores [--control PATH] ctl ACTION\n       \
         allcores --check [--SETTING VALUE]... [--] COMMAND [ARG]...\n       \
         allcores --help | --version\n\n\
         Every setting is a flag and a variable: --stop-timeout is ALLCORES_STOP_TIMEOUT. A flag wins.\n\
         -n is --workers, -l is --listen (repeatable). --check validates and prints every setting.\n",
    );
    let mut group = "";
    for row in TABLE {
        if row.group != group {
            group = row.group;
            let _ = writeln!(text, "\n{group}:");
        }
        let default = if row.default.is_empty() { String::new() } else { format!(" [{}]", row.default) };
        let _ = writeln!(text, "  --{}{default}", row.flag());
        for line in wrap(&row.meaning.replace('`', ""), 92) {
            let _ = writeln!(text, "      {line}");
        }
    }
    text
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) | None => lines.push(word.to_owned()),
        }
    }
    lines
}

/// The README's table of settings, as Markdown.
pub fn markdown() -> String {
    let mut text = String::from("| variable | default | meaning |\n|---|---|---|\n");
    let mut group = "";
    for row in TABLE {
        if row.group != group {
            group = row.group;
            let _ = writeln!(text, "| **{group}** | | |");
        }
        let default = if row.default.is_empty() { String::new() } else { format!("`{}`", row.default) };
        let _ = writeln!(text, "| `{}` | {default} | {} |", row.field.to_ascii_uppercase(), row.meaning);
    }
    text
}

/// `--check`: every effective setting and where it came from, then what they come to.
pub fn check(config: &Config) -> String {
    let mut text = String::new();
    for (row, (value, source)) in TABLE.iter().zip(&config.texts) {
        let _ = writeln!(text, "{}={}  # {}", row.variable(), shell_word(value), origin(row, *source));
    }
    for warning in &config.warnings {
        let _ = writeln!(text, "# warning: {warning}");
    }
    let _ = writeln!(
        text,
        "# mode: {}; workers: {} ({})",
        config.mode.name(),
        config.workers,
        config.workers_why
    );
    let _ = writeln!(text, "# sockets: {}", sockets(config));
    let _ = writeln!(text, "# a stop: {}", timetable(config));
    text
}

fn origin(row: &Row, source: Source) -> String {
    match source {
        Source::Flag => format!("flag --{}", row.flag()),
        Source::Environment => "environment".to_owned(),
        Source::WebConcurrency => "WEB_CONCURRENCY".to_owned(),
        Source::Default => "default".to_owned(),
    }
}

fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:,=%@+".contains(c);
    if text.chars().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

/// The sockets in one phrase, for the line at start.
pub fn sockets(config: &Config) -> String {
    let listed =
        config.settings.listen.iter().flat_map(|listen| &listen.0).map(|address| address.place.to_string());
    let passed = config.activation.iter().map(|name| format!("{name} (passed to us)"));
    let all: Vec<String> = passed.chain(listed).collect();
    if all.is_empty() { "none".to_owned() } else { all.join(" ") }
}

/// What happens when after a stop request, in one phrase.
pub fn timetable(config: &Config) -> String {
    let settings = &config.settings;
    let drain = match settings.drain_delay {
        delay if delay.is_zero() => String::new(),
        delay => format!("{} serving on, then ", humantime::format_duration(delay)),
    };
    let stop = settings.stop_signal;
    match settings.stop_timeout {
        Patience::For(time) if time.is_zero() => format!("{drain}{} at once", Signal::KILL),
        Patience::For(time) => {
            format!("{drain}{stop}, {} after {}", Signal::KILL, humantime::format_duration(time))
        }
        Patience::Forever => format!("{drain}{stop}, and no deadline"),
    }
}
