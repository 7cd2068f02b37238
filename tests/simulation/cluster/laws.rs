//! What is true after every step, whatever happens: a second book of who has which connection, kept from what passes the shell.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use allcores::cluster::balancer::{DEPTH, QUICK};
use allcores::cluster::listener::Place;
use allcores::cluster::{Cluster, Effect, Handle, Input};
use allcores::ids::{ConnectionId, ListenerId, WorkerId};
use allcores::supervisor::time::Time;
use serde_json::Value;

use super::node::key;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Nobody has it.
    Waits,
    /// This worker was offered it.
    Offered(WorkerId),
    /// A worker has said that it takes it.
    Taken,
    /// Our copy is closed.
    Closed,
}

#[derive(Clone, Debug)]
struct Connection {
    fate: Fate,
    deaths: u32,
    served: u32,
}

#[derive(Clone, Debug)]
struct Offer {
    connection: u64,
    key: String,
}

/// What the laws must remember.
#[derive(Clone, Debug)]
pub struct Laws {
    /// Whether whoever is free is what counts.
    is_round_robin: bool,
    connections: BTreeMap<u64, Connection>,
    /// Offers that were not answered.
    offers: BTreeMap<(WorkerId, u64), Offer>,
    /// Offers and questions (which have no number) that were neither acknowledged nor refused, oldest first.
    handles: BTreeMap<WorkerId, VecDeque<Option<u64>>>,
    /// The beginnings of lines.
    pieces: BTreeMap<WorkerId, Vec<u8>>,
    /// Who has which listener.
    members: BTreeSet<(WorkerId, String)>,
    /// Who asks for which listener, and has no reply.
    asked: BTreeSet<(WorkerId, String)>,
    /// Who declined or had no descriptor and has taken nothing since, and until when it is left alone at least.
    aside: BTreeMap<(WorkerId, String), Time>,
    /// When who took something last.
    took: BTreeMap<(WorkerId, String), Time>,
    open: BTreeSet<WorkerId>,
    retired: BTreeSet<WorkerId>,
    keys: BTreeMap<ListenerId, String>,
    accepting: BTreeSet<ListenerId>,
    /// Where nobody is let in any more.
    refusing: BTreeSet<ListenerId>,
    /// How many offers there ever were.
    pub offered: usize,
    /// How many each worker has taken.
    pub taken: BTreeMap<WorkerId, u32>,
}

impl Laws {
    pub fn new(is_round_robin: bool) -> Self {
        Self {
            is_round_robin,
            connections: BTreeMap::new(),
            offers: BTreeMap::new(),
            handles: BTreeMap::new(),
            pieces: BTreeMap::new(),
            members: BTreeSet::new(),
            asked: BTreeSet::new(),
            aside: BTreeMap::new(),
            took: BTreeMap::new(),
            open: BTreeSet::new(),
            retired: BTreeSet::new(),
            keys: BTreeMap::new(),
            accepting: BTreeSet::new(),
            refusing: BTreeSet::new(),
            offered: 0,
            taken: BTreeMap::new(),
        }
    }

    pub fn joined(&mut self, worker: WorkerId) {
        self.open.insert(worker);
    }

    pub fn retired(&mut self, worker: WorkerId) {
        self.retired.insert(worker);
    }

    /// A worker serves a connection from now on.
    pub fn serves(&mut self, worker: WorkerId, connection: u64) {
        *self.taken.entry(worker).or_default() += 1;
        let connection = self.connections.get_mut(&connection).unwrap();
        connection.served += 1;
        assert_eq!(connection.served, 1, "two workers serve one connection");
    }

    /// Before the primary is told.
    pub fn input(&mut self, input: &Input, now: Time) {
        match input {
            Input::Read { worker, bytes, .. } => self.read(*worker, bytes, now),
            Input::Ended(worker) => self.gone(*worker),
            Input::Accepted { listener, newcomers, .. } => {
                assert!(self.accepting.remove(listener));
                for newcomer in newcomers {
                    let connection = Connection { fate: Fate::Waits, deaths: 0, served: 0 };
                    assert!(self.connections.insert(newcomer.connection.0, connection).is_none());
                }
            }
            Input::Bound { .. } | Input::Readable(_) => {}
        }
    }

    fn read(&mut self, worker: WorkerId, bytes: &[u8], now: Time) {
        let piece = self.pieces.entry(worker).or_default();
        piece.extend_from_slice(bytes);
        while let Some(end) = self.pieces[&worker].iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.pieces.get_mut(&worker).unwrap().drain(..=end).collect();
            let Ok(message) = serde_json::from_slice::<Value>(&line) else { return };
            self.heard(worker, &message, now);
        }
    }

    fn heard(&mut self, worker: WorkerId, message: &Value, now: Time) {
        if !self.open.contains(&worker) {
            return;
        }
        let handles = self.handles.entry(worker).or_default();
        match (message["cmd"].as_str(), message["act"].as_str()) {
            (Some("NODE_HANDLE_ACK"), _) => _ = handles.pop_front(),
            (Some("NODE_HANDLE_NACK"), _) => {
                let Some(seq) = handles.pop_front().unwrap() else { return };
                let offer = self.offers.remove(&(worker, seq)).unwrap();
                self.connections.get_mut(&offer.connection).unwrap().fate = Fate::Waits;
                let member = (worker, offer.key);
                self.leave_alone(&member, now, Duration::from_millis(500));
                self.forget_if_done(&member);
            }
            (Some("NODE_CLUSTER"), Some("exitedAfterDisconnect")) => self.retired(worker),
            (Some("NODE_CLUSTER"), Some("queryServer")) => {
                self.asked.insert((worker, key(message["port"].as_u64().unwrap() as u16)));
            }
            (Some("NODE_CLUSTER"), Some("close")) => {
                let member = (worker, message["key"].as_str().unwrap().to_owned());
                self.members.remove(&member);
                self.forget_if_done(&member);
            }
            (Some("NODE_CLUSTER"), None) => {
                let offer = self.offers.remove(&(worker, message["ack"].as_u64().unwrap())).unwrap();
                let accepted = message["accepted"] == true;
                self.connections.get_mut(&offer.connection).unwrap().fate =
                    if accepted { Fate::Taken } else { Fate::Waits };
                let member = (worker, offer.key);
                if accepted {
                    self.aside.remove(&member);
                    self.took.insert(member.clone(), now);
                } else {
                    self.leave_alone(&member, now, Duration::from_millis(10));
                }
                self.forget_if_done(&member);
            }
            _ => {}
        }
    }

    /// For so long at least; what follows while it is left alone says nothing more.
    fn leave_alone(&mut self, member: &(WorkerId, String), now: Time, time: Duration) {
        if self.aside.get(member).is_none_or(|until| *until <= now) {
            self.aside.insert(member.clone(), now + time);
        }
    }

    /// Whoever has closed its server, owes no answer, and opens it again begins anew.
    fn forget_if_done(&mut self, member: &(WorkerId, String)) {
        let is_member = self.members.contains(member) || self.asked.contains(member);
        if !is_member && self.unanswered(member).next().is_none() {
            self.aside.remove(member);
            self.took.remove(member);
        }
    }

    /// The offers that a worker has not answered, oldest first.
    fn unanswered<'a>(&'a self, member: &'a (WorkerId, String)) -> impl Iterator<Item = &'a Offer> {
        let of_it = self.offers.range((member.0, 0)..=(member.0, u64::MAX)).map(|(_, offer)| offer);
        of_it.filter(|offer| offer.key == member.1)
    }

    fn gone(&mut self, worker: WorkerId) {
        if !self.open.remove(&worker) {
            return;
        }
        self.members.retain(|(member, _)| *member != worker);
        let mut keys = BTreeSet::new();
        for (_, offer) in self.offers.extract_if(.., |(offered_to, _), _| *offered_to == worker) {
            let connection = self.connections.get_mut(&offer.connection).unwrap();
            connection.fate = Fate::Waits;
            // It had looked at the oldest, if at any.
            connection.deaths += u32::from(keys.insert(offer.key));
        }
    }

    /// What the primary asks for.
    pub fn effect(&mut self, effect: &Effect, now: Time) {
        match effect {
            Effect::Send { worker, line, handle } => {
                assert!(self.open.contains(worker), "{line} to worker {worker}, whose channel has ended");
                let message: Value = serde_json::from_str(line).unwrap();
                match handle {
                    Handle::Connection(connection) => {
                        self.offer(*worker, connection.0, &message["msg"], now);
                    }
                    Handle::None | Handle::Listener(_) => {
                        let key = message["key"].as_str().unwrap_or_default();
                        let member = (*worker, key.to_owned());
                        self.asked.remove(&member);
                        if message["errno"] == 0 {
                            self.members.insert(member);
                        }
                    }
                }
            }
            Effect::Bind { listener, place: Place::Tcp(host), .. } => {
                assert!(self.keys.insert(*listener, key(host.port)).is_none(), "a listener is bound twice");
            }
            Effect::Ask { worker, .. } => {
                assert!(self.open.contains(worker), "worker {worker} is asked, whose channel has ended");
                let handles = self.handles.entry(*worker).or_default();
                assert!(!handles.contains(&None), "a question at a time");
                handles.push_back(None);
            }
            Effect::Resume(worker) | Effect::Alive { worker, .. } => {
                let is_answered = self.handles.get(worker).is_none_or(|handles| !handles.contains(&None));
                assert!(is_answered, "worker {worker} has not answered");
            }
            Effect::AsksStatus(_) | Effect::Served(_) => panic!("nobody asks for it"),
            Effect::Deliver { .. } => panic!("nobody writes to siblings"),
            Effect::Bind { .. } => panic!("nobody asked for that"),
            Effect::Accept { listener, most } => {
                assert!(self.accepting.insert(*listener), "asked to accept before the last was answered");
                let key = &self.keys[listener];
                let room: usize = self.members_of(key).map(|member| self.room(member, now)).sum();
                let is_open = !self.refusing.contains(listener);
                assert!(*most > 0 && (!is_open || room > 0), "{most} are accepted, and nobody has room");
                let is_fit = !is_open || !self.is_round_robin || *most <= room;
                assert!(is_fit, "{most} are accepted, and room is for {room}");
            }
            Effect::Refuse(listener) => assert!(self.refusing.insert(*listener), "refused twice"),
            Effect::CloseListener(listener) => {
                assert!(self.refusing.contains(listener) && self.keys.remove(listener).is_some());
            }
            Effect::Close(ConnectionId(id)) => {
                // At the end, when nobody is in rotation.
                let is_hopeless = !self.refusing.is_empty()
                    && self.members.iter().all(|(worker, _)| self.retired.contains(worker));
                let connection = self.connections.get_mut(id).unwrap();
                let is_done = connection.fate == Fate::Taken;
                let is_deadly = connection.fate == Fate::Waits && connection.deaths >= 3;
                let is_left = connection.fate == Fate::Waits && is_hopeless;
                assert!(is_done || is_deadly || is_left, "connection {id} is closed: {connection:?}");
                connection.fate = Fate::Closed;
            }
            Effect::EndChannel { worker, .. } => self.gone(*worker),
            Effect::Listening(worker) | Effect::SaidReady(worker) => {
                assert!(self.open.contains(worker), "the dead say nothing");
            }
        }
    }

    fn members_of<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a (WorkerId, String)> {
        self.members.iter().filter(move |(_, of)| of == key)
    }

    /// How many more a worker may be offered: none while it rests, several if it has taken one a moment ago.
    fn room(&self, member: &(WorkerId, String), now: Time) -> usize {
        let is_quick = self.took.get(member).is_some_and(|time| now < *time + QUICK);
        let most = match self.aside.get(member) {
            _ if self.retired.contains(&member.0) => 0,
            Some(until) if *until > now => 0,
            None if is_quick => DEPTH,
            Some(_) | None => 1,
        };
        most.saturating_sub(self.unanswered(member).count())
    }

    fn offer(&mut self, worker: WorkerId, connection: u64, message: &Value, now: Time) {
        let (key, seq) = (message["key"].as_str().unwrap().to_owned(), message["seq"].as_u64().unwrap());
        let member = (worker, key);
        assert!(self.members.contains(&member), "{message} to worker {worker} without a server");
        assert!(self.room(&member, now) > 0, "{message} to worker {worker}, who has no room");
        let load = |member: &_| self.unanswered(member).count();
        let is_willing = |other: &_| !self.aside.contains_key(other) && self.room(other, now) > 0;
        let has_less = |other: &&_| is_willing(other) && load(other) < load(&member);
        let lighter = self.members_of(&member.1).find(has_less);
        assert!(!self.is_round_robin || lighter.is_none(), "{lighter:?} has less to answer than {worker}");
        let known = self.connections.get_mut(&connection).unwrap();
        assert!(known.fate == Fate::Waits && known.deaths < 3, "offered once more: {known:?}");
        known.fate = Fate::Offered(worker);
        self.offered += 1;
        self.handles.entry(worker).or_default().push_back(Some(seq));
        let offer = Offer { connection, key: member.1 };
        assert!(self.offers.insert((worker, seq), offer).is_none(), "a number twice");
    }

    /// After everything that was asked for.
    pub fn state(&self, cluster: &Cluster, now: Time) {
        let waiting = self.connections.values().filter(|connection| connection.fate == Fate::Waits);
        for connection in self.connections.values() {
            assert!(connection.fate != Fate::Taken, "taken, and our copy is open");
            assert!(
                connection.fate != Fate::Waits || connection.deaths < 3,
                "kills for ever: {connection:?}"
            );
        }
        let waiting = waiting.count();
        assert_eq!(cluster.waiting(), waiting, "the primary's book and ours");
        assert!(waiting <= 1024, "{waiting} wait");
        assert!(cluster.deadline().is_none_or(|time| time > now), "a deadline that is over: {now}");
        let has_something =
            |(worker, _): &(WorkerId, String)| self.offers.keys().any(|(other, _)| other == worker);
        let mut serving = self.members.iter().filter(|(worker, _)| !self.retired.contains(worker));
        assert!(cluster.lull().is_none() || serving.all(has_something), "somebody has nothing to do");
    }

    /// Nobody waits, and nobody has an offer that is not answered.
    pub fn all_is_done(&self) {
        for (id, connection) in &self.connections {
            assert_eq!(connection.fate, Fate::Closed, "connection {id} is forgotten: {connection:?}");
            assert!(
                connection.served == 1 || connection.deaths >= 3,
                "connection {id} is lost: {connection:?}"
            );
        }
    }

    /// Whoever has connected is served.
    pub fn all_are_served(&self) {
        for (id, connection) in &self.connections {
            assert_eq!(connection.served, 1, "connection {id}: {connection:?}");
        }
    }

    pub fn waiting(&self) -> usize {
        self.connections.values().filter(|connection| connection.fate == Fate::Waits).count()
    }
}
