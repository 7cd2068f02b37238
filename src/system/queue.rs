//! How many connections wait to be accepted from the sockets that we own.

#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{SockaddrStorage, getsockname};

/// By the listener's name in `LISTEN`, or else its address, and by its address: where the kernel does not tell how many wait,
/// nothing.
pub type Depths = BTreeMap<(String, String), Option<u32>>;

/// Adds a socket's queue to those of the same listener.
pub fn add(depths: &mut Depths, name: Option<&str>, socket: &OwnedFd) {
    let Ok(address) = getsockname::<SockaddrStorage>(socket.as_raw_fd()) else { return };
    let address = address.to_string();
    let name = name.map_or_else(|| address.clone(), str::to_owned);
    let waiting = depths.entry((name, address)).or_default();
    if let Some(depth) = depth(socket) {
        *waiting = Some(waiting.unwrap_or(0).saturating_add(depth));
    }
}

/// Connections that wait at a listening socket of TCP: there, `tcpi_unacked` is its queue (kernel: `tcp_get_info`). Nothing for
/// other sockets.
pub fn depth(socket: &OwnedFd) -> Option<u32> {
    // SAFETY: the value is plain integers, for which zero is a value, and the kernel writes at most as many bytes as it has.
    let (result, info) = unsafe {
        let mut info: libc::tcp_info = std::mem::zeroed();
        let mut size = size_of::<libc::tcp_info>() as libc::socklen_t;
        let place = (&raw mut info).cast();
        let result =
            libc::getsockopt(socket.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, place, &raw mut size);
        (result, info)
    };
    const LISTENING: u8 = 10;
    (result == 0 && info.tcpi_state == LISTENING).then_some(info.tcpi_unacked)
}
