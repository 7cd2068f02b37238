//! Who asks for which listener, and what they are told: one per name that workers call it by, bound once, given to many.
//!
//! Decides whether a worker gets a listener that is there, one that is made for it, or an error. What becomes of its
//! connections is the balancer's.

use super::balancer::{Balancer, Choice};
use super::listener::{Errno, IN_USE, Place, TOO_MANY};
use super::message::{self, HandleType, Query, Reply, SockName};
use super::object::quote;
use super::{Cluster, Effect, Handle, Sharing};
use crate::ids::{ListenerId, Slot, WorkerId};

/// Most listeners; none is closed before we end, and each is a descriptor of ours.
const MOST_LISTENERS: usize = 1024;
/// Most handles that a worker may leave unacknowledged and ask for more.
const MOST_UNACKNOWLEDGED: usize = 1024;

/// Where a socket is on its way to be one.
#[derive(Clone, Debug)]
pub(super) enum Socket {
    /// It is being bound; these have asked for it, under these numbers.
    Binding(Vec<(WorkerId, u64)>),
    /// It is bound, and has this name.
    Bound(Option<SockName>),
}

#[derive(Clone, Debug)]
pub(super) struct Listener {
    key: String,
    /// The key as JSON.
    pub(super) quoted: String,
    /// Whose alone it is, when every slot has one.
    slot: Option<Slot>,
    pub(super) kind: HandleType,
    pub(super) sharing: Sharing,
    pub(super) socket: Socket,
    /// What the first worker's server shares with the others.
    data: String,
    pub(super) balancer: Balancer,
}

impl Cluster {
    /// A worker asks for a listener.
    pub(super) fn asked(&mut self, worker: WorkerId, seq: u64, query: &Query) {
        let Some(conversation) = self.workers.get(&worker) else { return };
        if conversation.retired || self.ends {
            // It is about to close what it would get.
            return;
        }
        let (slot, key) = (conversation.slot, query.key());
        if conversation.unacknowledged() > MOST_UNACKNOWLEDGED {
            return self.reply_error(worker, seq, &key, TOO_MANY);
        }
        let place = match query.place() {
            Ok(_) if conversation.listeners.contains_key(&key) => {
                return self.reply_error(worker, seq, &key, IN_USE);
            }
            Ok(place) => place,
            Err(errno) => return self.reply_error(worker, seq, &key, errno),
        };
        // UDP has no connections to hand over.
        let sharing = match (place.handle_type(), self.sharing) {
            (HandleType::DatagramNative, _) => Sharing::OneForAll,
            (HandleType::Native, sharing) => sharing,
        };
        // A path, an abstract name and a socket of LISTEN exist once.
        let sharing = match (&place, sharing) {
            (Place::Path { .. } | Place::Abstract(_) | Place::Passed(_), Sharing::OnePerSlot) => {
                Sharing::OneForAll
            }
            (
                Place::Tcp(_)
                | Place::Udp { .. }
                | Place::Path { .. }
                | Place::Abstract(_)
                | Place::Passed(_),
                sharing,
            ) => sharing,
        };
        let slot = (sharing == Sharing::OnePerSlot).then_some(slot);
        let same =
            self.listeners.iter_mut().find(|(_, listener)| listener.key == key && listener.slot == slot);
        if let Some((id, listener)) = same {
            let id = *id;
            match &mut listener.socket {
                Socket::Binding(askers) => askers.push((worker, seq)),
                Socket::Bound(_) => self.give(worker, seq, id),
            }
            return;
        }
        if self.listeners.len() >= MOST_LISTENERS {
            return self.reply_error(worker, seq, &key, TOO_MANY);
        }
        let port = self.listeners.values().find(|listener| listener.key == key).and_then(Listener::port);
        let id = self.next_listener;
        self.next_listener = ListenerId(id.0 + 1);
        let choice = match sharing {
            Sharing::HandOver(choice) => choice,
            Sharing::OneForAll | Sharing::OnePerSlot => Choice::RoundRobin,
        };
        let listener = Listener {
            quoted: quote(&key),
            key,
            slot,
            kind: place.handle_type(),
            sharing,
            socket: Socket::Binding(vec![(worker, seq)]),
            data: query.data.clone(),
            balancer: Balancer::new(choice),
        };
        self.listeners.insert(id, listener);
        let place = match port {
            Some(port) => place.at_port(port),
            None => place,
        };
        self.effects.push(Effect::Bind { listener: id, place, backlog: query.backlog(), sharing });
    }

    pub(super) fn bound(&mut self, id: ListenerId, result: Result<Option<SockName>, Errno>) {
        let Some(listener) = self.listeners.get_mut(&id) else { return };
        let socket = match &result {
            Ok(name) => Socket::Bound(name.clone()),
            Err(_) => Socket::Binding(Vec::new()),
        };
        let Socket::Binding(askers) = std::mem::replace(&mut listener.socket, socket) else { return };
        match result {
            Ok(_) => askers.into_iter().for_each(|(worker, seq)| self.give(worker, seq, id)),
            Err(errno) => {
                let key = listener.key.clone();
                self.listeners.remove(&id);
                askers.into_iter().for_each(|(worker, seq)| self.reply_error(worker, seq, &key, errno));
            }
        }
    }

    /// Replies to a query with a listener that is bound.
    fn give(&mut self, worker: WorkerId, ack: u64, id: ListenerId) {
        let (Some(conversation), Some(listener)) =
            (self.workers.get_mut(&worker), self.listeners.get_mut(&id))
        else {
            return;
        };
        // Since it asked, it may have been told to leave, or have got the same by asking twice: two replies would kill it.
        if conversation.retired {
            return;
        }
        if conversation.listeners.contains_key(&listener.key) {
            let key = listener.key.clone();
            return self.reply_error(worker, ack, &key, IN_USE);
        }
        conversation.listeners.insert(listener.key.clone(), id);
        let seq = conversation.next_seq();
        let (key, data) = (&listener.quoted, &listener.data);
        let effect = match listener.sharing {
            Sharing::HandOver(_) => {
                listener.balancer.join(worker);
                let name = listener.name();
                let line = Reply { errno: 0, key, ack, data, sockname: name, seq }.line();
                Effect::Send { worker, line, handle: Handle::None }
            }
            Sharing::OneForAll | Sharing::OnePerSlot => {
                conversation.sent_handle();
                let reply = Reply { errno: 0, key, ack, data, sockname: None, seq }.line();
                let line = message::with_handle(listener.kind, &reply);
                Effect::Send { worker, line, handle: Handle::Listener(id) }
            }
        };
        self.effects.push(effect);
    }

    fn reply_error(&mut self, worker: WorkerId, ack: u64, key: &str, errno: Errno) {
        if let Some(conversation) = self.workers.get_mut(&worker) {
            let (Errno(errno), seq) = (errno, conversation.next_seq());
            let line = Reply { errno, key: &quote(key), ack, data: "null", sockname: None, seq }.line();
            self.send(worker, line, Handle::None);
        }
    }
}

impl Listener {
    fn name(&self) -> Option<&SockName> {
        match &self.socket {
            Socket::Bound(name) => name.as_ref(),
            Socket::Binding(_) => None,
        }
    }

    fn port(&self) -> Option<u16> {
        self.name().map(|name| name.port)
    }
}
