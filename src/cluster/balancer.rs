//! Who gets the next connection of one listener, and what becomes of one that nobody took.
//!
//! A connection is accepted when somebody is free to take it: until then it waits in the kernel, where no death of a worker
//! can lose it. An accepted one is offered until a worker takes it, a limited number of deaths long. Knows connections by
//! number only, and neither messages nor descriptors.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use crate::ids::{ConnectionId, WorkerId};
use crate::supervisor::time::Time;

/// So many workers may die with a connection in hand before it is taken for the reason, and closed.
const DEATHS: u8 = 3;
/// How long a worker without descriptors is left alone.
const ASIDE: Duration = Duration::from_millis(500);
/// How long a worker is left alone that has declined; doubled each time, until it takes one.
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
}

/// A worker that has this listener.
#[derive(Clone, Debug)]
struct Member {
    offered: Option<Waiting>,
    /// It is left alone until then.
    not_before: Time,
    /// How long it is left alone when it declines the next time.
    pause: Duration,
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
                let (offered, not_before, pause) = (None, Time::default(), DECLINED_FIRST);
                place.insert(Member { offered, not_before, pause, retired: false });
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
        self.waiting.push_back(Waiting { connection, peer, deaths: 0 });
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
            if let Some(member) = self.members.get_mut(&worker) {
                member.pause = DECLINED_FIRST;
            }
            moves.push(Move::Close(offered.connection));
        }
    }

    /// The worker declined what it was offered: its server is closed or full.
    pub fn declined(&mut self, worker: WorkerId, now: Time) {
        let Some(offered) = self.answered(worker) else { return };
        // What it declines, it would decline again a moment later, and so with the next: it is the worker that has to rest.
        if let Some(member) = self.members.get_mut(&worker) {
            member.not_before = now + member.pause;
            member.pause = (member.pause * 2).min(DECLINED_LONGEST);
        }
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

    /// When something that waits may go on.
    pub fn deadline(&self) -> Option<Time> {
        if self.waiting.is_empty() && !self.readable {
            return None;
        }
        let workers =
            self.free.iter().filter_map(|worker| self.members.get(worker)).map(|member| member.not_before);
        let accepting = std::iter::once(self.accept_not_before);
        workers.chain(accepting).filter(|time| *time > Time::default()).min()
    }

    /// Brings together who is free and who waits.
    pub fn pump(&mut self, now: Time, moves: &mut Vec<Move>) {
        // What is over is no deadline any more.
        for member in self.members.values_mut().filter(|member| member.not_before <= now) {
            member.not_before = Time::default();
        }
        let is_free = |members: &BTreeMap<WorkerId, Member>, worker: &WorkerId| {
            members.get(worker).is_some_and(|member| member.not_before <= now)
        };
        let mut index = 0;
        while let Some(waiting) = self.waiting.get(index) {
            let wanted = self.preferred(waiting, now);
            let fits = |worker: &WorkerId| {
                is_free(&self.members, worker) && wanted.is_none_or(|wanted| wanted == *worker)
            };
            let place = self.free.iter().position(fits);
            match place.and_then(|place| self.free.remove(place)) {
                Some(worker) => {
                    let waiting = self.waiting.remove(index);
                    moves.extend(waiting.as_ref().map(|waiting| Move::Offer(worker, waiting.connection)));
                    if let Some(member) = self.members.get_mut(&worker) {
                        member.offered = waiting;
                    }
                }
                None => index += 1,
            }
        }
        let free = self.free.iter().filter(|worker| is_free(&self.members, worker)).count();
        let room = match self.choice {
            // Whoever is free and found nobody waiting takes one from the kernel.
            Choice::RoundRobin => free.min(MOST_WAITING.saturating_sub(self.waiting.len())),
            // Only an accepted connection says whose it is.
            Choice::SourceIp if free == 0 => 0,
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
    fn preferred(&self, waiting: &Waiting, now: Time) -> Option<WorkerId> {
        let peer = match self.choice {
            Choice::RoundRobin => return None,
            Choice::SourceIp => waiting.peer?,
        };
        // Whoever is full or has no descriptors is none of the workers for now.
        let candidates =
            self.members.iter().filter(|(_, member)| !member.retired && member.not_before <= now);
        candidates.map(|(id, _)| *id).max_by_key(|id| weight(peer, *id))
    }

    /// Everything that is accepted and nobody has.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
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
