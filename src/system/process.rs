//! Starts processes, signals them, and is the only one that waits for them.

#![allow(unsafe_code)]

use std::io;
use std::os::unix::process::ExitStatusExt;

use super::child::{Blueprint, Prepared};
use crate::config::kinds::Target;
use crate::exit::ExitStatus;
use crate::ids::Pid;
use crate::signal::Signal;

/// Bytes of the stack on which a child lives until its exec.
const STACK: usize = 64 * 1024;

/// Starts processes.
///
/// The child shares our memory until its exec, and we stand still meanwhile (`CLONE_VM | CLONE_VFORK`, as `posix_spawn(3)` does it): nothing
/// is copied however much memory we have, and an exec that failed tells its error by writing it down, without a pipe that
/// could be in the way of the sockets. It is not waited for: the reaper is told of its death like of any other.
pub struct Spawner {
    stack: Vec<u8>,
}

/// What parent and child both see.
struct Shared {
    prepared: Prepared,
    error: Option<io::Error>,
}

impl Spawner {
    /// Takes the memory that it needs.
    pub fn new() -> Self {
        Self { stack: vec![0; STACK] }
    }

    /// Starts a process. Returns once its `execve` has succeeded, or with the error of what did not.
    pub fn spawn(&mut self, blueprint: Blueprint) -> io::Result<Pid> {
        let mut shared = Shared { prepared: Prepared::new(blueprint), error: None };
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
        // SAFETY: the stack is ours, is not used otherwise until the child has called exec or has exited, and its end is aligned
        // down to 16 bytes, as both ABIs want it. `shared` lives across the call. All signals are blocked, and we have no
        // handlers that could run in the child.
        let raw = unsafe {
            let end = self.stack.as_mut_ptr().add(STACK);
            let top = end.sub(end.addr() % 16);
            libc::clone(be_born, top.cast(), flags, (&raw mut shared).cast())
        };
        let Some(pid) = Pid::new(raw) else { return Err(io::Error::last_os_error()) };
        match shared.error {
            None => Ok(pid),
            Some(error) => {
                // It has exited, and nobody was told that it ever was: it is not the reaper's.
                // SAFETY: waitpid(2) with no place for the status.
                unsafe { libc::waitpid(pid.raw(), std::ptr::null_mut(), 0) };
                Err(error)
            }
        }
    }
}

/// The child's whole life until its exec.
extern "C" fn be_born(shared: *mut libc::c_void) -> libc::c_int {
    // SAFETY: `spawn` gave the address of its `Shared`, and stands still until we have called exec or exit.
    let shared = unsafe { &mut *shared.cast::<Shared>() };
    shared.error = Some(shared.prepared.become_program());
    // SAFETY: leaves without running anything that belongs to the parent.
    unsafe { libc::_exit(127) }
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
