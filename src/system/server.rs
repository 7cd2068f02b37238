//! Serves HTTP on a TCP address and on the control socket, for at most 64 clients each, in the one loop.
//!
//! Whatever a client does, a turn is short: so many are accepted and so many answered in it, and what is left waits for the next, after
//! signals were heard. When there is no room, whoever has waited longest with nothing to show for it makes some: a probe gets
//! through, however many hold connections open.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Interest, Poll, Registry};
use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;
use nix::unistd::Uid;
use tracing::{debug, warn};

use super::connection::{Attended, Connection};
use super::source::Source;
use crate::ids::ClientId;
use crate::observe::http::{Code, Request, Response};
use crate::observe::routes::{Door, Reply};
use crate::supervisor::action::Answer;
use crate::supervisor::event::Event;
use crate::supervisor::time::Time;

/// Most connections through one door.
const MOST_CONNECTIONS: usize = 64;
/// Most of what is to be done that is done in a turn: connections attended to, or accepted.
const TURN: usize = 16;
/// How long nobody is accepted when there is no descriptor left.
const WANT: Duration = Duration::from_secs(1);

/// A socket that clients come to.
pub enum Listening {
    /// For everybody.
    Public(TcpListener),
    /// For ourselves and root.
    Control(UnixListener),
}

/// Doors, and who has come in. They share one row of numbers, which are not used again.
pub struct Server {
    registry: Registry,
    listening: BTreeMap<u64, Listening>,
    connections: BTreeMap<u64, Connection>,
    next: u64,
    /// What something may have happened to.
    todo: VecDeque<u64>,
    /// When doors that had to be left alone are looked at again.
    try_again: Option<Time>,
}

impl Server {
    /// Watches the doors.
    pub fn new(poll: &Poll, doors: impl IntoIterator<Item = Listening>) -> io::Result<Self> {
        let mut server = Self {
            registry: poll.registry().try_clone()?,
            listening: BTreeMap::new(),
            connections: BTreeMap::new(),
            next: 0,
            todo: VecDeque::new(),
            try_again: None,
        };
        for door in doors {
            door.unblock()?;
            let number = server.number();
            server.watch(number, door.as_raw_fd(), Interest::READABLE)?;
            server.listening.insert(number, door);
        }
        Ok(server)
    }

    fn number(&mut self) -> u64 {
        let number = self.next;
        self.next += 1;
        number
    }

    fn watch(&self, number: u64, fd: i32, interest: Interest) -> io::Result<()> {
        self.registry.register(&mut SourceFd(&fd), Source::Client(number).token(), interest)
    }

    /// Something can be read or written, or has ended.
    pub fn note(&mut self, number: u64, event: &mio::event::Event, heard: &mut Vec<Event>) {
        // Whoever only ended what they say may still listen.
        let is_gone =
            event.is_write_closed() && self.connections.get(&number).is_some_and(Connection::is_demanding);
        if is_gone { self.close(number, heard) } else { self.put(number) }
    }

    fn put(&mut self, number: u64) {
        if !self.todo.contains(&number) {
            self.todo.push_back(number);
        }
    }

    /// Whether something is left to do.
    pub fn could_go_on(&self) -> bool {
        !self.todo.is_empty()
    }

    /// Whether nobody is here and nothing is to be done.
    pub fn is_idle(&self) -> bool {
        self.todo.is_empty() && self.connections.is_empty() && self.try_again.is_none()
    }

    /// When somebody has taken too long, or a door is to be looked at again.
    pub fn deadline(&self) -> Option<Time> {
        self.connections.values().filter_map(Connection::deadline).chain(self.try_again).min()
    }

    /// Does some of what there is to do. Requests are answered by `reply`; what is demanded is heard.
    pub fn turn(
        &mut self,
        now: Time,
        reply: &mut dyn FnMut(&Request, Door) -> Reply,
        heard: &mut Vec<Event>,
    ) {
        self.meet_deadlines(now, heard);
        for _ in 0..TURN {
            let Some(number) = self.todo.pop_front() else { return };
            if self.listening.contains_key(&number) {
                self.accept(number, now, heard);
                continue;
            }
            let Some(connection) = self.connections.get_mut(&number) else { continue };
            match connection.attend(now, reply) {
                Attended::Waits => {}
                Attended::CouldGoOn => self.todo.push_back(number),
                Attended::Demands(demand) => {
                    heard.push(Event::Demanded { client: ClientId(number), demand });
                }
                Attended::Over => self.close(number, heard),
            }
        }
    }

    fn meet_deadlines(&mut self, now: Time, heard: &mut Vec<Event>) {
        let late = |connection: &Connection| connection.deadline().is_some_and(|time| time <= now);
        let late: Vec<u64> = self
            .connections
            .iter()
            .filter(|(_, connection)| late(connection))
            .map(|(number, _)| *number)
            .collect();
        for number in late {
            self.close(number, heard);
        }
        if self.try_again.is_some_and(|time| time <= now) {
            self.try_again = None;
            let doors: Vec<u64> = self.listening.keys().copied().collect();
            doors.into_iter().for_each(|number| self.put(number));
        }
    }

    /// Passes on what the supervisor says to whoever demanded something, if they are still there.
    pub fn answer(&mut self, now: Time, ClientId(number): ClientId, answer: &Answer) {
        if let Some(connection) = self.connections.get_mut(&number) {
            connection.answer(now, answer);
            self.put(number);
        }
    }

    /// Does all there is to do to have everybody hear what was said, short of waiting for them.
    pub fn say_last_words(&mut self, now: Time) {
        let numbers: Vec<u64> = self.connections.keys().copied().collect();
        for number in numbers {
            if let Some(connection) = self.connections.get_mut(&number).filter(|one| one.has_more_to_say()) {
                let nothing =
                    &mut |_: &Request, _| Reply::Response(Response::text(Code::Unavailable, "over"));
                let _ = connection.attend(now, nothing);
            }
        }
    }

    fn close(&mut self, number: u64, heard: &mut Vec<Event>) {
        if self.connections.remove(&number).is_some_and(|connection| connection.is_demanding()) {
            heard.push(Event::ClientLeft(ClientId(number)));
        }
    }

    /// Accepts one, and looks again later: there may be more.
    fn accept(&mut self, number: u64, now: Time, heard: &mut Vec<Event>) {
        let Some(listening) = self.listening.get(&number) else { return };
        let door = listening.door();
        match listening.accept() {
            Ok(fd) => {
                self.make_room(door, heard);
                self.welcome(fd, door, now);
                self.todo.push_back(number);
            }
            Err(error) => match error.raw_os_error() {
                Some(libc::EAGAIN) => {}
                // The connection's own end, not the door's.
                Some(libc::ECONNABORTED | libc::EPROTO | libc::EINTR) => self.todo.push_back(number),
                // There may be a descriptor now.
                Some(_) | None if self.give_up_one(door, heard) => self.todo.push_back(number),
                Some(_) | None => {
                    warn!(error = %error, "a client cannot be accepted, trying again soon");
                    self.try_again = Some(now + WANT);
                }
            },
        }
    }

    fn make_room(&mut self, door: Door, heard: &mut Vec<Event>) {
        let there = self.connections.values().filter(|connection| connection.door == door).count();
        if there >= MOST_CONNECTIONS {
            self.give_up_one(door, heard);
        }
    }

    /// Lets one go: of those that are worth least, the one that has been there for longest.
    fn give_up_one(&mut self, door: Door, heard: &mut Vec<Event>) -> bool {
        let of_door = self.connections.iter().filter(|(_, connection)| connection.door == door);
        let worth = of_door.filter_map(|(number, connection)| Some((connection.worth()?, *number)));
        let Some((_, number)) = worth.min() else { return false };
        debug!("too many clients; the one that has waited longest is let go");
        self.close(number, heard);
        true
    }

    fn welcome(&mut self, fd: OwnedFd, door: Door, now: Time) {
        let mut connection = Connection::new(fd, door, now);
        let there = self.connections.values().filter(|connection| connection.door == door).count();
        if there >= MOST_CONNECTIONS {
            // All of them wait for the supervisor.
            connection.refuse(now, &Response::text(Code::Unavailable, "too many wait for an answer"));
        } else if door == Door::Control && !may_control(&connection) {
            let line = format!("only root and uid {} may control this", Uid::effective());
            connection.refuse(now, &Response::text(Code::Forbidden, line));
        }
        let number = self.number();
        match self.watch(number, connection.as_fd().as_raw_fd(), Interest::READABLE | Interest::WRITABLE) {
            Ok(()) => {
                self.connections.insert(number, connection);
                self.put(number);
            }
            Err(error) => warn!(error = %error, "a client cannot be watched"),
        }
    }
}

/// Whether the other end may do what we do anyway.
fn may_control(connection: &Connection) -> bool {
    getsockopt(connection, PeerCredentials)
        .is_ok_and(|peer| peer.uid() == 0 || peer.uid() == Uid::effective().as_raw())
}

impl Listening {
    fn door(&self) -> Door {
        match self {
            Self::Public(_) => Door::Public,
            Self::Control(_) => Door::Control,
        }
    }

    fn unblock(&self) -> io::Result<()> {
        match self {
            Self::Public(listener) => listener.set_nonblocking(true),
            Self::Control(listener) => listener.set_nonblocking(true),
        }
    }

    fn accept(&self) -> io::Result<OwnedFd> {
        match self {
            Self::Public(listener) => {
                let (stream, _) = listener.accept()?;
                // An answer that waits for the acknowledgement of the one before is late.
                let _ = stream.set_nodelay(true);
                Ok(stream.into())
            }
            Self::Control(listener) => Ok(listener.accept()?.0.into()),
        }
    }
}

impl AsRawFd for Listening {
    fn as_raw_fd(&self) -> i32 {
        match self {
            Self::Public(listener) => listener.as_raw_fd(),
            Self::Control(listener) => listener.as_raw_fd(),
        }
    }
}
