//! The cluster primary's hands: channels, listeners and connections by their numbers, and nothing decided.

#![allow(unsafe_code)]

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use tracing::{debug, warn};

use super::accept::{self, Accepted};
use super::bind::Binder;
use super::channel::{Buffers, Channel, Incoming};
use super::door;
use super::queue::{self, Depths};
use crate::cluster::balancer::{Choice, Newcomer, Rest};
use crate::cluster::listener::{Errno as NodeErrno, Place};
use crate::cluster::message::SockName;
use crate::cluster::{Effect, Handle, Input, Sharing};
use crate::ids::{ConnectionId, ListenerId, Pid, WorkerId};

/// Most reads from one channel in a turn, of 64 KiB each: whoever never stops talking fills no memory and keeps nobody waiting.
const MOST_READS: usize = 16;

/// What has a number here.
pub struct Primary {
    registry: Registry,
    channels: HashMap<WorkerId, (Channel, Pid)>,
    listeners: HashMap<ListenerId, Watched>,
    connections: HashMap<ConnectionId, Rc<OwnedFd>>,
    next_connection: u64,
    binder: Binder,
    buffers: Buffers,
    /// Who said more than was read: nobody tells us of it a second time.
    unread: BTreeSet<WorkerId>,
}

struct Watched {
    fd: Rc<OwnedFd>,
    with_peer: bool,
}

/// What a token of the poll means.
pub enum Source {
    /// A worker's channel.
    Channel(WorkerId),
    /// A listener.
    Listener(ListenerId),
}

impl Source {
    /// Tokens from 1 on; 0 is the signals'.
    fn token(&self) -> Token {
        match self {
            Self::Channel(WorkerId(id)) => Token((*id as usize) * 2),
            Self::Listener(ListenerId(id)) => Token((*id as usize) * 2 + 1),
        }
    }

    /// The source that a token was made for.
    pub fn of(token: Token) -> Self {
        match token.0 % 2 {
            0 => Self::Channel(WorkerId((token.0 / 2) as u64)),
            _ => Self::Listener(ListenerId((token.0 / 2) as u32)),
        }
    }
}

impl Primary {
    /// Nobody and nothing yet.
    pub fn new(registry: Registry, binder: Binder) -> Self {
        Self {
            registry,
            channels: HashMap::new(),
            listeners: HashMap::new(),
            connections: HashMap::new(),
            next_connection: 0,
            binder,
            buffers: Buffers::new(),
            unread: BTreeSet::new(),
        }
    }

    /// A worker has the other end of this channel.
    pub fn join(&mut self, worker: WorkerId, channel: Channel, pid: Pid) {
        let token = Source::Channel(worker).token();
        if let Err(error) =
            self.registry.register(&mut SourceFd(&channel.as_raw_fd()), token, Interest::READABLE)
        {
            warn!(worker = worker.0, error = %error, "channel cannot be watched");
        }
        self.channels.insert(worker, (channel, pid));
    }

    /// Something can be read or written.
    pub fn is_ready(&mut self, source: &Source, inputs: &mut Vec<Input>) {
        match source {
            Source::Channel(worker) => {
                self.flush(*worker);
                self.read(*worker, inputs);
            }
            Source::Listener(listener) => inputs.push(Input::Readable(*listener)),
        }
    }

    /// Writes what had to wait for room.
    fn flush(&mut self, worker: WorkerId) {
        let Some((channel, _)) = self.channels.get_mut(&worker) else { return };
        if channel.is_stuck() {
            // A worker that takes nothing any more may still have said something, which is read.
            let _ = channel.flush();
            let is_stuck = channel.is_stuck();
            watch(&self.registry, worker, channel, is_stuck);
        }
    }

    /// Whether somebody said more than was read.
    pub fn has_unread(&self) -> bool {
        !self.unread.is_empty()
    }

    /// Reads on where there was more.
    pub fn read_on(&mut self, inputs: &mut Vec<Input>) {
        for worker in std::mem::take(&mut self.unread) {
            self.read(worker, inputs);
        }
    }

    fn read(&mut self, worker: WorkerId, inputs: &mut Vec<Input>) {
        for _ in 0..MOST_READS {
            let Some((channel, _)) = self.channels.get_mut(&worker) else { return };
            match channel.receive(&mut self.buffers) {
                Incoming::Data(bytes, descriptors) => {
                    self.tell_of_wrappers(worker);
                    let descriptors = descriptors.into_iter().map(|fd| self.keep(fd)).collect();
                    inputs.push(Input::Read { worker, bytes, descriptors });
                }
                Incoming::Last(bytes) => {
                    return inputs.push(Input::Read { worker, bytes, descriptors: Vec::new() });
                }
                Incoming::Nothing => return,
                Incoming::End => return self.end(worker, inputs),
            }
        }
        // What it said is dealt with, and signals and the others are heard, before it may go on.
        self.unread.insert(worker);
    }

    /// A worker's process was reaped: what it said last is read, and that is the end of its channel, whoever else holds it.
    pub fn reaped(&mut self, pid: Pid, inputs: &mut Vec<Input>) {
        let worker = self.channels.iter().find(|(_, (_, owner))| *owner == pid).map(|(worker, _)| *worker);
        if let Some(worker) = worker {
            self.read(worker, inputs);
            self.end(worker, inputs);
        }
    }

    /// A wrapper's child has the channel, and not the process that we started: signals do not reach it.
    fn tell_of_wrappers(&mut self, worker: WorkerId) {
        if let Some((channel, started)) = self.channels.get_mut(&worker)
            && let Some(writer) = channel.take_first_writer().filter(|writer| *writer != started.raw())
        {
            warn!(
                worker = worker.0,
                started = started.raw(),
                node = writer,
                "COMMAND starts Node as another process, which signals do not reach; write the node command itself, or exec it"
            );
        }
    }

    /// Gives a descriptor a number.
    fn keep(&mut self, fd: OwnedFd) -> ConnectionId {
        let number = ConnectionId(self.next_connection);
        self.next_connection += 1;
        self.connections.insert(number, Rc::new(fd));
        number
    }

    fn end(&mut self, worker: WorkerId, inputs: &mut Vec<Input>) {
        self.unread.remove(&worker);
        if self.channels.remove(&worker).is_some() {
            inputs.push(Input::Ended(worker));
        }
    }

    /// Does what is to be done, and says what came of it.
    pub fn perform(&mut self, effect: Effect, inputs: &mut Vec<Input>) {
        match effect {
            Effect::Send { worker, line, handle } => {
                let descriptor = self.descriptor(handle);
                let sent = self.write(worker, |channel| channel.send(line, descriptor));
                self.end_if_deaf(worker, sent);
            }
            Effect::Ask { worker, line } => {
                let sent = self.write(worker, |channel| channel.ask(line));
                self.end_if_deaf(worker, sent);
            }
            Effect::Resume(worker) => {
                let sent = self.write(worker, Channel::resume);
                self.end_if_deaf(worker, sent);
            }
            Effect::Deliver { worker, line } => self.deliver(worker, line),
            Effect::Bind { listener, place, backlog, sharing } => {
                let result = self.bind(listener, &place, backlog, sharing);
                inputs.push(Input::Bound { listener, result });
            }
            Effect::Accept { listener, most } => self.accept(listener, most, inputs),
            Effect::Refuse(listener) => self.refuse(listener),
            Effect::CloseListener(listener) => self.close(listener),
            Effect::Close(connection) => {
                self.connections.remove(&connection);
            }
            Effect::EndChannel { worker, reason } => {
                warn!(worker = worker.0, reason, "worker broke the protocol, its channel is closed");
                self.end(worker, inputs);
            }
            // The supervisor's own.
            Effect::Listening(_)
            | Effect::SaidReady(_)
            | Effect::Alive { .. }
            | Effect::AsksStatus(_)
            | Effect::Served(_) => {}
        }
    }

    /// Connections that wait at our listeners. What several listen on is one queue.
    pub fn add_depths(&self, depths: &mut Depths) {
        let mut seen = BTreeSet::new();
        let asked = self.listeners.values().map(|watched| (None, &watched.fd));
        for (name, fd) in self.binder.known().chain(asked) {
            if seen.insert(fd.as_raw_fd()) {
                queue::add(depths, name, fd);
            }
        }
    }

    fn descriptor(&self, handle: Handle) -> Option<Rc<OwnedFd>> {
        match handle {
            Handle::None => None,
            Handle::Connection(connection) => self.connections.get(&connection).cloned(),
            Handle::Listener(listener) => self.listeners.get(&listener).map(|watched| watched.fd.clone()),
        }
    }

    /// Lets a channel be written to, and asks for room if there was none.
    fn write(
        &mut self,
        worker: WorkerId,
        act: impl FnOnce(&mut Channel) -> io::Result<()>,
    ) -> io::Result<()> {
        let Some((channel, _)) = self.channels.get_mut(&worker) else { return Ok(()) };
        let was_stuck = channel.is_stuck();
        let result = act(channel);
        if !was_stuck && channel.is_stuck() {
            watch(&self.registry, worker, channel, true);
        }
        result.inspect_err(|error| debug!(worker = worker.0, error = %error, "worker cannot be written to"))
    }

    fn deliver(&mut self, worker: WorkerId, line: String) {
        let dropped =
            |primary: &Self| primary.channels.get(&worker).map_or(0, |(channel, _)| channel.dropped());
        let before = dropped(self);
        // Its end is read as such.
        let _ = self.write(worker, |channel| channel.deliver(line));
        match (before, dropped(self)) {
            (0, 1..) => {
                warn!(worker = worker.0, "worker does not read its mail; the oldest is dropped from now on")
            }
            (_, now) if now > before => debug!(worker = worker.0, dropped = now, "mail dropped"),
            _ => {}
        }
    }

    /// Its end is read as such, and what it had in hand is then offered to others.
    fn end_if_deaf(&mut self, worker: WorkerId, written: io::Result<()>) {
        if let (Err(_), Some((channel, _))) = (written, self.channels.get(&worker)) {
            // SAFETY: shutdown(2) takes two integers, and the descriptor is open.
            unsafe { libc::shutdown(channel.as_raw_fd(), libc::SHUT_WR) };
        }
    }

    fn bind(
        &mut self,
        id: ListenerId,
        place: &Place,
        backlog: u32,
        sharing: Sharing,
    ) -> Result<Option<SockName>, NodeErrno> {
        let fd = self.binder.bind(place, backlog, sharing)?;
        let name = accept::name(&fd);
        if matches!(sharing, Sharing::HandOver(_)) {
            let token = Source::Listener(id).token();
            let watched = self.registry.register(&mut SourceFd(&fd.as_raw_fd()), token, Interest::READABLE);
            watched.map_err(|error| match error.raw_os_error() {
                // A socket of LISTEN that has another name already, as `::` is one of all addresses.
                Some(libc::EEXIST) => NodeErrno(-libc::EADDRINUSE),
                other => NodeErrno(-other.unwrap_or(libc::EIO)),
            })?;
        }
        // Only an address that decides is worth a system call.
        let with_peer = sharing == Sharing::HandOver(Choice::SourceIp);
        self.listeners.insert(id, Watched { fd, with_peer });
        Ok(name)
    }

    fn refuse(&mut self, id: ListenerId) {
        let Some(Watched { fd, .. }) = self.listeners.get(&id) else { return };
        if self.binder.was_passed(fd) {
            // Who passed it to us has it still: those who are in its queue are the next one's.
            self.close(id);
        } else if let Err(error) = door::shut(fd) {
            debug!(error = %error, "who connects as the listener is closed may be cut off");
        }
    }

    fn close(&mut self, id: ListenerId) {
        let Some(Watched { fd, .. }) = self.listeners.remove(&id) else { return };
        // One that was passed to us is not closed by us alone.
        if let Err(error) = self.registry.deregister(&mut SourceFd(&fd.as_raw_fd())) {
            debug!(error = %error, "listener was not watched");
        }
        self.binder.forget(&fd);
    }

    fn accept(&mut self, id: ListenerId, most: usize, inputs: &mut Vec<Input>) {
        let accepted = match self.listeners.get(&id) {
            Some(Watched { fd, with_peer }) => accept::all(&fd.clone(), most, *with_peer),
            None => Accepted { connections: Vec::new(), rest: Rest::Nothing },
        };
        let newcomer = |(fd, peer)| Newcomer { connection: self.keep(fd), peer };
        let newcomers = accepted.connections.into_iter().map(newcomer).collect();
        inputs.push(Input::Accepted { listener: id, newcomers, rest: accepted.rest });
    }
}

/// Room to write is only asked for when something waits for it: a worker that reads makes room all the time.
fn watch(registry: &Registry, worker: WorkerId, channel: &Channel, for_room: bool) {
    let interest = if for_room { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
    let token = Source::Channel(worker).token();
    if let Err(error) = registry.reregister(&mut SourceFd(&channel.as_raw_fd()), token, interest) {
        warn!(worker = worker.0, error = %error, "channel cannot be watched");
    }
}
