//! Hands the terminal on to the one worker that is to have it.

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
