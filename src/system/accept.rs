//! Accepts connections, and says whence they come.

#![allow(unsafe_code)]

use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{SockFlag, SockaddrStorage, accept4, getpeername, getsockname};
use tracing::warn;

use crate::cluster::balancer::Rest;
use crate::cluster::figures::AcceptError;
use crate::cluster::message::SockName;

/// What was accepted, and what is left.
pub struct Accepted {
    /// The connections, and whence they come where that was asked for.
    pub connections: Vec<(OwnedFd, Option<IpAddr>)>,
    /// Whether more wait.
    pub rest: Rest,
}

/// Accepts so many, or as many as there are. An error that is a connection's own is no end, one that is ours is one for now.
pub fn all(listener: &OwnedFd, most: usize, with_peer: bool) -> Accepted {
    let mut connections = Vec::new();
    while connections.len() < most {
        // To accept in vain is as much work for the kernel as to accept.
        if !connections.is_empty() && !has_more(listener) {
            return Accepted { connections, rest: Rest::Nothing };
        }
        match one(listener) {
            Ok(connection) => {
                let peer = if with_peer { peer(&connection) } else { None };
                connections.push((connection, peer));
            }
            // The second is said when it was shut.
            Err(Errno::EAGAIN | Errno::EINVAL) => return Accepted { connections, rest: Rest::Nothing },
            Err(Errno::EINTR | Errno::ECONNABORTED | Errno::EPROTO) => {}
            Err(error) => {
                warn!(error = %error, "connection cannot be accepted, trying again soon");
                return Accepted { connections, rest: Rest::Failed(named(error)) };
            }
        }
    }
    Accepted { connections, rest: Rest::More }
}

#[allow(clippy::wildcard_enum_match_arm, reason = "the kernel may say anything")]
fn named(error: Errno) -> AcceptError {
    match error {
        Errno::EMFILE => AcceptError::TooManyFiles,
        Errno::ENFILE => AcceptError::TooManyFilesInSystem,
        Errno::ENOMEM => AcceptError::NoMemory,
        Errno::ENOBUFS => AcceptError::NoBuffers,
        _ => AcceptError::Other,
    }
}

/// Whether somebody waits.
fn has_more(listener: &OwnedFd) -> bool {
    // Who cannot be asked is tried.
    poll(&mut [PollFd::new(listener.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO) != Ok(0)
}

fn one(listener: &OwnedFd) -> Result<OwnedFd, Errno> {
    // The worker expects it not to block, and does not see to that itself.
    let fd = accept4(listener.as_raw_fd(), SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK)?;
    // SAFETY: the kernel has just made it for us, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Whence a connection comes; nothing for a UNIX socket, or one that is gone by now.
fn peer(connection: &OwnedFd) -> Option<IpAddr> {
    internet_address(&getpeername(connection.as_raw_fd()).ok()?).map(|address| address.ip())
}

/// The name of an internet socket.
pub fn name(socket: &OwnedFd) -> Option<SockName> {
    let address = internet_address(&getsockname(socket.as_raw_fd()).ok()?)?;
    let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
    Some(SockName { address: address.ip().to_string(), family, port: address.port() })
}

fn internet_address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    match (storage.as_sockaddr_in(), storage.as_sockaddr_in6()) {
        (Some(four), _) => Some(SocketAddr::from((four.ip(), four.port()))),
        (None, Some(six)) => Some(SocketAddr::from((six.ip(), six.port()))),
        (None, None) => None,
    }
}
