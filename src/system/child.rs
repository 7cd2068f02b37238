//! What a new process does between its birth and its exec: it becomes what the README promises that a worker finds.
//!
//! Everything is prepared before. Until its exec the child shares our memory while we stand still (`process.rs` says why), so here
//! nothing is allocated, locked or logged, and the C library's calls that keep books of their own are left out.

#![allow(unsafe_code)]

use std::ffi::{CString, c_char};
use std::io;
use std::os::fd::RawFd;

use super::descriptors::FIRST;
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

/// One child, ready to become.
pub struct Blueprint {
    /// Paths to try, in order.
    pub candidates: Vec<CString>,
    /// The arguments, the program's name first.
    pub arguments: Vec<CString>,
    /// `NAME=value`, all of it.
    pub environment: Vec<CString>,
    /// Whether `LISTEN_PID` is added.
    pub listen_pid: bool,
    /// Sockets that it finds from [`FIRST`] on. The numbers here lie above that range.
    pub sockets: Vec<RawFd>,
    /// The core that it is pinned to.
    pub core: Option<usize>,
    /// Common traits.
    pub traits: Traits,
}

/// `LISTEN_PID=` and room for the digits of any pid and a NUL. A pid that is padded with zeros is refused by libsystemd,
/// so the number is written where it starts.
const LISTEN_PID: &[u8; 11] = b"LISTEN_PID=";
const LISTEN_PID_ROOM: usize = LISTEN_PID.len() + 11;

/// The pointers that `execve(2)` takes. They point into the blueprint, which must live on.
pub struct Prepared {
    blueprint: Blueprint,
    arguments: Vec<*const c_char>,
    environment: Vec<*const c_char>,
    listen_pid: Box<[u8; LISTEN_PID_ROOM]>,
    affinity: Option<libc::cpu_set_t>,
    parent: i32,
}

impl Prepared {
    /// Lays everything out.
    pub fn new(blueprint: Blueprint) -> Self {
        let mut listen_pid = Box::new([0; LISTEN_PID_ROOM]);
        listen_pid[..LISTEN_PID.len()].copy_from_slice(LISTEN_PID);
        let pointers = |strings: &[CString]| strings.iter().map(|string| string.as_ptr()).collect::<Vec<_>>();
        let (mut arguments, mut environment) =
            (pointers(&blueprint.arguments), pointers(&blueprint.environment));
        if blueprint.listen_pid {
            environment.push(listen_pid.as_ptr().cast());
        }
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
        Self { blueprint, arguments, environment, listen_pid, affinity, parent: std::process::id() as i32 }
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
            for (number, socket) in (FIRST..).zip(&self.blueprint.sockets) {
                check(libc::dup2(*socket, number))?;
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
        self.write_listen_pid();
        Ok(())
    }

    fn write_listen_pid(&mut self) {
        // SAFETY: getpid(2) takes nothing and cannot fail.
        let mut rest = unsafe { libc::getpid() } as u32;
        let mut digits = [0_u8; 10];
        let mut count = 0;
        while count == 0 || rest > 0 {
            digits[count] = b'0' + (rest % 10) as u8;
            rest /= 10;
            count += 1;
        }
        for (place, digit) in self.listen_pid[LISTEN_PID.len()..].iter_mut().zip(digits[..count].iter().rev())
        {
            *place = *digit;
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
