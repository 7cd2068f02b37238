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

/// What the kernel says of our children.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// This one ended, and waits to be reaped: until then its pid is its own.
    Dead(Pid),
    /// This one was suspended.
    Suspended(Pid),
    /// There are children, and none has anything to say.
    Nothing,
    /// There are no children.
    NoChildren,
}

/// Asks once, and reaps nobody.
pub fn look(and_suspended: bool) -> Found {
    let suspended = if and_suspended { libc::WSTOPPED } else { 0 };
    match ask(libc::P_ALL, 0, libc::WEXITED | libc::WNOWAIT | suspended) {
        None => Found::NoChildren,
        Some((None, _)) => Found::Nothing,
        Some((Some(pid), libc::CLD_STOPPED)) => {
            // It is told once.
            ask(libc::P_PID, pid.raw() as libc::id_t, libc::WSTOPPED);
            Found::Suspended(pid)
        }
        Some((Some(pid), _)) => Found::Dead(pid),
    }
}

/// Who has something to say, and what (`si_code`). `None` when there is nobody who could.
fn ask(which: libc::idtype_t, id: libc::id_t, what: libc::c_int) -> Option<(Option<Pid>, libc::c_int)> {
    // SAFETY: a siginfo_t is plain integers, for which zero is a value.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one siginfo_t. What it wrote of a child has a pid, or is still zero.
    unsafe {
        let result = libc::waitid(which, id, &raw mut info, what | libc::WNOHANG);
        (result == 0).then(|| (Pid::new(info.si_pid()), info.si_code))
    }
}

/// Reaps one that is dead. Not nix's waitpid: that reaps a child which a real-time signal killed, and then reports an error.
pub fn reap(pid: Pid) -> Option<ExitStatus> {
    let mut status = 0;
    // SAFETY: the kernel writes one integer to `status`.
    let raw = unsafe { libc::waitpid(pid.raw(), &raw mut status, libc::WNOHANG) };
    let status = std::process::ExitStatus::from_raw(status);
    match (status.code(), status.signal().and_then(Signal::new)) {
        _ if raw != pid.raw() => None,
        (Some(code), _) => Some(ExitStatus::Code(code as u8)),
        (None, Some(signal)) => Some(ExitStatus::Signal { signal, core_dumped: status.core_dumped() }),
        (None, None) => None,
    }
}

/// Makes orphans below us ours, as they are PID 1's. Without it they go to whoever is above.
pub fn adopt_orphans() -> io::Result<()> {
    Ok(nix::sys::prctl::set_child_subreaper(true)?)
}
