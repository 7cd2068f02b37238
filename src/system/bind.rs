//! Binds what the workers of a cluster ask for: sockets of `LISTEN` where they fit, new ones where the worker's user could have
//! bound them itself.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{SockType, UnixAddr};

use super::socket::{self, Internet, Listener, SocketFile};
use crate::cluster::Sharing;
use crate::cluster::listener::{Errno, Host, INVALID, Place};
use crate::config::address::{self, Address};

/// EBADF: a descriptor that is none of `LISTEN`'s.
const NO_SOCKET: Errno = Errno(-libc::EBADF);
/// EACCES: what the worker's user could not bind.
const FORBIDDEN: Errno = Errno(-libc::EACCES);

/// A socket of `LISTEN`, and where it is, if we bound it ourselves.
struct Known {
    fd: Rc<OwnedFd>,
    name: Option<String>,
    place: Option<address::Place>,
}

/// Knows what there is, and makes what there is not.
pub struct Binder {
    known: Vec<Known>,
    /// Workers run as a user without the right to bind everything.
    is_limited: bool,
    longest_backlog: u32,
    /// Removed when we leave.
    files: Vec<SocketFile>,
}

impl Binder {
    /// Takes over the sockets of `LISTEN`, those that were passed to us first.
    pub fn new(
        sockets: Vec<Listener>,
        addresses: &[Address],
        is_limited: bool,
        longest_backlog: u32,
    ) -> io::Result<Self> {
        let passed = sockets.len() - addresses.len();
        let places = std::iter::repeat_n(None, passed)
            .chain(addresses.iter().map(|address| Some(address.place.clone())));
        let mut binder = Self { known: Vec::new(), is_limited, longest_backlog, files: Vec::new() };
        for (listener, place) in sockets.into_iter().zip(places) {
            let name = listener.given_name().map(str::to_owned);
            let (fd, file) = listener.into_parts();
            // Only we accept from it, or workers that expect it so.
            unblock(&fd)?;
            binder.files.extend(file);
            binder.known.push(Known { fd: Rc::new(fd), name, place });
        }
        Ok(binder)
    }

    /// Whether a socket was passed to us, and is somebody else's as well.
    pub fn was_passed(&self, fd: &Rc<OwnedFd>) -> bool {
        self.known.iter().any(|known| Rc::ptr_eq(&known.fd, fd) && known.place.is_none())
    }

    /// Keeps this socket open no longer.
    pub fn forget(&mut self, fd: &Rc<OwnedFd>) {
        self.known.retain(|known| !Rc::ptr_eq(&known.fd, fd));
    }

    /// The sockets of `LISTEN`, and what they were called.
    pub fn known(&self) -> impl Iterator<Item = (Option<&str>, &Rc<OwnedFd>)> {
        self.known.iter().map(|known| (known.name.as_deref(), &known.fd))
    }

    /// A socket at this place: bound, listening if connections come to it, and not blocking.
    pub fn bind(&mut self, place: &Place, backlog: u32, sharing: Sharing) -> Result<Rc<OwnedFd>, Errno> {
        if let Some(known) = self.find(place) {
            return Ok(known);
        }
        let backlog = backlog.min(self.longest_backlog);
        let bound = match place {
            Place::Passed(_) => return Err(NO_SOCKET),
            Place::Tcp(host) | Place::Udp { host, .. } if self.is_forbidden(host.port) => {
                return Err(FORBIDDEN);
            }
            Place::Path { .. } if self.is_limited => return Err(FORBIDDEN),
            Place::Tcp(host) => internet(host, |addr, dual_stack| Internet {
                kind: SockType::Stream,
                addr,
                dual_stack,
                backlog,
                reuseport: sharing == Sharing::OnePerSlot,
                reuseaddr: true,
            }),
            Place::Udp { host, shared } => internet(host, |addr, dual_stack| Internet {
                kind: SockType::Datagram,
                addr,
                dual_stack,
                backlog,
                reuseport: false,
                reuseaddr: *shared,
            }),
            Place::Path { path, readable, writable } => self.path(path, *readable, *writable, backlog),
            Place::Abstract(name) => UnixAddr::new_abstract(name.as_bytes())
                .map_err(io::Error::from)
                .and_then(|addr| socket::bind_unix(&addr, backlog)),
        };
        let fd = bound.map_err(|error| Errno(-error.raw_os_error().unwrap_or(libc::EADDRINUSE)))?;
        unblock(&fd).map_err(|_| INVALID)?;
        Ok(Rc::new(fd))
    }

    fn path(&mut self, path: &str, readable: bool, writable: bool, backlog: u32) -> io::Result<OwnedFd> {
        // As Node has it: the umask decides, and the flags add to it.
        let (fd, file) = socket::bind_path(path.as_ref(), None, backlog).map_err(as_libuv)?;
        self.files.push(file);
        let added = if readable { 0o444 } else { 0 } | if writable { 0o222 } else { 0 };
        if added != 0 {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(path)?.permissions().mode();
            fs::set_permissions(path, fs::Permissions::from_mode(mode | added))?;
        }
        Ok(fd)
    }

    /// The socket of `LISTEN` that is at this place.
    fn find(&self, place: &Place) -> Option<Rc<OwnedFd>> {
        if let Place::Passed(number) = place {
            return self.known.get(*number).map(|known| known.fd.clone());
        }
        let fits = |known: &&Known| known.place.as_ref().is_some_and(|known| is_same(known, place));
        self.known.iter().find(fits).map(|known| known.fd.clone())
    }

    fn is_forbidden(&self, port: u16) -> bool {
        let first_free = || {
            let text = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
            text.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(1024)
        };
        self.is_limited && port != 0 && port < first_free()
    }
}

fn unblock(fd: impl AsFd) -> io::Result<()> {
    fcntl(fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok(())
}

/// libuv says EACCES where the folder is missing (`src/unix/pipe.c`), and programs know it so.
fn as_libuv(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(libc::ENOENT) => io::Error::from_raw_os_error(libc::EACCES),
        Some(_) | None => error,
    }
}

/// Binds at the host's address, or at every address: IPv6's first, which serves IPv4 as well.
fn internet(host: &Host, how: impl Fn(SocketAddr, bool) -> Internet) -> io::Result<OwnedFd> {
    let any = |address: IpAddr| SocketAddr::from((address, host.port));
    match &host.address {
        Some(text) => {
            let address: IpAddr = text.parse().map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
            socket::bind_internet(how(any(address), !host.ipv6_only))
        }
        None if host.is_ipv4 => socket::bind_internet(how(any(Ipv4Addr::UNSPECIFIED.into()), false)),
        None => {
            socket::bind_internet(how(any(Ipv6Addr::UNSPECIFIED.into()), !host.ipv6_only)).or_else(|error| {
                match error.raw_os_error() {
                    Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL) => {
                        socket::bind_internet(how(any(Ipv4Addr::UNSPECIFIED.into()), false))
                    }
                    Some(_) | None => Err(error),
                }
            })
        }
    }
}

/// Whether what a worker asks for is what `LISTEN` names: every address is every address, however it is written.
fn is_same(known: &address::Place, asked: &Place) -> bool {
    let wildcard = |host: &Host| host.address.as_deref().is_none_or(|text| ["::", "0.0.0.0"].contains(&text));
    let same = |addr: &SocketAddr, host: &Host| {
        let is_wildcard = addr.ip().is_unspecified() && wildcard(host);
        addr.port() == host.port
            && (is_wildcard || host.address.as_ref().and_then(|text| text.parse().ok()) == Some(addr.ip()))
    };
    match (known, asked) {
        (address::Place::AnyTcp(port), Place::Tcp(host))
        | (address::Place::AnyUdp(port), Place::Udp { host, .. }) => *port == host.port && wildcard(host),
        (address::Place::Tcp(addr), Place::Tcp(host))
        | (address::Place::Udp(addr), Place::Udp { host, .. }) => same(addr, host),
        (address::Place::Path { path, .. }, Place::Path { path: asked, .. }) => {
            path.as_os_str() == asked.as_str()
        }
        (address::Place::Abstract(name), Place::Abstract(asked)) => name == asked,
        (
            _,
            Place::Tcp(_) | Place::Udp { .. } | Place::Path { .. } | Place::Abstract(_) | Place::Passed(_),
        ) => false,
    }
}
