//! One client's connection: bytes in, bytes out, and by when. It never waits, and holds no more than a header and an answer.
//!
//! Knows what HTTP is; what is asked for and what is answered is another's.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, Shutdown, recv, send, shutdown};

use crate::observe::http::{self, Afterwards, Beginning, Method, Request, Response};
use crate::observe::routes::{Door, Reply};
use crate::supervisor::action::Answer;
use crate::supervisor::event::Demand;
use crate::supervisor::time::Time;

/// How long a header may take, from its first byte or from the beginning of the connection.
const HEADER_TIME: Duration = Duration::from_secs(5);
/// How long a connection may be silent between two requests: a scrape a minute keeps it.
const IDLE_TIME: Duration = Duration::from_secs(75);
/// How long an answer may take to be taken.
const WRITE_TIME: Duration = Duration::from_secs(10);
/// How long a client has to see the end of the answer, and to end the connection in turn.
const LINGER_TIME: Duration = Duration::from_secs(1);
/// Most bytes that wait for somebody who follows what was demanded.
const MOST_FOLLOWED: usize = 64 * 1024;
/// Bytes that are read at once.
const CHUNK: usize = 4096;

/// A connection.
pub struct Connection {
    fd: OwnedFd,
    /// Where it came in.
    pub door: Door,
    input: Vec<u8>,
    output: Vec<u8>,
    stage: Stage,
}

/// What a connection is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// One request was answered, and nothing of the next is there.
    Idle { until: Time },
    /// A header is coming.
    Reading { until: Time },
    /// An answer is going.
    Writing { then: Afterwards, until: Time },
    /// The supervisor does what was demanded. Nothing was said yet.
    Demanded,
    /// It says how that goes.
    Followed { until: Option<Time> },
    /// All is said. What the client still says is thrown away: a connection that is closed with something unread is reset,
    /// and the client may never see the answer.
    Lingering { until: Time },
}

/// What has become of a connection after it was attended to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attended {
    /// It waits for the client, or for the supervisor.
    Waits,
    /// It could go on at once.
    CouldGoOn,
    /// This is demanded.
    Demands(Demand),
    /// It is over.
    Over,
}

impl Connection {
    /// A new one.
    pub fn new(fd: OwnedFd, door: Door, now: Time) -> Self {
        let stage = Stage::Reading { until: now + HEADER_TIME };
        Self { fd, door, input: Vec::new(), output: Vec::new(), stage }
    }

    /// When it has taken too long.
    pub fn deadline(&self) -> Option<Time> {
        match self.stage {
            Stage::Idle { until }
            | Stage::Reading { until }
            | Stage::Writing { until, .. }
            | Stage::Lingering { until } => Some(until),
            Stage::Demanded => None,
            Stage::Followed { until } => until,
        }
    }

    /// Whether somebody waits for the supervisor.
    pub fn is_demanding(&self) -> bool {
        match self.stage {
            Stage::Demanded | Stage::Followed { .. } => true,
            Stage::Idle { .. } | Stage::Reading { .. } | Stage::Writing { .. } | Stage::Lingering { .. } => {
                false
            }
        }
    }

    /// Whether something waits to be written.
    pub fn has_more_to_say(&self) -> bool {
        !self.output.is_empty()
    }

    /// How dear it is when there is no room for another: the least is given up first. `None` is never given up.
    pub fn worth(&self) -> Option<u8> {
        match self.stage {
            Stage::Lingering { .. } => Some(0),
            Stage::Idle { .. } => Some(1),
            Stage::Reading { .. } => Some(2),
            Stage::Writing { .. } => Some(3),
            Stage::Demanded | Stage::Followed { .. } => None,
        }
    }

    /// Answers at most one request, as far as that goes without waiting.
    pub fn attend(&mut self, now: Time, reply: &mut dyn FnMut(&Request, Door) -> Reply) -> Attended {
        loop {
            match self.stage {
                Stage::Idle { .. } | Stage::Reading { .. } => match http::parse(&self.input) {
                    Beginning::Incomplete => match self.receive() {
                        Ok(0) => return Attended::Over,
                        Ok(_) => self.has_read(now),
                        Err(error) => return after(error),
                    },
                    Beginning::Request(request, length) => {
                        self.input.drain(..length);
                        match reply(&request, self.door) {
                            Reply::Response(response) => {
                                self.respond(now, &response, request.method, request.afterwards);
                            }
                            Reply::Demand(demand) => {
                                self.stage = Stage::Demanded;
                                return Attended::Demands(demand);
                            }
                        }
                    }
                    Beginning::Bad(code) => self.refuse(now, &Response::text(code, "this is no request")),
                },
                Stage::Writing { then, .. } => match (self.flush(), then) {
                    (Err(error), _) => return after(error),
                    (Ok(()), Afterwards::Close) => self.linger(now),
                    (Ok(()), Afterwards::Keep) => {
                        self.stage = if self.input.is_empty() {
                            self.input = Vec::new();
                            Stage::Idle { until: now + IDLE_TIME }
                        } else {
                            Stage::Reading { until: now + HEADER_TIME }
                        };
                        // Everybody's turn comes before this one's next request.
                        return Attended::CouldGoOn;
                    }
                },
                Stage::Demanded | Stage::Followed { .. } => return self.follow(now),
                Stage::Lingering { .. } => match self.discard() {
                    Ok(0) => return Attended::Over,
                    Ok(_) => return Attended::CouldGoOn,
                    Err(error) => return after(error),
                },
            }
        }
    }

    /// Answers something that is no request, or that is not for this client.
    pub fn refuse(&mut self, now: Time, response: &Response) {
        self.respond(now, response, Method::Get, Afterwards::Close);
    }

    fn respond(&mut self, now: Time, response: &Response, method: Method, then: Afterwards) {
        self.output = response.bytes(method, then);
        self.stage = Stage::Writing { then, until: now + WRITE_TIME };
    }

    fn has_read(&mut self, now: Time) {
        if let Stage::Idle { .. } = self.stage {
            self.stage = Stage::Reading { until: now + HEADER_TIME };
        }
    }

    /// Passes on what the supervisor says to whoever demanded something. The last line says how it ended.
    pub fn answer(&mut self, now: Time, answer: &Answer) {
        let (code, line, is_last) = match answer {
            Answer::Progress(line) => (http::Code::Ok, line.clone(), false),
            Answer::Done(line) => (http::Code::Ok, format!("done: {line}"), true),
            Answer::Failed(line) => (http::Code::Conflict, format!("failed: {line}"), true),
        };
        match self.stage {
            Stage::Demanded => self.output = http::open_head(code).into_bytes(),
            Stage::Followed { .. } => {}
            Stage::Idle { .. } | Stage::Reading { .. } | Stage::Writing { .. } | Stage::Lingering { .. } => {
                return;
            }
        }
        self.output.extend(line.replace(['\n', '\r'], " ").bytes());
        self.output.push(b'\n');
        self.stage = if is_last {
            Stage::Writing { then: Afterwards::Close, until: now + WRITE_TIME }
        } else {
            Stage::Followed { until: None }
        };
    }

    fn follow(&mut self, now: Time) -> Attended {
        // What it says is nothing to us now, and an end of that is not yet the end of its listening.
        let said = self.discard();
        match (self.flush(), said) {
            (Err(Errno::EAGAIN), _) if self.output.len() > MOST_FOLLOWED => Attended::Over,
            (Err(Errno::EAGAIN), _) => {
                if let Stage::Followed { until: until @ None } = &mut self.stage {
                    *until = Some(now + WRITE_TIME);
                }
                Attended::Waits
            }
            (Err(_), _) => Attended::Over,
            (Ok(()), said) => {
                if let Stage::Followed { until } = &mut self.stage {
                    *until = None;
                }
                if said.is_ok_and(|length| length > 0) { Attended::CouldGoOn } else { Attended::Waits }
            }
        }
    }

    fn linger(&mut self, now: Time) {
        // It fails when the client is gone, which is read next.
        let _ = shutdown(self.fd.as_raw_fd(), Shutdown::Write);
        self.input = Vec::new();
        self.stage = Stage::Lingering { until: now + LINGER_TIME };
    }

    fn receive(&mut self) -> nix::Result<usize> {
        let mut chunk = [0; CHUNK];
        let read = self.receive_into(&mut chunk)?;
        self.input.extend(&chunk[..read]);
        Ok(read)
    }

    fn discard(&mut self) -> nix::Result<usize> {
        self.receive_into(&mut [0; CHUNK])
    }

    fn receive_into(&self, chunk: &mut [u8]) -> nix::Result<usize> {
        recv(self.fd.as_raw_fd(), chunk, MsgFlags::MSG_DONTWAIT)
    }

    /// Writes what waits; `EAGAIN` when some of it still does.
    fn flush(&mut self) -> nix::Result<()> {
        let mut written = 0;
        let result = loop {
            if written == self.output.len() {
                break Ok(());
            }
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
            match send(self.fd.as_raw_fd(), &self.output[written..], flags) {
                Ok(more) => written += more,
                Err(error) => break Err(error),
            }
        };
        self.output.drain(..written);
        if self.output.is_empty() {
            self.output = Vec::new();
        }
        result
    }
}

/// An error is the end, but for the one that says: not now.
fn after(error: Errno) -> Attended {
    if error == Errno::EAGAIN { Attended::Waits } else { Attended::Over }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
