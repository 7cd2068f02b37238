//! The terminal: handed on to the one worker that is to have it, and how large it is.

#![allow(unsafe_code)]

use nix::unistd::{getpgrp, tcgetpgrp};

use crate::ids::Pid;

/// Whether standard input is a terminal and we are its foreground, so that it is ours to hand on.
pub fn is_ours() -> bool {
    tcgetpgrp(std::io::stdin()).is_ok_and(|foreground| foreground == getpgrp())
}

/// Makes the group that `leader` leads the foreground, if we are it now: a job that is continued in the background
/// stays there.
pub fn give_to(leader: Pid) {
    if is_ours() {
        // TTOU, which the kernel would send us for it, is blocked.
        // SAFETY: tcsetpgrp(3) takes two integers.
        unsafe { libc::tcsetpgrp(libc::STDIN_FILENO, leader.raw()) };
    }
}

/// Rows and columns of the terminal that standard output is.
pub fn size() -> Option<(u16, u16)> {
    // SAFETY: a winsize is plain integers, for which zero is a value; the kernel fills it in.
    let (result, size) = unsafe {
        let mut size: libc::winsize = std::mem::zeroed();
        (libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, &raw mut size), size)
    };
    (result == 0 && size.ws_row > 0 && size.ws_col > 0).then_some((size.ws_row, size.ws_col))
}
