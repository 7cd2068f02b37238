//! What a new process does between its birth and its exec: it becomes what the README promises that a worker finds.
//!
//! Everything is prepared before. Until its exec the child shares our memory while we stand still (`process.rs` says why), so here
//! nothing is allocated, locked or logged, and the C library's calls that keep books of their own are left out.

#![allow(unsafe_code)]

use std::ffi::{CString, c_char};
use std::io;
use std::os::fd::RawFd;

use super::signals;
use super::user::Identity;

/// A worker's limit of open files, and the hard limit behind it.
#[derive(Clone, Copy, Debug)]
pub struct FileLimits {
    /// What it gets.
    pub soft: u64,
    /// How far it may raise that.
    pub hard: u64,
}

/// What every child of a kind has in common.
#[derive(Clone, Debug, Default)]
pub struct Traits {
    /// Whom it runs as; `None` is ourselves.
    pub identity: Option<Identity>,
    /// Whether it is kept from gaining privileges.
    pub no_new_privs: bool,
    /// Its limit of open files.
    pub files: Option<FileLimits>,
    /// Whether its group becomes the terminal's foreground.
    pub foreground: bool,
}

/// A descriptor that a child inherits. No place is where something that comes later still is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inherited {
    /// Its number here.
    pub ours: RawFd,
    /// Its number there.
    pub theirs: RawFd,
}

/// One child, ready to become.
pub struct Blueprint {
    /// Paths to try, in order.
    pub candidates: Vec<CString>,
    /// The arguments, the program's name first.
    pub arguments: Vec<CString>,
    /// `NAME=value`, all of it.
    pub environment: Vec<CString>,
    /// Variables that hold its own pid, which nobody knows before it lives.
    pub own_pid: Vec<&'static str>,
    /// What it inherits, in the order in which it is put in its place.
    pub descriptors: Vec<Inherited>,
    /// The core that it is pinned to.
    pub core: Option<usize>,
    /// Common traits.
    pub traits: Traits,
}

/// Room for the digits of any pid and a NUL.
const PID_ROOM: usize = 11;

/// `NAME=`, and behind it room for a pid. One that is padded with zeros is refused by libsystemd, so the number is written
/// where the room begins.
struct OwnPid {
    text: Vec<u8>,
    start: usize,
}

impl OwnPid {
    fn new(name: &str) -> Self {
        let text = [name.as_bytes(), b"=", &[0; PID_ROOM]].concat();
        Self { text, start: name.len() + 1 }
    }

    fn write(&mut self, digits: &[u8]) {
        for (place, digit) in self.text[self.start..].iter_mut().zip(digits) {
            *place = *digit;
        }
    }
}

/// The pointers that `execve(2)` takes. They point into the blueprint, which must live on.
pub struct Prepared {
    blueprint: Blueprint,
    arguments: Vec<*const c_char>,
    environment: Vec<*const c_char>,
    own_pid: Vec<OwnPid>,
    affinity: Option<libc::cpu_set_t>,
    parent: i32,
}

impl Prepared {
    /// Lays everything out.
    pub fn new(blueprint: Blueprint) -> Self {
        let own_pid: Vec<_> = blueprint.own_pid.iter().map(|name| OwnPid::new(name)).collect();
        let pointers = |strings: &[CString]| strings.iter().map(|string| string.as_ptr()).collect::<Vec<_>>();
        let (mut arguments, mut environment) =
            (pointers(&blueprint.arguments), pointers(&blueprint.environment));
        environment.extend(own_pid.iter().map(|own| own.text.as_ptr().cast::<c_char>()));
        arguments.push(std::ptr::null());
        environment.push(std::ptr::null());
        let affinity = blueprint.core.map(|core| {
            // SAFETY: a cpu_set_t is plain integers, for which zero is a value; CPU_SET checks the bound.
            unsafe {
                let mut set: libc::cpu_set_t = std::mem::zeroed();
                libc::CPU_SET(core, &mut set);
                set
            }
        });
        Self { blueprint, arguments, environment, own_pid, affinity, parent: std::process::id() as i32 }
    }

    /// Becomes the program; returns only what went wrong. To be called in a new child and nowhere else.
    pub fn become_program(&mut self) -> io::Error {
        match self.settle().and_then(|()| signals::unblock_all()) {
            Ok(()) => self.execute(),
            Err(error) => error,
        }
    }

    fn settle(&mut self) -> io::Result<()> {
        let traits = &self.blueprint.traits;
        // SAFETY: system calls on this process alone, with pointers into values that live as long as `self`.
        unsafe {
            check(libc::setpgid(0, 0))?;
            if traits.foreground {
                // A terminal that went away meanwhile is no reason not to run. TTOU is still blocked.
                libc::tcsetpgrp(libc::STDIN_FILENO, libc::getpid());
            }
            for Inherited { ours, theirs } in &self.blueprint.descriptors {
                check(match ours == theirs {
                    // A copy on itself would stay marked to be closed by exec.
                    true => libc::fcntl(*ours, libc::F_SETFD, 0),
                    false => libc::dup2(*ours, *theirs),
                })?;
            }
            if let Some(files) = traits.files {
                let limit = libc::rlimit {
                    rlim_cur: files.soft as libc::rlim_t,
                    rlim_max: files.hard as libc::rlim_t,
                };
                check(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit))?;
            }
            if let Some(set) = &self.affinity {
                // The set of cores may have changed since; a worker that runs elsewhere still works.
                libc::sched_setaffinity(0, size_of_val(set), set);
            }
            if let Some(identity) = &traits.identity {
                // Not the C library's: it would tell the threads of a process that is not this one.
                check(libc::syscall(libc::SYS_setgroups, identity.groups.len(), identity.groups.as_ptr()))?;
                check(libc::syscall(libc::SYS_setgid, identity.gid))?;
                check(libc::syscall(libc::SYS_setuid, identity.uid))?;
            }
            if traits.no_new_privs {
                check(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
            }
            // After the change of user, which clears it (prctl(2), PR_SET_PDEATHSIG).
            check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0))?;
            if libc::getppid() != self.parent {
                // The supervisor died before it could be noticed: nobody is there to read an error.
                libc::_exit(1);
            }
        }
        self.write_own_pid();
        Ok(())
    }

    fn write_own_pid(&mut self) {
        // SAFETY: getpid(2) takes nothing and cannot fail.
        let mut rest = unsafe { libc::getpid() } as u32;
        let mut digits = [0_u8; PID_ROOM - 1];
        let mut first = digits.len();
        while first == digits.len() || rest > 0 {
            first -= 1;
            digits[first] = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        for own in &mut self.own_pid {
            own.write(&digits[first..]);
        }
    }

    /// As `execvp(3)` searches: a file that may not be executed is remembered, but the search goes on.
    fn execute(&self) -> io::Error {
        let mut denied = false;
        for path in &self.blueprint.candidates {
            // SAFETY: both arrays end with a null pointer, and all strings with NUL; they live as long as `self`.
            unsafe { libc::execve(path.as_ptr(), self.arguments.as_ptr(), self.environment.as_ptr()) };
            match io::Error::last_os_error().raw_os_error() {
                Some(libc::EACCES) => denied = true,
                Some(libc::ENOENT | libc::ENOTDIR) => {}
                Some(other) => return io::Error::from_raw_os_error(other),
                None => return io::Error::from_raw_os_error(libc::EIO),
            }
        }
        io::Error::from_raw_os_error(if denied { libc::EACCES } else { libc::ENOENT })
    }
}

fn check(result: impl Into<i64>) -> io::Result<()> {
    if result.into() < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
