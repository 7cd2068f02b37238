//! One client: one question at a time, over a connection each or over a few that it keeps, and every failure has its kind.

use std::collections::VecDeque;
use std::io::{Error, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::fastcgi;

/// Longer than any restart takes: who waits that long waits in vain.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How many connections a client keeps, and uses in turn: each idles while it is the others' turn.
const KEPT: usize = 4;

/// The language of the server.
#[derive(Clone, Copy, Debug)]
pub enum Protocol {
    /// HTTP/1.1, one request per connection.
    Http,
    /// HTTP/1.1, over connections that are kept for as long as the server keeps them.
    KeepAlive,
    /// FastCGI 1.0, one request per connection, for this script.
    FastCgi(&'static str),
}

/// How a request went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Answered in full, by the worker of this number.
    Answered(u64),
    /// Nobody listens.
    Refused,
    /// The connection was reset or closed before the answer was complete.
    Cut,
    /// No answer.
    TimedOut,
    /// What should not happen.
    Strange(String),
}

/// One request.
#[derive(Clone, Debug)]
pub struct Request {
    pub begun: Instant,
    pub ended: Instant,
    pub outcome: Outcome,
    /// Kept connections that were found closed when it was their turn again.
    pub closed: usize,
    /// Kept connections that were reset when the request was on its way, and had not been read: every HTTP client asks again.
    pub reset: usize,
    /// Kept connections that ended without a word when the request was on its way, and may have been read. Clients ask again, but
    /// a server that finishes what it has does not do that.
    pub ended_early: usize,
}

impl Request {
    /// Whether it was answered.
    pub fn is_ok(&self) -> bool {
        matches!(self.outcome, Outcome::Answered(_))
    }
}

/// Somebody who asks.
pub struct Client {
    address: SocketAddr,
    protocol: Protocol,
    kept: VecDeque<TcpStream>,
}

/// What came back.
enum Reply {
    Complete {
        text: String,
        stays: bool,
    },
    /// The connection ended, or broke, before the answer was complete; nothing of it may have come.
    Broken {
        anything: bool,
        unread: bool,
    },
}

impl Client {
    /// One without connections.
    pub fn new(address: SocketAddr, protocol: Protocol) -> Self {
        Self { address, protocol, kept: VecDeque::new() }
    }

    /// Asks for a page.
    pub fn ask(&mut self, path: &str) -> Request {
        let (now, outcome) = (Instant::now(), Outcome::Cut);
        let mut request = Request { begun: now, ended: now, outcome, closed: 0, reset: 0, ended_early: 0 };
        let outcome = match self.protocol {
            Protocol::Http => self.ask_anew(path, "close"),
            Protocol::KeepAlive => self.ask_again(path, &mut request),
            Protocol::FastCgi(script) => ask_page(self.address, script),
        };
        request.outcome = outcome.unwrap_or_else(failure);
        request.ended = Instant::now();
        request
    }

    fn ask_anew(&mut self, path: &str, connection: &str) -> Result<Outcome, Error> {
        let mut stream = connect(self.address)?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: {connection}\r\n\r\n")?;
        match read_reply(&mut stream)? {
            Reply::Complete { text, stays } => {
                if stays {
                    self.kept.push_back(stream);
                }
                Ok(judge(&text))
            }
            Reply::Broken { .. } => Ok(Outcome::Cut),
        }
    }

    fn ask_again(&mut self, path: &str, request: &mut Request) -> Result<Outcome, Error> {
        while self.kept.len() >= KEPT {
            let Some(mut stream) = self.kept.pop_front() else { break };
            if !is_open(&stream) {
                request.closed += 1;
                continue;
            }
            let asked = write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\n\r\n");
            let reply = if asked.is_ok() { read_reply(&mut stream)? } else { Reply::UNREAD };
            match reply {
                Reply::Complete { text, stays } => {
                    if stays {
                        self.kept.push_back(stream);
                    }
                    return Ok(judge(&text));
                }
                Reply::Broken { anything: false, unread: true } => request.reset += 1,
                Reply::Broken { anything: false, unread: false } => request.ended_early += 1,
                Reply::Broken { anything: true, .. } => return Ok(Outcome::Cut),
            }
        }
        self.ask_anew(path, "keep-alive")
    }
}

impl Reply {
    const UNREAD: Self = Self::Broken { anything: false, unread: true };
}

fn connect(address: SocketAddr) -> Result<TcpStream, Error> {
    let stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Whether nothing has come over an idle connection: neither its end nor anything that nobody asked for.
fn is_open(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let peeked = stream.peek(&mut [0]);
    stream.set_nonblocking(false).unwrap();
    matches!(peeked, Err(error) if error.kind() == ErrorKind::WouldBlock)
}

/// Reads one answer of a length that its header tells, and no more.
fn read_reply(stream: &mut TcpStream) -> Result<Reply, Error> {
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    loop {
        if let Some(stays) = is_complete(&answer) {
            return Ok(Reply::Complete { text: String::from_utf8_lossy(&answer).into_owned(), stays });
        }
        let anything = !answer.is_empty();
        match stream.read(&mut piece) {
            // A server that closes what it has not read resets the connection, and so does one that hears of it when it has
            // closed. That is seen at once, or stays behind as an error; a connection that ends without is one whose request
            // was read.
            Ok(0) => return Ok(Reply::Broken { anything, unread: stream.take_error()?.is_some() }),
            Ok(length) => answer.extend_from_slice(&piece[..length]),
            Err(error) if is_cut(&error) => return Ok(Reply::Broken { anything, unread: true }),
            Err(error) => return Err(error),
        }
    }
}

/// Whether a complete answer's connection stays open; `None` when it is not complete.
fn is_complete(answer: &[u8]) -> Option<bool> {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let length: usize = header(head, "content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
    let closes = header(head, "connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    (body.len() >= length).then_some(!closes)
}

fn header<'a>(head: &'a str, wanted: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case(wanted).then(|| value.trim())
    })
}

fn is_cut(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
}

fn failure(error: Error) -> Outcome {
    if error.kind() == ErrorKind::ConnectionRefused {
        Outcome::Refused
    } else if matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock) {
        Outcome::TimedOut
    } else if is_cut(&error) {
        Outcome::Cut
    } else {
        Outcome::Strange(error.to_string())
    }
}

/// The body is the worker's number, or an object that has it.
fn judge(answer: &str) -> Outcome {
    let strange = || Outcome::Strange(answer.to_owned());
    let Some((head, body)) = answer.split_once("\r\n\r\n") else { return Outcome::Cut };
    if !head.starts_with("HTTP/1.1 200 ") || header(head, "content-length").is_none() {
        return strange();
    }
    worker(body).map_or_else(strange, Outcome::Answered)
}

fn worker(body: &str) -> Option<u64> {
    let value: Value = serde_json::from_str(body).ok()?;
    value.as_u64().or_else(|| value.get("worker")?.as_u64())
}

/// The page is the worker's number, below PHP's header.
fn ask_page(address: SocketAddr, script: &str) -> Result<Outcome, Error> {
    let mut stream = connect(address)?;
    stream.write_all(&fastcgi::request(script))?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let Some(page) = fastcgi::page(&answer) else { return Ok(Outcome::Cut) };
    let number = page.split_once("\r\n\r\n").and_then(|(_, body)| body.trim().parse().ok());
    Ok(number.map_or(Outcome::Strange(page), Outcome::Answered))
}
