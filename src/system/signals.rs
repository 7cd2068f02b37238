//! Hears signals: all of them blocked, and read from one signalfd.
//!
//! Why no handlers: a signalfd gives every instance of a real-time signal (a handler with a flag gives one for many), it
//! hears 34 (`RTMIN` to Docker and systemd), for which musl installs no handler, nothing of ours runs between a fork and
//! its exec, and no system call is interrupted. Why raw calls: musl's signal sets leave out 32 to 34.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;

use crate::signal::Signal;

/// Bytes of the kernel's signal set, as `rt_sigprocmask(2)` wants to be told.
const SET_BYTES: usize = 8;
/// How many signals are read at once.
const BATCH: usize = 32;

/// The one place where signals arrive.
pub struct Signals(OwnedFd);

impl Signals {
    /// Blocks every signal that can be blocked and is not a process's own fault, and forgets what we inherited:
    /// dispositions go back to the default, so that workers, which inherit them, have nothing ignored.
    pub fn block() -> io::Result<Self> {
        let set =
            Signal::all().filter(|signal| !signal.is_fault()).fold(0_u64, |set, signal| set | bit(signal));
        set_mask(set)?;
        for signal in Signal::all().filter(|signal| ![Signal::KILL, Signal::STOP].contains(signal)) {
            // As <asm/signal.h> has it for x86-64 and arm64: handler, flags, restorer, mask. All zero is SIG_DFL.
            let default = [0_u64; 4];
            let none = std::ptr::null_mut::<u64>();
            // SAFETY: the kernel reads 32 bytes, which `default` has, and writes nothing. SIG_DFL names no code.
            unsafe {
                libc::syscall(libc::SYS_rt_sigaction, signal.number(), default.as_ptr(), none, SET_BYTES)
            };
        }
        let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
        // SAFETY: the kernel reads SET_BYTES bytes of `set`, which lives until the call returns.
        let fd = unsafe { libc::syscall(libc::SYS_signalfd4, -1, &raw const set, SET_BYTES, flags) };
        match RawFd::try_from(fd) {
            // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
            Ok(fd) if fd >= 0 => Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) })),
            Ok(_) | Err(_) => Err(io::Error::last_os_error()),
        }
    }

    /// Sleeps so long, or until there is one.
    pub fn wait(&self, time: Duration) {
        let mut signals = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        // Whatever wakes us, and be it an error, we look what there is.
        let _ = ppoll(&mut signals, Some(TimeSpec::from_duration(time)), None);
    }

    /// The signals that came since, in the kernel's order. A standard signal that came several times is there once.
    pub fn drain(&self) -> Vec<Signal> {
        let mut signals = Vec::new();
        loop {
            // SAFETY: signalfd_siginfo is plain integers, for which zero is a value.
            let mut batch: [libc::signalfd_siginfo; BATCH] = unsafe { std::mem::zeroed() };
            let size = size_of_val(&batch);
            // SAFETY: the buffer is ours and has `size` bytes.
            let read = unsafe { libc::read(self.0.as_raw_fd(), batch.as_mut_ptr().cast(), size) };
            let count = usize::try_from(read).unwrap_or(0) / size_of::<libc::signalfd_siginfo>();
            signals.extend(batch[..count].iter().filter_map(|info| Signal::new(info.ssi_signo as i32)));
            // Fewer than fit: the queue is empty, and the next signal makes the descriptor readable again.
            if count < BATCH {
                return signals;
            }
        }
    }
}

impl AsRawFd for Signals {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Lets every signal through, to do what it does to any program.
pub fn release() {
    // It takes the number of bytes that it did to block them.
    let _ = set_mask(0);
}

/// Lets every signal through, right before an exec. Safe to call between fork and exec.
///
/// Our parent stands still until that exec. A key of the terminal that suspended us here would suspend it for ever, so it
/// is passed over; the exec makes its signal's handler the default again.
pub fn unblock_all() -> io::Result<()> {
    for signal in [Signal::TSTP, Signal::TTIN, Signal::TTOU] {
        let handler = pass_over as *const () as libc::sighandler_t;
        // SAFETY: the handler touches nothing, and is this process's alone.
        unsafe { libc::signal(signal.number(), handler) };
    }
    set_mask(0)
}

extern "C" fn pass_over(_: libc::c_int) {}

fn set_mask(set: u64) -> io::Result<()> {
    let none = std::ptr::null_mut::<u64>();
    // SAFETY: the kernel reads SET_BYTES bytes of `set` and writes nothing.
    let result = unsafe {
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const set, none, SET_BYTES)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn bit(signal: Signal) -> u64 {
    1 << (signal.number() - 1)
}
