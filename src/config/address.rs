//! Addresses as `LISTEN` writes them. Binds nothing, and looks up no name.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// One entry of `LISTEN`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Its name in `LISTEN_FDNAMES`.
    pub name: Option<String>,
    /// Where.
    pub place: Place,
}

/// Where a socket is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// TCP, on every address of the host: dual-stack, or IPv4 where there is no IPv6.
    AnyTcp(u16),
    /// TCP.
    Tcp(SocketAddr),
    /// UDP, on every address of the host.
    AnyUdp(u16),
    /// UDP.
    Udp(SocketAddr),
    /// A UNIX stream socket with a file; without a mode the umask decides.
    Path {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: Option<u32>,
    },
    /// A UNIX stream socket in the abstract name space.
    Abstract(String),
}

/// The longest path or name of a UNIX socket, in bytes (`unix(7)`: `sun_path` holds 108, one for the NUL).
const LONGEST_PATH: usize = 107;

impl Address {
    /// Reads one entry. The error is a phrase that says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (name, rest) = match text.split_once('=') {
            Some((name, rest)) if !name.contains([':', '/', '?']) => (Some(name), rest),
            _ => (None, text),
        };
        // systemd's rule for LISTEN_FDNAMES: the separator is ':', and 255 is the limit (sd_listen_fds(3)).
        if name.is_some_and(|name| name.is_empty() || name.len() > 255 || name.contains(char::is_control)) {
            return Err(format!("'{text}' has a name that is empty or too long"));
        }
        Ok(Self { name: name.map(str::to_owned), place: Place::parse(rest)? })
    }
}

impl Place {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Self::unix(path);
        }
        let (udp, rest) = match (text.strip_prefix("udp://"), text.strip_prefix("tcp://")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => (false, text),
        };
        let port = rest.strip_prefix(':').unwrap_or(rest);
        if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) {
            let port =
                port.parse().ok().filter(|port| *port > 0).ok_or_else(|| format!("'{port}' is no port"))?;
            return Ok(if udp { Self::AnyUdp(port) } else { Self::AnyTcp(port) });
        }
        let address: SocketAddr = rest.parse().map_err(|_| match rest.rsplit_once(':') {
            Some((host, _)) if host.starts_with(|c: char| c.is_ascii_alphabetic()) => {
                format!("'{rest}' begins with a name; write its IP address, like 127.0.0.1")
            }
            _ => format!("'{text}' is no address"),
        })?;
        Ok(if udp { Self::Udp(address) } else { Self::Tcp(address) })
    }

    fn unix(text: &str) -> Result<Self, String> {
        if let Some(name) = text.strip_prefix('@') {
            return match name.len() {
                1..=LONGEST_PATH => Ok(Self::Abstract(name.to_owned())),
                _ => Err(format!("'@{name}' is empty or longer than {LONGEST_PATH} bytes")),
            };
        }
        let (path, mode) = match text.split_once('?') {
            Some((path, option)) => {
                let mode = option.strip_prefix("mode=").and_then(|mode| u32::from_str_radix(mode, 8).ok());
                let mode = mode
                    .filter(|mode| *mode <= 0o777)
                    .ok_or_else(|| format!("'?{option}' is not ?mode=0660 or the like"))?;
                (path, Some(mode))
            }
            None => (text, None),
        };
        if !path.starts_with('/') || path.len() > LONGEST_PATH || path.contains('\0') {
            return Err(format!("'{path}' is not an absolute path of at most {LONGEST_PATH} bytes"));
        }
        Ok(Self::Path { path: PathBuf::from(path), mode })
    }

    /// Whether this is every IPv4 address, at the same port as `other`, and the same protocol: then `other`, if it is every
    /// IPv6 address, leaves IPv4 alone.
    pub fn is_ipv4_wildcard_beside(&self, other: &Self) -> bool {
        let every_ipv4 =
            |address: &SocketAddr, port: u16| *address == SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        match (self, other) {
            (Self::Tcp(own), Self::Tcp(other)) | (Self::Udp(own), Self::Udp(other)) => {
                every_ipv4(own, other.port())
            }
            (Self::Tcp(own), Self::AnyTcp(port)) | (Self::Udp(own), Self::AnyUdp(port)) => {
                every_ipv4(own, *port)
            }
            (
                Self::AnyTcp(_)
                | Self::Tcp(_)
                | Self::AnyUdp(_)
                | Self::Udp(_)
                | Self::Path { .. }
                | Self::Abstract(_),
                _,
            ) => false,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AnyTcp(port) => write!(f, "tcp://*:{port}"),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
            Self::AnyUdp(port) => write!(f, "udp://*:{port}"),
            Self::Udp(address) => write!(f, "udp://{address}"),
            Self::Path { path, .. } => write!(f, "unix:{}", path.display()),
            Self::Abstract(name) => write!(f, "unix:@{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        match Address::parse(text) {
            Ok(Address { name: Some(name), place }) => format!("{name} {place}"),
            Ok(Address { name: None, place }) => place.to_string(),
            Err(error) => format!("error: {error}"),
        }
    }

    #[test]
    fn every_form_of_the_table_is_read() {
        for (text, expected) in [
            ("8080", "tcp://*:8080"),
            (":8080", "tcp://*:8080"),
            ("0.0.0.0:8080", "tcp://0.0.0.0:8080"),
            ("[::]:8080", "tcp://[::]:8080"),
            ("tcp://127.0.0.1:1", "tcp://127.0.0.1:1"),
            ("udp://5353", "udp://*:5353"),
            ("udp://[::1]:53", "udp://[::1]:53"),
            ("unix:/run/app.sock", "unix:/run/app.sock"),
            ("unix:@app", "unix:@app"),
            ("http=8080", "http tcp://*:8080"),
            ("admin=unix:/run/a=b.sock?mode=0660", "admin unix:/run/a=b.sock"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
        let place = Address::parse("unix:/run/a=b?mode=0660").map(|address| address.place);
        assert_eq!(place, Ok(Place::Path { path: "/run/a=b".into(), mode: Some(0o660) }));
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_reason() {
        assert_eq!(
            shown("localhost:80"),
            "error: 'localhost:80' begins with a name; write its IP address, like 127.0.0.1"
        );
        for text in [
            "0",
            "65536",
            "",
            "1.2.3.4",
            "[::]",
            "unix:",
            "unix:relative",
            "unix:@",
            "=80",
            "unix:/a?mode=9",
            "unix:/a?x",
        ] {
            assert!(shown(text).starts_with("error: "), "{text}: {}", shown(text));
        }
        assert!(shown(&format!("unix:/{}", "x".repeat(107))).starts_with("error"));
    }
}
