//! Asks a running allcores, through its control socket.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};

use crate::config::limits::Control;
use crate::system::control;

/// How long an answer may take that is no more than a look.
const PATIENCE: Duration = Duration::from_secs(5);
/// For people.
pub const TEXT: &str = "text/plain";
/// Longest answer that is read.
const MOST: u64 = 64 * 1024 * 1024;

/// What was answered to a look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// What was asked for.
    Ok(String),
    /// The answer of a probe that things are not as they should be.
    Unavailable(String),
}

/// How a change ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was done.
    Done,
    /// It was not.
    Failed,
    /// Nobody knows: the other end is gone.
    Unsaid,
}

/// Asks for something that is shown, in this form.
pub fn look(control: &Control, path: &str, accept: &str) -> Result<Answer, String> {
    let stream = find(control)?;
    let read = || -> io::Result<(u16, String)> {
        stream.set_read_timeout(Some(PATIENCE))?;
        let (code, mut reader) = ask(&stream, "GET", path, accept)?;
        let mut body = String::new();
        reader.read_to_string(&mut body)?;
        Ok((code, body))
    };
    match read().map_err(broken)? {
        (200, body) => Ok(Answer::Ok(body)),
        (503, body) => Ok(Answer::Unavailable(body)),
        (_, refusal) => Err(refusal.trim_end().to_owned()),
    }
}

/// Asks for a change, and passes on what is said of it, line by line.
pub fn change(control: &Control, path: &str, mut hear: impl FnMut(&str)) -> Result<Verdict, String> {
    let stream = find(control)?;
    let mut follow = || -> io::Result<Result<Verdict, String>> {
        let (code, mut reader) = ask(&stream, "POST", path, TEXT)?;
        if ![200, 409].contains(&code) {
            let mut refusal = String::new();
            reader.read_to_string(&mut refusal)?;
            return Ok(Err(refusal.trim_end().to_owned()));
        }
        let mut verdict = Verdict::Unsaid;
        for line in reader.lines() {
            let line = line?;
            verdict = match line.split_once(": ") {
                Some(("done", _)) => Verdict::Done,
                Some(("failed", _)) => Verdict::Failed,
                Some(_) | None => Verdict::Unsaid,
            };
            hear(&line);
        }
        Ok(Ok(verdict))
    };
    match follow() {
        // It ended, and with it the connection.
        Err(error)
            if [io::ErrorKind::UnexpectedEof, io::ErrorKind::ConnectionReset].contains(&error.kind()) =>
        {
            Ok(Verdict::Unsaid)
        }
        followed => followed.map_err(broken)?,
    }
}

fn broken(error: io::Error) -> String {
    let is_late = [io::ErrorKind::WouldBlock, io::ErrorKind::TimedOut].contains(&error.kind());
    if is_late {
        return format!("allcores does not answer within {PATIENCE:?}");
    }
    format!("allcores does not answer: {error}")
}

/// Connects to the first that listens.
fn find(control: &Control) -> Result<UnixStream, String> {
    let places = control::places(control);
    let mut problems = Vec::new();
    for place in &places {
        match open(place) {
            Ok(stream) => return Ok(stream),
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ECONNREFUSED) => {}
            Err(Errno::EACCES | Errno::EPERM) => {
                problems.push(format!("{}: only root and the user of allcores may use it", place.display()));
            }
            Err(Errno::EAGAIN) => problems.push(format!("{}: allcores does not answer", place.display())),
            Err(error) => problems.push(format!("{}: {}", place.display(), error.desc())),
        }
    }
    if places.is_empty() {
        return Err("ALLCORES_CONTROL is off: there is no control socket".to_owned());
    }
    if problems.is_empty() {
        let places: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
        return Err(format!(
            "no allcores is found at {}; ALLCORES_CONTROL says where else to look",
            places.join(", ")
        ));
    }
    Err(problems.join("; "))
}

/// Without waiting for one that accepts nobody.
fn open(path: &Path) -> Result<UnixStream, Errno> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    connect(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
    let stream = UnixStream::from(fd);
    stream.set_nonblocking(false).map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)))?;
    Ok(stream)
}

/// Writes the request, and reads the answer up to its body.
fn ask<'a>(
    mut stream: &'a UnixStream,
    method: &str,
    path: &str,
    accept: &str,
) -> io::Result<(u16, impl BufRead + use<'a>)> {
    let headers = format!("Host: allcores\r\nAccept: {accept}\r\nConnection: close");
    stream.write_all(format!("{method} {path} HTTP/1.1\r\n{headers}\r\n\r\n").as_bytes())?;
    let mut reader = BufReader::new(stream.take(MOST));
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if reader.read_until(b'\n', &mut head)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    response.parse(&head).map_err(|error| io::Error::other(error.to_string()))?;
    Ok((response.code.unwrap_or(0), reader))
}
