//! How a process ended, and every way in which allcores itself ends: the table of section "Exit codes"
//! in the README.

use std::fmt;

use crate::signal::Signal;

/// How a child ended, as `waitpid(2)` told it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// It called `exit` with this code.
    Code(u8),
    /// A signal ended it.
    Signal {
        /// Which one.
        signal: Signal,
        /// Whether the kernel says that it wrote a core.
        core_dumped: bool,
    },
}

impl ExitStatus {
    /// Exit code 0.
    pub fn is_success(self) -> bool {
        self == Self::Code(0)
    }

    /// The code that a shell would report: the process's own, or 128 + the signal's number.
    pub fn code(self) -> u8 {
        match self {
            Self::Code(code) => code,
            Self::Signal { signal, .. } => 128 + signal.number() as u8,
        }
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit {code}"),
            Self::Signal { signal, core_dumped: false } => write!(f, "killed by {signal}"),
            Self::Signal { signal, core_dumped: true } => write!(f, "killed by {signal}, core dumped"),
        }
    }
}

/// The command line is wrong (`sysexits.h`: `EX_USAGE`).
pub const USAGE: u8 = 64;
/// An assertion of ours failed (`EX_SOFTWARE`).
pub const BUG: u8 = 70;
/// Not ready for longer than `EXIT_WHEN_UNREADY` (`EX_SOFTWARE` as well: the program does not do its work).
pub const UNREADY: u8 = 70;
/// A socket, a signal or a process could not be had (`EX_OSERR`).
pub const SYSTEM: u8 = 71;
/// A setting is wrong (`EX_CONFIG`).
pub const SETTINGS: u8 = 78;
/// The command was found, but cannot be executed.
pub const NOT_EXECUTABLE: u8 = 126;
/// The command was not found.
pub const NOT_FOUND: u8 = 127;
/// Something of ours was still there at the deadline and had to be killed.
pub const KILLED: u8 = 137;

/// The end of a run: the code for whoever waits for us, and the reason in one line for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// The exit code.
    pub code: u8,
    /// One line, without a line end.
    pub reason: String,
}
