//! A client that counts on nothing: one request at a time, with a deadline, and every failure has its kind.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, socket};
use serde_json::Value;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Why there was no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Failure {
    /// Nobody listens.
    Refused,
    /// The connection was ended.
    Cut,
    /// Nothing came in time.
    Silent,
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        let kind = error.kind();
        if kind == ErrorKind::ConnectionRefused {
            Self::Refused
        } else if matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut) {
            Self::Silent
        } else {
            Self::Cut
        }
    }
}

/// A connection that stays.
pub struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    /// Connects, and says nothing yet.
    pub fn open(address: SocketAddr) -> Result<Self, Failure> {
        Ok(Self::over(TcpStream::connect_timeout(&address, PATIENCE)?))
    }

    /// Connects from this address.
    pub fn open_from(source: Ipv4Addr, address: SocketAddr) -> Self {
        let IpAddr::V4(ip) = address.ip() else { panic!("{address} is not IPv4") };
        let fd: OwnedFd =
            socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
        use std::os::fd::AsRawFd;
        bind(fd.as_raw_fd(), &SockaddrIn::from(std::net::SocketAddrV4::new(source, 0))).unwrap();
        let address = std::net::SocketAddrV4::new(ip, address.port());
        connect(fd.as_raw_fd(), &SockaddrIn::from(address)).unwrap();
        Self::over(TcpStream::from(fd))
    }

    fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream: BufReader::new(stream) }
    }

    /// Waits no longer than this for what comes.
    pub fn patience(&self, time: Duration) {
        self.stream.get_ref().set_read_timeout(Some(time)).unwrap();
    }

    /// Sends a request, whose answer is not waited for.
    pub fn ask(&mut self, path: &str) -> Result<(), Failure> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n");
        Ok(self.stream.get_mut().write_all(request.as_bytes())?)
    }

    /// Sends anything.
    pub fn write(&mut self, text: &str) {
        self.stream.get_mut().write_all(text.as_bytes()).unwrap();
    }

    /// One line, without its end.
    pub fn line(&mut self) -> Result<String, Failure> {
        let mut line = String::new();
        match self.stream.read_line(&mut line)? {
            0 => Err(Failure::Cut),
            _ => Ok(line.trim_end().to_owned()),
        }
    }

    /// Everything to the end.
    pub fn rest(&mut self) -> Result<String, Failure> {
        let mut text = String::new();
        self.stream.read_to_string(&mut text)?;
        Ok(text)
    }

    /// The answer to a request: a JSON object.
    pub fn answer(&mut self) -> Result<Value, Failure> {
        let status = self.line()?;
        assert!(status.starts_with("HTTP/1.1 200"), "{status}");
        let mut length = 0;
        loop {
            let line = self.line()?.to_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok(serde_json::from_slice(&body).unwrap())
    }

    /// The worker that answers a request.
    pub fn get(&mut self) -> Result<u64, Failure> {
        self.ask("/")?;
        Ok(worker(&self.answer()?))
    }
}

/// One request over a connection of its own: the worker that answered.
pub fn get(address: SocketAddr) -> Result<u64, Failure> {
    Connection::open(address)?.get()
}

/// The worker that an answer names.
pub fn worker(answer: &Value) -> u64 {
    answer["worker"].as_u64().unwrap()
}
