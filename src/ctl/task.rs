//! What `allcores ctl` can do: the one table of its actions, and the reading of its words.
//!
//! What changes something has its row in the table of routes; the words here are the path there.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use crate::config::cli::UsageError;
use crate::config::value;
use crate::observe::probes::Probe;
use crate::observe::routes::CHANGES;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// Show how it is.
    Status(Form),
    /// Have this changed: a path of the control socket.
    Change(String),
    /// Ask a probe.
    Check(Probe),
    /// Show how it is, again and again.
    Top,
    /// Copy this program.
    Install(PathBuf),
    /// Wait.
    Sleep(Duration),
}

/// How something is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// To people.
    Table,
    /// To programs.
    Json,
}

/// An action that changes nothing of a running allcores.
struct Action {
    word: &'static str,
    argument: &'static str,
    meaning: &'static str,
    read: fn(Option<&OsStr>) -> Option<Task>,
}

const STATUS: Action = Action {
    word: "status",
    argument: "[--json]",
    meaning: "show the workers and what they do",
    read: |argument| match argument {
        None => Some(Task::Status(Form::Table)),
        Some(word) if word == "--json" => Some(Task::Status(Form::Json)),
        Some(_) => None,
    },
};

const OTHERS: [Action; 4] = [
    Action {
        word: "check",
        argument: "[live|ready|startup]",
        meaning: "ask a probe (`ready` unless another is named): exit 0 or 1",
        read: |argument| {
            let word = argument.map_or(Some(Probe::Ready.name()), OsStr::to_str)?;
            Probe::ALL.into_iter().find(|probe| probe.name() == word).map(Task::Check)
        },
    },
    Action {
        word: "top",
        argument: "",
        meaning: "show the workers every second; `q` ends it",
        read: |argument| argument.is_none().then_some(Task::Top),
    },
    Action {
        word: "install",
        argument: "PATH",
        meaning: "copy this program to a file or into a directory, for init containers",
        read: |argument| argument.filter(|path| !path.is_empty()).map(|path| Task::Install(path.into())),
    },
    Action {
        word: "sleep",
        argument: "DURATION",
        meaning: "wait, for preStop hooks in images without a shell",
        read: |argument| value::duration(argument?.to_str()?).ok().map(Task::Sleep),
    },
];

/// Word, argument and meaning of every action, in the order in which they are shown.
pub fn table() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    let row = |action: &Action| (action.word, action.argument, action.meaning);
    let changes = CHANGES.iter().map(|change| (change.word, change.argument, change.meaning));
    std::iter::once(row(&STATUS)).chain(changes).chain(OTHERS.iter().map(row).collect::<Vec<_>>())
}

/// Reads the words behind `ctl`.
pub fn parse(words: &[OsString]) -> Result<Task, UsageError> {
    let named = words.first().and_then(|word| word.to_str()).unwrap_or_default();
    let Some((word, expected, _)) = table().find(|(word, ..)| *word == named) else {
        let known: Vec<&str> = table().map(|(word, ..)| word).collect();
        let what = if words.is_empty() {
            "ctl needs an action".into()
        } else {
            format!("ctl: unknown action '{named}'")
        };
        return Err(UsageError(format!("{what}; the actions are {}", known.join(", "))));
    };
    let usage =
        |what: String| UsageError(format!("ctl {word}: {what}; usage: allcores ctl {word} {expected}"));
    let argument = match &words[1..] {
        [] => None,
        [argument] => Some(argument.as_os_str()),
        [_, surplus, ..] => return Err(usage(format!("'{}' is too much", surplus.display()))),
    };
    read(word, argument).ok_or_else(|| {
        usage(match argument {
            Some(argument) => format!("'{}' is not what is expected", argument.display()),
            None => format!("{expected} is missing"),
        })
    })
}

fn read(word: &str, argument: Option<&OsStr>) -> Option<Task> {
    if let Some(change) = CHANGES.iter().find(|change| change.word == word) {
        let text = argument.map_or(Some(""), OsStr::to_str)?;
        change.demand(text)?;
        let path = if text.is_empty() { format!("/{word}") } else { format!("/{word}/{text}") };
        return Some(Task::Change(path));
    }
    let action = std::iter::once(&STATUS).chain(&OTHERS).find(|action| action.word == word)?;
    (action.read)(argument)
}

/// The part of `--help` that is about `ctl`.
pub fn help() -> String {
    let rows = table().map(|(word, argument, meaning)| {
        format!("  {:<28} {}\n", format!("{word} {argument}"), meaning.replace('`', ""))
    });
    std::iter::once("\nallcores ctl ACTION talks to the allcores that runs here:\n".to_owned())
        .chain(rows)
        .collect()
}

/// The README's table of actions, as Markdown.
pub fn markdown() -> String {
    let rows = table().map(|(word, argument, meaning)| {
        format!("| `{}` | {meaning} |\n", format!("{word} {argument}").trim().replace('|', "\\|"))
    });
    std::iter::once("| action | what it does |\n|---|---|\n".to_owned()).chain(rows).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(line: &str) -> Result<Task, String> {
        let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        parse(&words).map_err(|UsageError(line)| line)
    }

    #[test]
    fn every_action_is_read() {
        for (line, expected) in [
            ("status", Task::Status(Form::Table)),
            ("status --json", Task::Status(Form::Json)),
            ("reload", Task::Change("/reload".into())),
            ("restart 3", Task::Change("/restart/3".into())),
            ("scale +2", Task::Change("/scale/+2".into())),
            ("scale auto", Task::Change("/scale/auto".into())),
            ("stop", Task::Change("/stop".into())),
            ("check", Task::Check(Probe::Ready)),
            ("check live", Task::Check(Probe::Live)),
            ("top", Task::Top),
            ("install /opt", Task::Install("/opt".into())),
            ("sleep 250ms", Task::Sleep(Duration::from_millis(250))),
        ] {
            assert_eq!(task(line), Ok(expected), "{line}");
        }
    }

    #[test]
    fn a_wrong_word_is_named_with_the_remedy() {
        for (line, parts) in [
            ("", ["needs an action", "status, reload"]),
            ("explode", ["'explode'", "status, reload"]),
            ("restart", ["SLOT is missing", "allcores ctl restart SLOT"]),
            ("restart x", ["'x'", "allcores ctl restart SLOT"]),
            ("scale lots", ["'lots'", "N|+N|-N|auto"]),
            ("stop now", ["'now'", "allcores ctl stop"]),
            ("check it", ["'it'", "live|ready|startup"]),
            ("sleep long", ["'long'", "DURATION"]),
            ("restart 1 2", ["'2' is too much", "SLOT"]),
        ] {
            let told = task(line).unwrap_err();
            assert!(parts.iter().all(|part| told.contains(part)) && !told.contains('\n'), "{line}: {told}");
        }
    }
}
