//! The simplest client that HTTP can have.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::harness::until;

/// Where tests have their door, each in a network of its own.
pub const DOOR: &str = "127.0.0.1:9180";

/// What was answered.
pub struct Answer {
    /// The first line and the headers.
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn code(&self) -> u16 {
        self.head
            .split(' ')
            .nth(1)
            .unwrap_or_default()
            .parse()
            .unwrap_or_else(|_| panic!("no code: {}", self.head))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// Connects as soon as somebody listens.
pub fn connect() -> TcpStream {
    until("the door is open", || TcpStream::connect(DOOR).ok())
}

/// Says something, and gives all that is answered until the connection ends.
pub fn exchange(mut stream: impl Read + Write, text: &str) -> Answer {
    stream.write_all(text.as_bytes()).unwrap();
    read(stream)
}

/// Reads to the end of the connection.
pub fn read(mut stream: impl Read) -> Answer {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
    Answer { head: head.to_owned(), body: body.to_owned() }
}

fn request(method: &str, path: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
}

/// Asks at the door.
pub fn ask(method: &str, path: &str) -> Answer {
    exchange(connect(), &request(method, path))
}

/// Code and text of a probe.
pub fn probe(path: &str) -> (u16, String) {
    let answer = ask("GET", path);
    (answer.code(), answer.body.trim_end().to_owned())
}

/// Asks at the control socket.
pub fn demand(socket: &Path, method: &str, path: &str) -> Answer {
    let stream = until("the control socket is there", || UnixStream::connect(socket).ok());
    exchange(stream, &request(method, path))
}
