//! Binds the sockets of `LISTEN`, or takes over those that were passed to us; both are ours from start to exit.
//!
//! Never sets O_NONBLOCK on one, and never accepts: the open description is shared by all workers.

#![allow(unsafe_code)]

use std::fs;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::socket::sockopt::{Ipv6V6Only, ReuseAddr, ReusePort};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrLike, SockaddrStorage, UnixAddr, bind, connect, setsockopt,
    socket,
};
use nix::sys::stat::{Mode, umask};

use crate::config::address::{Address, Place};

/// What all sockets of a run have in common.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// Connections that may wait.
    pub backlog: u32,
    /// Whether others may bind the same address, as the sockets of other slots do.
    pub reuseport: bool,
}

/// What a socket without a name is called (`sd_listen_fds(3)`).
const NO_NAME: &str = "unknown";

/// A socket of ours.
#[derive(Debug)]
pub struct Listener {
    /// The descriptor.
    pub fd: OwnedFd,
    /// Its name in `LISTEN_FDNAMES`.
    pub name: String,
    /// Whether it was made with `SO_REUSEPORT`, so that every slot can have one like it.
    pub multiplies: bool,
    file: Option<SocketFile>,
}

impl Listener {
    /// The descriptor, and the file that is removed in the end.
    pub fn into_parts(self) -> (OwnedFd, Option<SocketFile>) {
        (self.fd, self.file)
    }

    /// The name that it was given, if it was given one.
    pub fn given_name(&self) -> Option<&str> {
        Some(self.name.as_str()).filter(|name| *name != NO_NAME)
    }

    /// A socket that was passed to us.
    pub fn passed(fd: OwnedFd, name: String) -> Self {
        Self { fd, name, multiplies: false, file: None }
    }
}

/// The file of a UNIX socket, known again by its inode.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Drop for SocketFile {
    /// Removes the file, if it is still the one that we made.
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|meta| (meta.dev(), meta.ino()) == (self.device, self.inode));
        if ours {
            // Nothing can be done about a directory that has become read-only.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The kernel's limit of a backlog, which it applies in silence (`listen(2)`).
pub fn longest_backlog() -> Option<u32> {
    fs::read_to_string("/proc/sys/net/core/somaxconn").ok()?.trim().parse().ok()
}

/// Binds one address. `all` are the addresses of this run: an IPv6 wildcard leaves IPv4 alone when IPv4 has an entry of its
/// own. The error names the address.
pub fn listen(address: &Address, all: &[Address], manner: Manner) -> Result<Listener, String> {
    let name = address.name.clone().unwrap_or_else(|| NO_NAME.to_owned());
    let bound = match &address.place {
        Place::AnyTcp(_) | Place::Tcp(_) | Place::AnyUdp(_) | Place::Udp(_) => {
            bind_place(&address.place, all, manner, bind_internet).map(|fd| (fd, None))
        }
        Place::Abstract(name) => UnixAddr::new_abstract(name.as_bytes())
            .map_err(io::Error::from)
            .and_then(|unix| bind_unix(&unix, manner.backlog))
            .map(|fd| (fd, None)),
        Place::Path { path, mode } => {
            bind_path(path, *mode, manner.backlog).map(|(fd, file)| (fd, Some(file)))
        }
    };
    let (fd, file) = bound.map_err(|error| {
        format!("cannot listen on {}: {}", address.place, explain(&error, &address.place))
    })?;
    let multiplies = manner.reuseport && !matches!(address.place, Place::Path { .. } | Place::Abstract(_));
    Ok(Listener { fd, name, multiplies, file })
}

/// Whether nobody has an address of the internet. With `SO_REUSEPORT` whoever has it as well would not be noticed.
pub fn is_free(address: &Address, all: &[Address]) -> bool {
    let manner = Manner { backlog: 0, reuseport: false };
    let bound = bind_place(&address.place, all, manner, bind_only);
    bound.map_err(|error| error.raw_os_error()).err() != Some(Some(libc::EADDRINUSE))
}

/// Binds a place of the internet.
fn bind_place(
    place: &Place,
    all: &[Address],
    Manner { backlog, reuseport }: Manner,
    bind: impl Fn(Internet) -> io::Result<OwnedFd>,
) -> io::Result<OwnedFd> {
    let dual_stack = !all.iter().any(|other| other.place.is_ipv4_wildcard_beside(place));
    let at = |kind: SockType, addr: SocketAddr| {
        // Connections of the run before, in TIME_WAIT, do not keep us from the address.
        let reuseaddr = kind == SockType::Stream;
        bind(Internet { kind, addr, dual_stack, backlog, reuseport, reuseaddr })
    };
    let any = |kind: SockType, port: u16| {
        at(kind, (Ipv6Addr::UNSPECIFIED, port).into()).or_else(|error| match error.raw_os_error() {
            Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL) => at(kind, (Ipv4Addr::UNSPECIFIED, port).into()),
            Some(_) | None => Err(error),
        })
    };
    match place {
        Place::AnyTcp(port) => any(SockType::Stream, *port),
        Place::AnyUdp(port) => any(SockType::Datagram, *port),
        Place::Tcp(addr) => at(SockType::Stream, *addr),
        Place::Udp(addr) => at(SockType::Datagram, *addr),
        Place::Path { .. } | Place::Abstract(_) => Err(Errno::EAFNOSUPPORT.into()),
    }
}

fn explain(error: &io::Error, place: &Place) -> String {
    let remedy = match error.raw_os_error() {
        Some(libc::EADDRINUSE) => "something else listens there",
        Some(libc::EADDRNOTAVAIL) => "this host has no such address",
        Some(libc::EAFNOSUPPORT) => "this host has no such address family",
        Some(libc::EACCES | libc::EPERM) => match place {
            Place::Path { .. } => "the directory is not writable",
            Place::AnyTcp(_) | Place::Tcp(_) | Place::AnyUdp(_) | Place::Udp(_) | Place::Abstract(_) => {
                "choose a port above net.ipv4.ip_unprivileged_port_start, or start as root with USER"
            }
        },
        Some(libc::ENOENT) => "the directory does not exist",
        Some(_) | None => return error.to_string(),
    };
    format!("{error}; {remedy}")
}

/// A socket of the internet, as it is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Internet {
    /// TCP or UDP.
    pub kind: SockType,
    /// Where.
    pub addr: SocketAddr,
    /// An IPv6 wildcard serves IPv4 as well.
    pub dual_stack: bool,
    /// Connections that may wait.
    pub backlog: u32,
    /// `SO_REUSEPORT`.
    pub reuseport: bool,
    /// `SO_REUSEADDR`.
    pub reuseaddr: bool,
}

/// Makes, binds, and if it is TCP's, listens.
pub fn bind_internet(wanted: Internet) -> io::Result<OwnedFd> {
    let fd = bind_only(wanted)?;
    if wanted.kind == SockType::Stream {
        start_listening(&fd, wanted.backlog)?;
    }
    Ok(fd)
}

fn bind_only(wanted: Internet) -> io::Result<OwnedFd> {
    let Internet { kind, addr, dual_stack, reuseport, reuseaddr, .. } = wanted;
    let family = if addr.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet };
    let fd = socket(family, kind, SockFlag::SOCK_CLOEXEC, None)?;
    if reuseaddr {
        setsockopt(&fd, ReuseAddr, &true)?;
    }
    if reuseport {
        setsockopt(&fd, ReusePort, &true)?;
    }
    if addr.is_ipv6() {
        setsockopt(&fd, Ipv6V6Only, &!dual_stack)?;
    }
    bind(fd.as_raw_fd(), &SockaddrStorage::from(addr))?;
    Ok(fd)
}

/// Makes, binds and listens.
pub fn bind_unix(address: &dyn SockaddrLike, backlog: u32) -> io::Result<OwnedFd> {
    let fd = unix_socket(SockFlag::SOCK_CLOEXEC)?;
    bind(fd.as_raw_fd(), address)?;
    start_listening(&fd, backlog)?;
    Ok(fd)
}

fn unix_socket(flags: SockFlag) -> io::Result<OwnedFd> {
    Ok(socket(AddressFamily::Unix, SockType::Stream, flags, None)?)
}

/// Not nix's: its limit is the C library's idea of SOMAXCONN, which in musl is 128.
fn start_listening(fd: &OwnedFd, backlog: u32) -> io::Result<()> {
    // SAFETY: listen(2) takes two integers, and the descriptor is open.
    let result = unsafe { libc::listen(fd.as_raw_fd(), backlog.min(65_535) as i32) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A file that nobody listens on is replaced; a live one, or a file of another kind, is an error.
pub fn bind_path(path: &Path, mode: Option<u32>, backlog: u32) -> io::Result<(OwnedFd, SocketFile)> {
    let address = UnixAddr::new(path)?;
    match fs::symlink_metadata(path) {
        Ok(meta) if !meta.file_type().is_socket() => {
            return Err(io::Error::other("there is a file of another kind; remove it"));
        }
        Ok(_) if is_alive(&address) => return Err(Errno::EADDRINUSE.into()),
        Ok(_) => fs::remove_file(path)?,
        Err(_) => {}
    }
    // The file never has more permissions than were asked for, not even for a moment.
    let previous = mode.map(|mode| umask(Mode::from_bits_truncate(!mode & 0o777)));
    let bound = bind_unix(&address, backlog);
    if let Some(previous) = previous {
        umask(previous);
    }
    let fd = bound?;
    if let Some(mode) = mode {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    }
    let meta = fs::symlink_metadata(path)?;
    Ok((fd, SocketFile { path: path.to_owned(), device: meta.dev(), inode: meta.ino() }))
}

fn is_alive(address: &UnixAddr) -> bool {
    let Ok(fd) = unix_socket(SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK) else { return true };
    // A full queue (EAGAIN) has an owner; only a refused connection has none.
    connect(fd.as_raw_fd(), address) != Err(Errno::ECONNREFUSED)
}
