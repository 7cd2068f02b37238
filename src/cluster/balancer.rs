//! Who gets the next connection of one listener, and what becomes of one that nobody took.
//!
//! A connection is accepted when somebody is free to take it: until then it waits in the kernel, where no death of a worker
//! can lose it. An accepted one is offered until a worker takes it, a limited number of deaths long. Knows connections by
//! number only, and neither messages nor descriptors.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use crate::ids::{ConnectionId, WorkerId};
use crate::supervisor::time::Time;

/// So many workers may die with a connection in hand before it is taken for the reason, and closed.
const DEATHS: u8 = 3;
/// How long a worker without descriptors is left alone.
const ASIDE: Duration = Duration::from_millis(500);
/// How long a connection waits that every worker has declined; doubled each time.
const DECLINED_FIRST: Duration = Duration::from_millis(10);
const DECLINED_LONGEST: Duration = Duration::from_millis(250);
/// How soon a failure to accept is tried again.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
/// Most connections that wait, accepted, for a worker.
pub const MOST_WAITING: usize = 1024;

/// How a worker is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The one that has been free for longest.
    RoundRobin,
    /// Always the same for one client's address, while the workers are the same.
    SourceIp,
}

/// What is left in the kernel after connections were accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// Perhaps more.
    More,
    /// Nothing, until the listener is readable again.
    Nothing,
    /// Accepting failed for want of descriptors or memory; nobody will say when there is room again.
    Unknown,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// Offer it to this worker, which must answer.
    Offer(WorkerId, ConnectionId),
    /// Accept so many; each is `accepted`, and if there were fewer, `drained` follows.
    Accept(usize),
    /// Close our copy: a worker has taken it, or nobody will.
    Close(ConnectionId),
}

/// A connection that nobody has.
#[derive(Clone, Debug)]
struct Waiting {
    connection: ConnectionId,
    peer: Option<IpAddr>,
    deaths: u8,
    declined_by: BTreeSet<WorkerId>,
    pause: Duration,
    not_before: Time,
}

/// A worker that has this listener.
#[derive(Clone, Debug, Default)]
struct Member {
    offered: Option<Waiting>,
    not_before: Time,
    retired: bool,
}

/// The state of one listener's connections.
#[derive(Clone, Debug)]
pub struct Balancer {
    choice: Choice,
    members: BTreeMap<WorkerId, Member>,
    /// Who is free, longest first.
    free: VecDeque<WorkerId>,
    waiting: VecDeque<Waiting>,
    /// Whether the kernel may have connections that we did not accept.
    readable: bool,
    accepting: bool,
    accept_not_before: Time,
}

impl Balancer {
    /// A listener that nobody has yet.
    pub fn new(choice: Choice) -> Self {
        Self {
            choice,
            members: BTreeMap::new(),
            free: VecDeque::new(),
            waiting: VecDeque::new(),
            readable: false,
            accepting: false,
            accept_not_before: Time::default(),
        }
    }

    /// A worker can take connections.
    pub fn join(&mut self, worker: WorkerId) {
        match self.members.entry(worker) {
            Entry::Vacant(place) => {
                place.insert(Member::default());
                self.free.push_back(worker);
            }
            // It closed its server, listens again, and owes the answer to an offer: it is free when that has come.
            Entry::Occupied(mut member) => member.get_mut().retired = false,
        }
    }

    /// A worker takes no more connections; what it was offered it still answers.
    pub fn retire(&mut self, worker: WorkerId) {
        self.free.retain(|free| *free != worker);
        if let Some(member) = self.members.get_mut(&worker) {
            member.retired = true;
            if member.offered.is_none() {
                self.members.remove(&worker);
            }
        }
    }

    /// A worker is gone. What it was offered and did not answer is somebody else's.
    pub fn lose(&mut self, worker: WorkerId, moves: &mut Vec<Move>) {
        self.free.retain(|free| *free != worker);
        let Some(mut offered) = self.members.remove(&worker).and_then(|member| member.offered) else {
            return;
        };
        offered.deaths += 1;
        if offered.deaths >= DEATHS {
            moves.push(Move::Close(offered.connection));
        } else {
            self.waiting.push_front(offered);
        }
    }

    /// The kernel has connections.
    pub fn readable(&mut self) {
        self.readable = true;
    }

    /// One was accepted.
    pub fn accepted(&mut self, connection: ConnectionId, peer: Option<IpAddr>) {
        let (deaths, declined_by) = (0, BTreeSet::new());
        let (pause, not_before) = (DECLINED_FIRST, Time::default());
        self.waiting.push_back(Waiting { connection, peer, deaths, declined_by, pause, not_before });
    }

    /// What was asked to be accepted was.
    pub fn accepted_all(&mut self, rest: Rest, now: Time) {
        self.accepting = false;
        match rest {
            Rest::More => {}
            Rest::Nothing => self.readable = false,
            Rest::Unknown => self.accept_not_before = now + ACCEPT_AGAIN,
        }
    }

    /// The worker took what it was offered.
    pub fn taken(&mut self, worker: WorkerId, moves: &mut Vec<Move>) {
        if let Some(offered) = self.answered(worker) {
            moves.push(Move::Close(offered.connection));
        }
    }

    /// The worker declined what it was offered: its server is closed or full.
    pub fn declined(&mut self, worker: WorkerId) {
        let Some(mut offered) = self.answered(worker) else { return };
        offered.declined_by.insert(worker);
        self.waiting.push_front(offered);
    }

    /// The worker had no descriptor for what it was offered.
    pub fn refused(&mut self, worker: WorkerId, now: Time) {
        let Some(offered) = self.answered(worker) else { return };
        if let Some(member) = self.members.get_mut(&worker) {
            member.not_before = now + ASIDE;
        }
        self.waiting.push_front(offered);
    }

    fn answered(&mut self, worker: WorkerId) -> Option<Waiting> {
        let member = self.members.get_mut(&worker)?;
        let offered = member.offered.take()?;
        if member.retired {
            self.members.remove(&worker);
        } else {
            self.free.push_back(worker);
        }
        Some(offered)
    }

    /// Lets a connection rest that everybody has declined, also when who had not is gone by now.
    fn rest(&mut self, now: Time) {
        for waiting in self.waiting.iter_mut().filter(|waiting| !waiting.declined_by.is_empty()) {
            let mut others = self.members.iter().filter(|(_, member)| !member.retired).map(|(id, _)| id);
            if others.all(|worker| waiting.declined_by.contains(worker)) {
                waiting.declined_by.clear();
                waiting.not_before = now + waiting.pause;
                waiting.pause = (waiting.pause * 2).min(DECLINED_LONGEST);
            }
        }
    }

    /// When something that waits may go on.
    pub fn deadline(&self) -> Option<Time> {
        if self.waiting.is_empty() && !self.readable {
            return None;
        }
        let workers =
            self.free.iter().filter_map(|worker| self.members.get(worker)).map(|member| member.not_before);
        let connections = self.waiting.iter().map(|waiting| waiting.not_before);
        let accepting = std::iter::once(self.accept_not_before);
        workers.chain(connections).chain(accepting).filter(|time| *time > Time::default()).min()
    }

    /// Brings together who is free and who waits.
    pub fn pump(&mut self, now: Time, moves: &mut Vec<Move>) {
        self.rest(now);
        // What is over is no deadline any more.
        let members = self.members.values_mut().map(|member| &mut member.not_before);
        for time in self.waiting.iter_mut().map(|waiting| &mut waiting.not_before).chain(members) {
            if *time <= now {
                *time = Time::default();
            }
        }
        let is_free = |members: &BTreeMap<WorkerId, Member>, worker: &WorkerId| {
            members.get(worker).is_some_and(|member| member.not_before <= now)
        };
        let mut index = 0;
        while let Some(waiting) = self.waiting.get(index) {
            let wanted = self.preferred(waiting);
            let fits = |worker: &WorkerId| {
                is_free(&self.members, worker)
                    && !waiting.declined_by.contains(worker)
                    && wanted.is_none_or(|wanted| wanted == *worker)
            };
            let place = if waiting.not_before <= now { self.free.iter().position(fits) } else { None };
            match place.and_then(|place| self.free.remove(place)) {
                Some(worker) => {
                    let waiting = self.waiting.remove(index);
                    moves.extend(waiting.as_ref().map(|waiting| Move::Offer(worker, waiting.connection)));
                    self.members.entry(worker).or_default().offered = waiting;
                }
                None => index += 1,
            }
        }
        let free = self.free.iter().filter(|worker| is_free(&self.members, worker)).count();
        let room = match self.choice {
            // Whoever is free and found nobody waiting takes one from the kernel; who is full declines that one as well.
            Choice::RoundRobin if self.waiting.iter().any(|waiting| waiting.not_before > now) => 0,
            Choice::RoundRobin => free.min(MOST_WAITING.saturating_sub(self.waiting.len())),
            // Only an accepted connection says whose it is.
            Choice::SourceIp if self.free.is_empty() => 0,
            Choice::SourceIp => MOST_WAITING.saturating_sub(self.waiting.len()).min(64),
        };
        if self.accept_not_before <= now {
            self.accept_not_before = Time::default();
        }
        if self.readable && !self.accepting && room > 0 && self.accept_not_before == Time::default() {
            self.accepting = true;
            moves.push(Move::Accept(room));
        }
    }

    /// Whose a connection is by its client's address: rendezvous hashing, so that a worker that goes or comes moves only
    /// its own clients.
    fn preferred(&self, waiting: &Waiting) -> Option<WorkerId> {
        let peer = match self.choice {
            Choice::RoundRobin => return None,
            Choice::SourceIp => waiting.peer?,
        };
        let candidates =
            self.members.iter().filter(|(id, member)| !member.retired && !waiting.declined_by.contains(id));
        candidates.map(|(id, _)| *id).max_by_key(|id| weight(peer, *id))
    }

    /// Everything that is accepted and nobody has.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Whether anybody can take connections.
    pub fn has_members(&self) -> bool {
        !self.members.is_empty()
    }
}

/// FNV-1a over the address and the worker, mixed once more.
fn weight(peer: IpAddr, worker: WorkerId) -> u64 {
    let octets = match peer {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    };
    let bytes = octets.into_iter().chain(worker.0.to_le_bytes());
    let hash = bytes.fold(0xCBF2_9CE4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    });
    (hash ^ (hash >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9)
}
