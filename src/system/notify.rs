//! The socket on which workers say how they are (`sd_notify(3)`).
//!
//! Its name is an abstract one, which needs no directory that can be written to. Finds out who speaks (the kernel tells the
//! sender's pid, /proc its ancestors), and refuses to know whether that counts.

#![allow(unsafe_code)]

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::sockopt::PassCred;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, bind, setsockopt, socket};
use tracing::debug;

use super::descendants;
use crate::ids::Pid;
use crate::supervisor::event::Event;
use crate::supervisor::notification::words;

/// Longest datagram that is heard; libsystemd's own limit.
const LONGEST: usize = 4096;
/// Most datagrams that are read in a turn: whoever never stops talking keeps nobody waiting. What was said before a death is read all
/// the same, since the kernel queues fewer (`net.unix.max_dgram_qlen`).
const MOST_DATAGRAMS: usize = 512;

/// The workers' socket.
pub struct Notify {
    fd: OwnedFd,
    name: String,
    /// Whether /proc shows the processes that pids name.
    has_proc: bool,
    has_unread: bool,
}

/// What one look at the socket found.
enum Received {
    /// So many bytes, and who sent them.
    Datagram(usize, Option<Pid>),
    /// One that says too much.
    TooLong(Option<Pid>),
    /// No more for now.
    Nothing,
}

impl Notify {
    /// Binds it, at a name that nobody can have taken before.
    pub fn bind() -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(AddressFamily::Unix, SockType::Datagram, flags, None)?;
        setsockopt(&fd, PassCred, &true)?;
        let name = format!("allcores/{:032x}", random()?);
        bind(fd.as_raw_fd(), &UnixAddr::new_abstract(name.as_bytes())?)?;
        let has_proc = descendants::are_visible(std::process::id());
        Ok(Self { fd, name: format!("@{name}"), has_proc, has_unread: false })
    }

    /// What `NOTIFY_SOCKET` says.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether somebody said more than was read.
    pub fn has_unread(&self) -> bool {
        self.has_unread
    }

    /// Reads what has been said. Each sender is looked up before the next datagram is taken: one that waits for its barrier
    /// (`sd_notify_barrier(3)`) lives until then.
    pub fn read(&mut self, events: &mut Vec<Event>) {
        let mut buffer = [0; LONGEST];
        for _ in 0..MOST_DATAGRAMS {
            match receive(&self.fd, &mut buffer) {
                Received::Datagram(size, Some(sender)) => {
                    let words = words(&buffer[..size], |pid| self.lineage(pid));
                    if !words.is_empty() {
                        let lineage = self.lineage(sender);
                        debug!(lineage = ?lineage.iter().map(|pid| pid.raw()).collect::<Vec<_>>(), ?words, "notified");
                        events.push(Event::Notified { lineage, words });
                    }
                }
                Received::Datagram(_, None) => debug!("notification from another pid namespace dropped"),
                Received::TooLong(sender) => {
                    debug!(
                        pid = sender.map(Pid::raw),
                        longest = LONGEST,
                        "notification is too long, dropped"
                    );
                }
                Received::Nothing => {
                    self.has_unread = false;
                    return;
                }
            }
        }
        self.has_unread = true;
    }

    /// A process and its ancestors below us; one that cannot be looked up any more is all that is known.
    fn lineage(&self, pid: Pid) -> Vec<Pid> {
        if self.has_proc { descendants::lineage(pid, std::process::id()) } else { vec![pid] }
    }
}

impl AsRawFd for Notify {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// Room for who sent it, and for nothing else: a descriptor that comes along finds no room, and the kernel closes it (`unix(7)`). That is also what
/// `BARRIER=1` waits for.
#[repr(C)]
struct Control {
    header: libc::cmsghdr,
    credentials: libc::ucred,
}

/// Takes one datagram. Not nix's recvmsg: for want of room for a descriptor it does not tell who sent it.
fn receive(fd: &OwnedFd, buffer: &mut [u8; LONGEST]) -> Received {
    let mut control = MaybeUninit::<Control>::zeroed();
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: LONGEST };
    // SAFETY: a msghdr is integers and pointers, for which zero is a value.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of::<Control>() as _;
    // SAFETY: the kernel writes no more than the lengths say, into values that live until the call returns.
    let read = unsafe {
        libc::recvmsg(fd.as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC)
    };
    let Ok(size) = usize::try_from(read) else { return Received::Nothing };
    // SAFETY: it was zeroed, which is a value of plain integers, or the kernel has filled it in.
    let Control { header, credentials } = unsafe { control.assume_init() };
    let is_filled = header.cmsg_level == libc::SOL_SOCKET && header.cmsg_type == libc::SCM_CREDENTIALS;
    let sender = Pid::new(credentials.pid).filter(|_| is_filled);
    if message.msg_flags & libc::MSG_TRUNC != 0 {
        return Received::TooLong(sender);
    }
    Received::Datagram(size, sender)
}

/// A number that nobody can guess.
fn random() -> io::Result<u128> {
    let mut bytes = [0; 16];
    // SAFETY: the kernel writes no more than the length says; so few bytes come all at once (`getrandom(2)`).
    let read = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    if read < 0 { Err(Errno::last().into()) } else { Ok(u128::from_ne_bytes(bytes)) }
}
