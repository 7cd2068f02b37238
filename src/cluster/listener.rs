//! What workers ask to listen on: the place to bind, and the name that we and they call it by.

use super::message::{HandleType, Query};

/// A place to bind, as a query asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// TCP.
    Tcp(Host),
    /// UDP; whether others may bind the same address.
    Udp {
        /// Where.
        host: Host,
        /// Node's `reuseAddr`.
        shared: bool,
    },
    /// A UNIX stream socket with a file.
    Path {
        /// The file.
        path: String,
        /// Everybody may read it.
        readable: bool,
        /// Everybody may write it.
        writable: bool,
    },
    /// A UNIX stream socket in the abstract name space.
    Abstract(String),
    /// A socket of `LISTEN`, by its number from 0.
    Passed(usize),
}

/// An address of the internet, or all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// The address; `None` is all, by IPv6 if there is IPv6.
    pub address: Option<String>,
    /// The port; 0 is any.
    pub port: u16,
    /// The address of all is that of IPv4 when it is `None`.
    pub is_ipv4: bool,
    /// Leave IPv4 alone.
    pub ipv6_only: bool,
}

/// What is wrong with a query, as a negative errno.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(pub i32);

/// EINVAL.
pub const INVALID: Errno = Errno(-22);
/// EMFILE.
pub const TOO_MANY: Errno = Errno(-24);
/// EADDRINUSE.
pub const IN_USE: Errno = Errno(-98);

/// The first descriptor that a program would find its sockets at under socket activation.
const FIRST_DESCRIPTOR: i64 = 3;

impl Query {
    /// Where to bind.
    pub fn place(&self) -> Result<Place, Errno> {
        if let Some(fd) = self.fd.filter(|fd| *fd >= 0) {
            // Only the sockets of LISTEN have a number here; the system says EBADF to any other.
            return Ok(Place::Passed(usize::try_from(fd - FIRST_DESCRIPTOR).unwrap_or(usize::MAX)));
        }
        if self.port == Some(-1) {
            return self.path();
        }
        let port = u16::try_from(self.port.unwrap_or(0)).map_err(|_| INVALID)?;
        let flags = self.flags;
        let host = |is_ipv4| Host { address: self.address.clone(), port, is_ipv4, ipv6_only: flags & 1 != 0 };
        match self.address_type.as_str() {
            "\"udp4\"" => Ok(Place::Udp { host: host(true), shared: flags & 4 != 0 }),
            "\"udp6\"" => Ok(Place::Udp { host: host(false), shared: flags & 4 != 0 }),
            // Without a host Node says 4, and means every address of either family.
            "4" | "6" | "null" => Ok(Place::Tcp(host(false))),
            _ => Err(INVALID),
        }
    }

    fn path(&self) -> Result<Place, Errno> {
        let path = self.address.as_deref().ok_or(INVALID)?;
        match path.split_once('\0') {
            // Node puts the working directory in front of an abstract name.
            Some((_, name)) if !name.is_empty() && name.len() <= 107 => Ok(Place::Abstract(name.to_owned())),
            None if path.starts_with('/') && path.len() <= 107 => Ok(Place::Path {
                path: path.to_owned(),
                readable: self.readable_all,
                writable: self.writable_all,
            }),
            Some(_) | None => Err(INVALID),
        }
    }

    /// The name by which all workers that mean the same listener call it (as Node 22 and later make it).
    pub fn key(&self) -> String {
        let port = self.port.unwrap_or(0);
        let address = self.address.as_deref().unwrap_or("");
        let key =
            format!("{address}:{port}:{}:{}", self.address_type.trim_matches('"'), self.fd.unwrap_or(-1));
        if port == 0 { format!("{key}:{}", self.index) } else { key }
    }

    /// The queue's length that the program asked for; 511 is Node's own.
    pub fn backlog(&self) -> u32 {
        self.backlog
            .and_then(|backlog| u32::try_from(backlog).ok())
            .filter(|backlog| *backlog > 0)
            .unwrap_or(511)
    }
}

impl Place {
    /// What the socket is to Node when it is given away.
    pub fn handle_type(&self) -> HandleType {
        match self {
            Self::Udp { .. } => HandleType::DatagramNative,
            Self::Tcp(_) | Self::Path { .. } | Self::Abstract(_) | Self::Passed(_) => HandleType::Native,
        }
    }

    /// The same place at a port that is known by now.
    pub fn at_port(mut self, known: u16) -> Self {
        if let Self::Tcp(host) | Self::Udp { host, .. } = &mut self {
            host.port = known;
        }
        self
    }
}
