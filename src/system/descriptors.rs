//! Descriptors that nobody may inherit by accident, and those that were passed on purpose.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

use nix::fcntl::{FcntlArg, fcntl};

/// The first descriptor of the socket protocol (`sd_listen_fds(3)`), behind standard input, output and error.
pub const FIRST: RawFd = 3;

/// Marks everything from [`FIRST`] on to be closed by exec: what we inherited is not our workers' business, and a
/// leaked end of a pipe keeps a dead peer from reading as closed. All that we open later is marked from the start.
pub fn close_inherited_at_exec() {
    // SAFETY: changes a flag of descriptors; no memory is involved.
    let result = unsafe { libc::syscall(libc::SYS_close_range, FIRST, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if result == 0 {
        return;
    }
    // Before Linux 5.11 there is no such flag, and old seccomp profiles answer EPERM to the call.
    for fd in open_descriptors() {
        // SAFETY: as above; a descriptor that is not open is EBADF.
        unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
}

fn open_descriptors() -> Vec<RawFd> {
    match std::fs::read_dir("/proc/self/fd") {
        Ok(entries) => {
            let numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
            numbers.filter(|fd| *fd >= FIRST).collect()
        }
        Err(_) => {
            // Without /proc every number must be tried; a limit in the millions would take seconds.
            let limit = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE)
                .map_or(1024, |(soft, _)| soft);
            (FIRST..RawFd::try_from(limit.min(65_536)).unwrap_or(1024)).collect()
        }
    }
}

/// Takes over a descriptor that somebody passed to us by number. `None` when nobody did.
pub fn adopt(fd: RawFd) -> Option<OwnedFd> {
    // What was passed came across an exec; what is to be closed by one is our own (the signalfd, say).
    // SAFETY: F_GETFD reads a flag; a descriptor that is not open is EBADF.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
    if flags < 0 || flags & libc::FD_CLOEXEC != 0 {
        return None;
    }
    // SAFETY: F_DUPFD_CLOEXEC makes a new descriptor or fails; the number given is only looked up.
    let copy = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, FIRST) };
    if copy < 0 {
        return None;
    }
    // SAFETY: `fd` was passed to us by the socket protocol, nobody else in this process knows it, and `copy` is new.
    unsafe {
        libc::close(fd);
        Some(OwnedFd::from_raw_fd(copy))
    }
}

/// Moves a descriptor to a number that is at least `lowest`.
pub fn lift(fd: &mut OwnedFd, lowest: RawFd) -> io::Result<()> {
    if fd.as_raw_fd() < lowest {
        *fd = duplicate(&*fd, lowest)?;
    }
    Ok(())
}

fn duplicate(fd: impl AsFd, lowest: RawFd) -> io::Result<OwnedFd> {
    let copy = fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(lowest))?;
    // SAFETY: fcntl has just made this descriptor, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}
