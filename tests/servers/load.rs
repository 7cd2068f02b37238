//! Clients that ask one question after the other, and remember how each went.

use std::collections::BTreeSet;
use std::io::{Error, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::common::wait_until;
use crate::fastcgi;
use crate::pool::Kill;

/// How many ask at the same time, each one question at a time.
pub const CLIENTS: usize = 4;
/// No client asks more often than this, so that a test of minutes has a bounded number of connections.
const MOST_REQUESTS: usize = 20_000;
const BETWEEN: Duration = Duration::from_millis(1);
/// Longer than any restart takes: who waits that long waits in vain.
const TIMEOUT: Duration = Duration::from_secs(30);
/// A kill takes effect, and is noticed by a client, a little later than it was sent.
const MOMENT: Duration = Duration::from_millis(250);

/// The language of the server.
#[derive(Clone, Copy, Debug)]
pub enum Protocol {
    /// HTTP/1.1, one request per connection.
    Http,
    /// FastCGI 1.0, one request per connection.
    FastCgi,
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
    begun: Instant,
    ended: Instant,
    /// How it went.
    pub outcome: Outcome,
}

impl Request {
    /// Whether it was answered.
    pub fn is_ok(&self) -> bool {
        matches!(self.outcome, Outcome::Answered(_))
    }

    /// Whether a worker was killed while it was under way, so that it can have been in that worker's hands.
    pub fn is_excused(&self, kills: &[Kill]) -> bool {
        kills.iter().any(|kill| kill.before <= self.ended && self.begun <= kill.after + MOMENT)
    }
}

/// Clients at work.
pub struct Load {
    stop: Arc<AtomicBool>,
    requests: Arc<Mutex<Vec<Request>>>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    /// Sends the clients off.
    pub fn start(address: SocketAddr, protocol: Protocol) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let client = |_| {
            let (stop, requests) = (Arc::clone(&stop), Arc::clone(&requests));
            thread::spawn(move || {
                for _ in 0..MOST_REQUESTS {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let request = ask(address, protocol);
                    requests.lock().unwrap().push(request);
                    thread::sleep(BETWEEN);
                }
            })
        };
        let clients = (0..CLIENTS).map(client).collect();
        Self { stop, requests, clients }
    }

    /// The workers that have answered so far.
    pub fn served(&self) -> BTreeSet<u64> {
        let answered = |request: &Request| match request.outcome {
            Outcome::Answered(worker) => Some(worker),
            Outcome::Refused | Outcome::Cut | Outcome::TimedOut | Outcome::Strange(_) => None,
        };
        self.requests.lock().unwrap().iter().filter_map(answered).collect()
    }

    /// Waits until anybody has answered.
    pub fn wait_for_answer(&self) {
        wait_until("anybody answers", || (!self.served().is_empty()).then_some(()));
    }

    /// Calls the clients back; each ends the request that it is at.
    pub fn finish(mut self) -> Vec<Request> {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients.drain(..) {
            client.join().unwrap();
        }
        std::mem::take(&mut *self.requests.lock().unwrap())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Asks one question on a connection of its own.
pub fn ask(address: SocketAddr, protocol: Protocol) -> Request {
    let begun = Instant::now();
    let outcome = talk(address, protocol).unwrap_or_else(failure);
    Request { begun, ended: Instant::now(), outcome }
}

fn failure(error: Error) -> Outcome {
    let is = |kinds: &[ErrorKind]| kinds.contains(&error.kind());
    if is(&[ErrorKind::ConnectionRefused]) {
        Outcome::Refused
    } else if is(&[ErrorKind::ConnectionReset, ErrorKind::BrokenPipe]) {
        Outcome::Cut
    } else if is(&[ErrorKind::TimedOut, ErrorKind::WouldBlock]) {
        Outcome::TimedOut
    } else {
        Outcome::Strange(error.to_string())
    }
}

fn talk(address: SocketAddr, protocol: Protocol) -> Result<Outcome, Error> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    let mut answer = Vec::new();
    match protocol {
        Protocol::Http => {
            stream.write_all(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")?;
            stream.read_to_end(&mut answer)?;
            Ok(judge(&String::from_utf8_lossy(&answer)))
        }
        Protocol::FastCgi => {
            stream.write_all(&fastcgi::request(&php_script()))?;
            stream.read_to_end(&mut answer)?;
            Ok(judge_page(fastcgi::page(&answer)))
        }
    }
}

fn php_script() -> String {
    format!("{}/index.php", crate::APPS)
}

/// The page is the worker's number, below PHP's header.
fn judge_page(page: Option<String>) -> Outcome {
    let Some(page) = page else { return Outcome::Cut };
    let number = page.split_once("\r\n\r\n").and_then(|(_, body)| body.trim().parse().ok());
    number.map_or(Outcome::Strange(page), Outcome::Answered)
}

/// The body is the worker's number. A server that is cut off mid-way leaves less than it announced.
fn judge(answer: &str) -> Outcome {
    let Some((head, body)) = answer.split_once("\r\n\r\n") else { return Outcome::Cut };
    if !head.starts_with("HTTP/1.1 200 ") {
        return Outcome::Strange(answer.to_owned());
    }
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    match (length, body.trim().parse()) {
        (Some(length), _) if body.len() < length => Outcome::Cut,
        (Some(_), Ok(worker)) => Outcome::Answered(worker),
        (Some(_), Err(_)) | (None, _) => Outcome::Strange(answer.to_owned()),
    }
}
