//! Speaks Node's cluster protocol, the primary's side: values in, values out.
//!
//! The wire is Node's own and not documented by it; what is here was read in `lib/internal/cluster/` and
//! `lib/internal/child_process.js`, and run against Node 18 to 26. One conversation per worker, one listener per name that workers
//! call it by, one balancer per listener. No descriptor, clock or system call: descriptors have numbers here, and time is an
//! argument.
//!
//! The law: an accepted connection is acknowledged once or closed once. One that was offered to a worker that died, declined or
//! could not receive it is offered to another.

pub mod balancer;
pub mod conversation;
pub mod figures;
pub mod frame;
mod handoff;
pub mod listener;
mod listeners;
pub mod mail;
pub mod message;
mod object;
mod rendezvous;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::ids::{ConnectionId, ListenerId, Slot, WorkerId};
use crate::supervisor::time::Time;
use balancer::{Balancer, Choice, Newcomer, Rest};
use conversation::Conversation;
use figures::Figures;
use listener::{Errno, Place};
use listeners::Listener;
use mail::Letter;
use message::{FromWorker, SockName};

/// How long we leave workers to what they have. Each answer would wake us, and on a machine without a core to spare that takes one
/// from a worker in the middle of its turn: with this, two cores and two workers of Node, a connection costs 15 µs of us and 57 of
/// them instead of 19 and 61, and the slowest of a hundred is there a seventh sooner.
const LULL: Duration = Duration::from_micros(300);

/// What happened to channels and listeners.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A worker wrote to its channel.
    Read {
        /// Who.
        worker: WorkerId,
        /// What; lines may begin and end anywhere.
        bytes: Vec<u8>,
        /// Descriptors that came along, by the numbers that the system gave them.
        descriptors: Vec<ConnectionId>,
    },
    /// A worker's channel has been read to its end.
    Ended(WorkerId),
    /// Answers [`Effect::Bind`]. The name is there for the internet's sockets.
    Bound {
        /// Which.
        listener: ListenerId,
        /// The socket's name, or what was wrong.
        result: Result<Option<SockName>, Errno>,
    },
    /// Connections wait at a listener.
    Readable(ListenerId),
    /// Answers [`Effect::Accept`].
    Accepted {
        /// Where.
        listener: ListenerId,
        /// Which connections, numbered in this order.
        newcomers: Vec<Newcomer>,
        /// Whether more wait.
        rest: Rest,
    },
}

/// What goes along with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handle {
    /// Nothing.
    None,
    /// A connection, of which we keep a copy until it is closed.
    Connection(ConnectionId),
    /// A listener.
    Listener(ListenerId),
}

/// What is to be done.
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Write a line to a worker's channel.
    Send {
        /// To whom.
        worker: WorkerId,
        /// The line, its end included.
        line: String,
        /// What goes along.
        handle: Handle,
    },
    /// The same for mail, which is dropped when the worker does not read.
    Deliver {
        /// To whom.
        worker: WorkerId,
        /// The line, its end included.
        line: String,
    },
    /// The same, and write nothing behind it until it is answered.
    Ask {
        /// Whom.
        worker: WorkerId,
        /// The line, its end included.
        line: String,
    },
    /// The answer has come.
    Resume(WorkerId),
    /// Bind a socket. Answered by [`Input::Bound`].
    Bind {
        /// Its number from now on.
        listener: ListenerId,
        /// Where.
        place: Place,
        /// The queue's length that was asked for.
        backlog: u32,
        /// How its connections reach workers.
        sharing: Sharing,
    },
    /// Accept so many connections, or as many as there are. Answered by [`Input::Accepted`].
    Accept {
        /// Where.
        listener: ListenerId,
        /// How many at the most.
        most: usize,
    },
    /// Let nobody new in at a listener. Who is in can still be accepted.
    Refuse(ListenerId),
    /// Close a listener.
    CloseListener(ListenerId),
    /// Close our copy of a connection.
    Close(ConnectionId),
    /// A server of the worker's listens.
    Listening(WorkerId),
    /// The worker's program says that it is ready.
    SaidReady(WorkerId),
    /// The worker's event loop has answered a question.
    Alive {
        /// Whose.
        worker: WorkerId,
        /// How long that took.
        lag: Duration,
    },
    /// The worker's program asks for the status. It is told by [`Cluster::tell_status`].
    AsksStatus(WorkerId),
    /// The worker has taken as many connections as it is to.
    Served(WorkerId),
    /// The worker broke the protocol: its channel is to be ended.
    EndChannel {
        /// Whose.
        worker: WorkerId,
        /// What it did.
        reason: &'static str,
    },
}

/// How connections reach workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// We accept, and hand each connection over.
    HandOver(Choice),
    /// Workers accept from one socket.
    OneForAll,
    /// Workers accept from a socket of their slot's own.
    OnePerSlot,
}

/// The primary.
#[derive(Clone, Debug)]
pub struct Cluster {
    sharing: Sharing,
    workers: BTreeMap<WorkerId, Conversation>,
    /// Workers whose channel has ended, and whose process has not been reaped: whether they wished to leave.
    ended: BTreeMap<WorkerId, bool>,
    listeners: BTreeMap<ListenerId, Listener>,
    next_listener: ListenerId,
    /// Nobody gets a listener any more.
    ends: bool,
    figures: Figures,
    effects: Vec<Effect>,
}

impl Cluster {
    /// Nobody and nothing yet.
    pub fn new(sharing: Sharing) -> Self {
        Self {
            sharing,
            workers: BTreeMap::new(),
            ended: BTreeMap::new(),
            listeners: BTreeMap::new(),
            next_listener: ListenerId(0),
            ends: false,
            figures: Figures::default(),
            effects: Vec::new(),
        }
    }

    /// A worker was started; its channel is open. When it has taken `most` connections, [`Effect::Served`] says so.
    pub fn join(&mut self, worker: WorkerId, slot: Slot, most: Option<u64>) {
        self.workers.insert(worker, Conversation::new(slot, most));
    }

    /// What follows from what happened.
    pub fn handle(&mut self, now: Time, input: Input) -> Vec<Effect> {
        match input {
            Input::Read { worker, bytes, descriptors } => self.read(now, worker, &bytes, descriptors),
            Input::Ended(worker) => self.ended(worker),
            Input::Bound { listener, result } => self.bound(listener, result),
            Input::Readable(listener) => self.with_balancer(listener, Balancer::readable),
            Input::Accepted { listener, newcomers, rest } => {
                self.accepted(now, listener, newcomers, rest);
            }
        }
        self.pump(now)
    }

    /// A deadline of ours has come.
    pub fn deadline_reached(&mut self, now: Time) -> Vec<Effect> {
        self.pump(now)
    }

    /// When something that waits may go on.
    pub fn deadline(&self) -> Option<Time> {
        self.listeners.values().filter_map(|listener| listener.balancer.deadline()).min()
    }

    /// How long nothing that workers or clients do needs us: every worker that takes connections has enough of them until then,
    /// and whoever connects would have to wait behind those.
    pub fn lull(&self) -> Option<Duration> {
        let serves = |worker: &&Conversation| !worker.retired && !worker.listeners.is_empty();
        let mut serving = self.workers.values().filter(serves).peekable();
        serving.peek()?;
        serving.all(|worker| worker.is_occupied_for(LULL)).then_some(LULL)
    }

    /// Takes a worker out of rotation: it is offered nothing any more.
    pub fn retire(&mut self, worker: WorkerId) {
        if let Some(conversation) = self.workers.get_mut(&worker) {
            conversation.retired = true;
            for listener in self.listeners.values_mut() {
                listener.balancer.retire(worker);
            }
        }
    }

    /// Asks a worker to leave; it is out of rotation from now on, if it was not before.
    pub fn disconnect(&mut self, now: Time, worker: WorkerId, shutdown_first: bool) -> Vec<Effect> {
        self.retire(worker);
        if let Some(conversation) = self.workers.get_mut(&worker) {
            conversation.wished_to_leave = true;
            let line = message::disconnect(conversation.next_seq());
            if shutdown_first {
                self.send(worker, message::SHUTDOWN.to_owned(), Handle::None);
            }
            self.send(worker, line, Handle::None);
        }
        self.pump(now)
    }

    /// Asks a worker's event loop whether it turns; [`Effect::Alive`] is its answer. One question at a time: nothing follows
    /// from another.
    pub fn ask(&mut self, now: Time, worker: WorkerId) -> Vec<Effect> {
        if self.workers.get_mut(&worker).is_some_and(|conversation| conversation.ask(now)) {
            self.effects.push(Effect::Ask { worker, line: message::QUESTION.to_owned() });
        }
        std::mem::take(&mut self.effects)
    }

    /// Answers [`Effect::AsksStatus`], with one line of JSON.
    pub fn tell_status(&mut self, worker: WorkerId, status: &str) -> Vec<Effect> {
        if self.is_open(worker) {
            self.effects.push(Effect::Deliver { worker, line: message::status(status) });
        }
        std::mem::take(&mut self.effects)
    }

    /// A worker's channel is still open.
    pub fn is_open(&self, worker: WorkerId) -> bool {
        self.workers.contains_key(&worker)
    }

    /// A worker's process is gone, and so is what we remembered of it: whether it said that it leaves, or was told to.
    pub fn reaped(&mut self, worker: WorkerId) -> bool {
        self.ended.remove(&worker).is_some_and(|wished_to_leave| wished_to_leave)
    }

    /// Connections that are accepted and nobody has.
    pub fn waiting(&self) -> usize {
        self.listeners.values().map(|listener| listener.balancer.waiting()).sum()
    }

    fn with_balancer(&mut self, listener: ListenerId, act: impl FnOnce(&mut Balancer)) {
        if let Some(listener) = self.listeners.get_mut(&listener) {
            act(&mut listener.balancer);
        }
    }

    fn send(&mut self, worker: WorkerId, line: String, handle: Handle) {
        self.effects.push(Effect::Send { worker, line, handle });
    }

    fn read(&mut self, now: Time, worker: WorkerId, mut bytes: &[u8], descriptors: Vec<ConnectionId>) {
        let Some(conversation) = self.workers.get_mut(&worker) else {
            return self.effects.extend(descriptors.into_iter().map(Effect::Close));
        };
        conversation.received(descriptors);
        while let Some(conversation) = self.workers.get_mut(&worker) {
            match conversation.next_line(&mut bytes) {
                Ok(None) => {
                    return self.effects.extend(conversation.unclaimed(1).into_iter().map(Effect::Close));
                }
                Ok(Some(line)) => match FromWorker::read(&line) {
                    Ok(message) => self.received(now, worker, message),
                    Err(message::NotJson) => self.break_off(worker, "a line that is no JSON"),
                },
                Err(frame::TooLong) => self.break_off(worker, "a line longer than 8 MiB"),
            }
        }
    }

    /// A worker broke the protocol. Nothing is said to it any more, nor offered, and nothing that it says is heard.
    fn break_off(&mut self, worker: WorkerId, reason: &'static str) {
        self.effects.push(Effect::EndChannel { worker, reason });
        self.ended(worker);
    }

    fn received(&mut self, now: Time, worker: WorkerId, message: FromWorker) {
        let Some(conversation) = self.workers.get_mut(&worker) else { return };
        match message {
            FromWorker::Online | FromWorker::Other => {}
            FromWorker::Ack => self.heard_of(now, worker, true),
            FromWorker::Nack => self.heard_of(now, worker, false),
            FromWorker::Answer { ack, accepted } => {
                if let Some(offer) = conversation.answered(ack) {
                    self.answered(now, worker, offer, accepted);
                }
            }
            FromWorker::QueryServer { seq, query } => self.asked(worker, seq, &query),
            FromWorker::Listening => self.effects.push(Effect::Listening(worker)),
            FromWorker::AsksStatus => self.effects.push(Effect::AsksStatus(worker)),
            FromWorker::SaidReady => self.effects.push(Effect::SaidReady(worker)),
            FromWorker::Close { key } => {
                if let Some(listener) = conversation.listeners.remove(&key) {
                    self.with_balancer(listener, |balancer| balancer.retire(worker));
                }
            }
            FromWorker::ExitedAfterDisconnect { seq } => {
                conversation.wished_to_leave = true;
                let line = message::acknowledge(conversation.next_seq(), seq);
                self.retire(worker);
                self.send(worker, line, Handle::None);
            }
            FromWorker::Handle(letter) => {
                let descriptor = conversation.take_descriptor();
                self.send(worker, message::handle_answer(descriptor.is_some()), Handle::None);
                if let (Some(letter), Some(descriptor)) = (letter, descriptor) {
                    self.deliver(worker, &letter, Handle::Connection(descriptor));
                }
                self.effects.extend(descriptor.map(Effect::Close));
            }
            FromWorker::Letter(letter) => self.deliver(worker, &letter, Handle::None),
            FromWorker::SocketNotifyClose { key } => {
                self.send(worker, message::socket_all_closed(&key), Handle::None);
            }
            FromWorker::SocketGetCount { key } => {
                self.send(worker, message::socket_count(&key), Handle::None)
            }
        }
    }

    /// Brings a letter to everybody that it is for.
    fn deliver(&mut self, sender: WorkerId, letter: &Letter, handle: Handle) {
        let Some(from) = self.workers.get(&sender).map(|conversation| conversation.slot) else { return };
        let Some(line) = letter.from(from, sender) else { return };
        for (id, conversation) in &mut self.workers {
            if letter.to.include(conversation.slot, from) {
                let line = line.clone();
                self.effects.extend(match handle {
                    Handle::None => Some(Effect::Deliver { worker: *id, line }),
                    Handle::Connection(_) | Handle::Listener(_) if conversation.is_behind() => None,
                    Handle::Connection(_) | Handle::Listener(_) => {
                        conversation.sent_handle();
                        Some(Effect::Send { worker: *id, line, handle })
                    }
                });
            }
        }
    }
}
