//! The command line: which of the few things we are asked to do, the settings that came as flags, and COMMAND.
//!
//! Knows the names of the flags from the table, but not what a setting's value means.

use std::ffi::OsString;

use super::nearest::nearest;
use super::settings::TABLE;

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Cli {
    /// `--help`.
    Help,
    /// `--version`.
    Version,
    /// Validate and print every setting.
    Check(Invocation),
    /// Supervise.
    Run(Invocation),
    /// Talk to a running allcores.
    Ctl {
        /// Where it is, if that was said.
        control: Option<OsString>,
        /// What it is to do.
        words: Vec<OsString>,
    },
}

/// A command with settings.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Invocation {
    /// Field of the table and its text, in order.
    pub flags: Vec<(&'static str, OsString)>,
    /// COMMAND and its arguments; never empty.
    pub command: Vec<OsString>,
}

/// A wrong command line, in one line that names the word and the remedy.
#[derive(Debug, PartialEq, Eq)]
pub struct UsageError(pub String);

impl From<lexopt::Error> for UsageError {
    fn from(error: lexopt::Error) -> Self {
        Self(format!("{error}; see allcores --help"))
    }
}

/// Reads the arguments, the program's own name left out.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, UsageError> {
    let mut parser = lexopt::Parser::from_args(arguments);
    let mut invocation = Invocation::default();
    let mut check = false;
    loop {
        let separated =
            parser.try_raw_args().is_some_and(|rest| rest.peek().is_some_and(|word| word == "--"));
        let Some(argument) = parser.next()? else { break };
        match argument {
            lexopt::Arg::Long("help") | lexopt::Arg::Short('h') => return Ok(Cli::Help),
            lexopt::Arg::Long("version") | lexopt::Arg::Short('V') => return Ok(Cli::Version),
            lexopt::Arg::Long("check") => check = true,
            lexopt::Arg::Short('n') => invocation.flags.push(("workers", parser.value()?)),
            lexopt::Arg::Short('l') => invocation.flags.push(("listen", parser.value()?)),
            lexopt::Arg::Long(name) => {
                let field = field_of(name)?;
                invocation.flags.push((field, parser.value()?));
            }
            lexopt::Arg::Short(letter) => {
                return Err(UsageError(format!(
                    "unknown flag -{letter}; a COMMAND that begins with '-' goes behind --"
                )));
            }
            lexopt::Arg::Value(word) if word == "ctl" && !separated => {
                return ctl(invocation, check, parser.raw_args()?.collect());
            }
            lexopt::Arg::Value(word) => {
                invocation.command.push(word);
                invocation.command.extend(parser.raw_args()?);
                break;
            }
        }
    }
    if invocation.command.is_empty() {
        return Err(UsageError(
            "COMMAND is missing; say which program to run, like: allcores node server.js".into(),
        ));
    }
    Ok(if check { Cli::Check(invocation) } else { Cli::Run(invocation) })
}

/// Nothing is supervised, so that no setting counts but the one that says with whom to talk.
fn ctl(invocation: Invocation, check: bool, words: Vec<OsString>) -> Result<Cli, UsageError> {
    let mut control = None;
    for (field, text) in invocation.flags {
        if field != "control" {
            let flag = field.replace('_', "-");
            return Err(UsageError(format!(
                "--{flag} means nothing to ctl; -- ctl runs a program of that name"
            )));
        }
        control = Some(text);
    }
    if check {
        return Err(UsageError("--check means nothing to ctl; -- ctl runs a program of that name".into()));
    }
    Ok(Cli::Ctl { control, words })
}

fn field_of(flag: &str) -> Result<&'static str, UsageError> {
    let flags: Vec<String> = TABLE.iter().map(super::settings::Row::flag).collect();
    match flags.iter().position(|known| known == flag) {
        Some(index) => Ok(TABLE[index].field),
        None => Err(UsageError(match nearest(flag, flags.iter().map(String::as_str)) {
            Some(known) => format!("unknown flag --{flag}; did you mean --{known}?"),
            None => format!("unknown flag --{flag}; see allcores --help"),
        })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cli(words: &[&str]) -> Result<Cli, String> {
        parse(words.iter().map(OsString::from)).map_err(|UsageError(line)| line)
    }

    fn run(flags: &[(&'static str, &str)], command: &[&str]) -> Result<Cli, String> {
        let flags = flags.iter().map(|(field, text)| (*field, OsString::from(text))).collect();
        Ok(Cli::Run(Invocation { flags, command: command.iter().map(OsString::from).collect() }))
    }

    #[test]
    fn the_first_word_that_is_no_flag_begins_the_command() {
        assert_eq!(cli(&["node", "--version"]), run(&[], &["node", "--version"]));
        assert_eq!(
            cli(&["-n", "2", "--", "node", "--", "-x"]),
            run(&[("workers", "2")], &["node", "--", "-x"])
        );
        assert_eq!(cli(&["--stop-timeout=5s", "a"]), run(&[("stop_timeout", "5s")], &["a"]));
        assert_eq!(cli(&["-l", "80", "-l81", "a"]), run(&[("listen", "80"), ("listen", "81")], &["a"]));
        assert_eq!(cli(&["--", "--help"]), run(&[], &["--help"]));
        assert_eq!(cli(&["--", "ctl"]), run(&[], &["ctl"]));
        assert_eq!(cli(&["a", "ctl"]), run(&[], &["a", "ctl"]));
    }

    #[test]
    fn a_wrong_word_is_named_with_the_remedy() {
        assert_eq!(
            cli(&["--wrokers", "2", "a"]),
            Err("unknown flag --wrokers; did you mean --workers?".into())
        );
        assert_eq!(cli(&["--nonsense", "a"]), Err("unknown flag --nonsense; see allcores --help".into()));
        assert!(cli(&["-x", "a"]).is_err_and(|line| line.contains("-x")));
        assert!(cli(&["--workers"]).is_err_and(|line| line.contains("--workers")));
        assert!(cli(&[]).is_err_and(|line| line.contains("COMMAND")));
        assert!(cli(&["-n", "2", "ctl", "status"]).is_err_and(|line| line.contains("--workers")));
    }

    #[test]
    fn ctl_has_words_of_its_own() {
        let words = |words: &[&str]| words.iter().map(OsString::from).collect();
        assert_eq!(
            cli(&["ctl", "status", "--json"]),
            Ok(Cli::Ctl { control: None, words: words(&["status", "--json"]) })
        );
        let control = Some("/x".into());
        assert_eq!(
            cli(&["--control", "/x", "ctl", "stop"]),
            Ok(Cli::Ctl { control, words: words(&["stop"]) })
        );
    }

    #[test]
    fn help_version_and_check_are_flags_of_ours_only_in_front() {
        assert_eq!(cli(&["--help", "x"]), Ok(Cli::Help));
        assert_eq!(cli(&["--version"]), Ok(Cli::Version));
        assert!(matches!(cli(&["--check", "--", "node"]), Ok(Cli::Check(_))));
    }
}
