//! Starts processes, signals them, and is the only one that waits for them.

#![allow(unsafe_code)]

use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::Command;

use super::child::{Blueprint, Prepared};
use crate::config::kinds::Target;
use crate::exit::ExitStatus;
use crate::ids::Pid;
use crate::signal::Signal;

/// Starts a process. Returns once its `execve` has succeeded, or with the error of what did not.
///
/// The child is not waited for here: the reaper is told of its death like of any other.
pub fn spawn(blueprint: Blueprint) -> io::Result<Pid> {
    let mut prepared = Prepared::new(blueprint);
    // std forks, runs our closure, and carries the error back; it never comes to execute a program of its own.
    let mut command = Command::new("/");
    // SAFETY: the closure only calls what is safe between fork and exec; `child.rs` sees to that.
    unsafe { command.pre_exec(move || Err(prepared.become_program())) };
    let child = command.spawn()?;
    Pid::new(child.id() as i32).ok_or_else(|| io::Error::other("the kernel gave no pid"))
}

/// Sends a signal; a process that is a zombie already does not mind.
pub fn signal(pid: Pid, signal: Signal, target: Target) -> io::Result<()> {
    let number = match target {
        Target::Process => pid.raw(),
        Target::Group => -pid.raw(),
    };
    raw_kill(number, signal)
}

/// Sends a signal to everything that we may signal, except ourselves. As PID 1 that is the whole name space.
pub fn signal_everything(signal: Signal) -> io::Result<()> {
    raw_kill(-1, signal)
}

/// Suspends our own process group, as the terminal's user would have.
pub fn suspend_ourselves() -> io::Result<()> {
    raw_kill(0, Signal::STOP)
}

fn raw_kill(number: i32, signal: Signal) -> io::Result<()> {
    // nix's kill has no real-time signals.
    // SAFETY: kill(2) takes two integers.
    let result = unsafe { libc::kill(number, signal.number()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// What the kernel said of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// It ended and is reaped.
    Exited(Pid, ExitStatus),
    /// It was suspended.
    Suspended(Pid),
    /// There are children, and none has anything to say.
    Nothing,
    /// There are no children.
    NoChildren,
}

/// Asks once. Not nix's waitpid: that reaps a child which a real-time signal killed, and then reports an error.
pub fn wait(and_suspended: bool) -> Wait {
    let flags = libc::WNOHANG | if and_suspended { libc::WUNTRACED } else { 0 };
    let mut status = 0;
    // SAFETY: the kernel writes one integer to `status`.
    let raw = unsafe { libc::waitpid(-1, &raw mut status, flags) };
    let Some(pid) = Pid::new(raw) else {
        return if raw == 0 { Wait::Nothing } else { Wait::NoChildren };
    };
    let status = std::process::ExitStatus::from_raw(status);
    match (status.code(), status.signal().and_then(Signal::new)) {
        (Some(code), _) => Wait::Exited(pid, ExitStatus::Code(code as u8)),
        (None, Some(signal)) => {
            Wait::Exited(pid, ExitStatus::Signal { signal, core_dumped: status.core_dumped() })
        }
        (None, None) => Wait::Suspended(pid),
    }
}

/// Makes orphans below us ours, as they are PID 1's. Without it they go to whoever is above.
pub fn adopt_orphans() -> io::Result<()> {
    Ok(nix::sys::prctl::set_child_subreaper(true)?)
}
