//! Who gets the next connection of one listener, and what becomes of one that nobody took.
//!
//! A connection is accepted when somebody has room for it: until then it waits in the kernel, where no death of a worker
//! can lose it. An accepted one is offered until a worker takes it, a limited number of deaths long. Knows connections by
//! number only, and neither messages nor descriptors.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use super::figures::AcceptError;
use super::rendezvous::weight;
use crate::ids::{ConnectionId, WorkerId};
use crate::supervisor::time::Time;

/// Most offers that a worker may leave unanswered. Several are read and answered in one turn of its loop, which saves it and
/// us from waking each other for each; what is behind a long turn waits for its end, so they are few.
pub const DEPTH: usize = 8;
/// Whoever took one so long ago or less is quick, and may have several; anybody else may be busy, and has one.
pub const QUICK: Duration = Duration::from_millis(5);
/// So many workers may die with a connection next in hand before it is taken for the reason, and closed.
const DEATHS: u8 = 3;
/// How long a worker without descriptors is left alone.
const ASIDE: Duration = Duration::from_millis(500);
/// How long a worker is left alone that has declined; doubled each time, until it takes one.
const DECLINED_FIRST: Duration = Duration::from_millis(10);
const DECLINED_LONGEST: Duration = Duration::from_millis(250);
/// How soon a failure to accept is tried again.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
/// What a client is given that had begun to connect when nobody new was let in any more: a round trip. It believes itself connected
/// before we know of it. Shorter than workers go on taking connections at a stop.
const HANDSHAKE: Duration = Duration::from_millis(150);
/// Most connections that wait, accepted, for a worker.
pub const MOST_WAITING: usize = 1024;
/// Most that are accepted at once.
const MOST_AT_ONCE: usize = 64;

/// How a worker is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The one that has the fewest to answer; of several, the one whose last offer is longest ago.
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
    /// Nobody knows, and nobody will say when there is room for it again.
    Failed(AcceptError),
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// Offer it to this worker, which must answer.
    Offer(WorkerId, ConnectionId),
    /// Accept at most so many, and say so by [`Balancer::accepted`].
    Accept(usize),
    /// Nobody will be accepted any more: the listener is to be closed.
    CloseListener,
    /// Nobody will take it: our copy is to be closed.
    Close(ConnectionId),
}

/// Whether the kernel lets connections in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Door {
    /// Yes, and we accept what somebody has room for.
    Open,
    /// Nobody new, but until then whoever had begun to connect may come in; we accept all who are in.
    Closing { until: Time },
    /// Nobody; we accept all who are in, since they would be cut off when we close it.
    Emptying,
    /// Nobody is in any more.
    Empty,
    /// It is closed.
    Closed,
}

/// A connection that was accepted a moment ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Newcomer {
    /// Which.
    pub connection: ConnectionId,
    /// Whence; nothing for a UNIX socket, or where it does not matter.
    pub peer: Option<IpAddr>,
}

/// A connection that nobody has taken.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    newcomer: Newcomer,
    deaths: u8,
}

/// What a worker was offered and has not answered.
#[derive(Clone, Copy, Debug)]
struct Offer {
    waiting: Waiting,
    since: Time,
}

/// A worker that has this listener.
#[derive(Clone, Debug)]
struct Member {
    worker: WorkerId,
    /// At most [`DEPTH`], oldest first.
    offers: VecDeque<Offer>,
    /// It is left alone until then.
    rests_until: Option<Time>,
    /// How long it was left alone the last time, unless it has taken something since.
    pause: Option<Duration>,
    /// When it took something last.
    took_at: Option<Time>,
    retired: bool,
}

impl Member {
    fn new(worker: WorkerId) -> Self {
        let offers = VecDeque::new();
        Self { worker, offers, rests_until: None, pause: None, took_at: None, retired: false }
    }

    fn rests(&self, now: Time) -> bool {
        self.rests_until.is_some_and(|until| until > now)
    }

    /// How many more it may be offered.
    fn room(&self, now: Time) -> usize {
        let is_quick = self.pause.is_none() && self.took_at.is_some_and(|time| now < time + QUICK);
        let most = match is_quick {
            _ if self.retired || self.rests(now) => 0,
            true => DEPTH,
            false => 1,
        };
        most.saturating_sub(self.offers.len())
    }

    /// Leaves it alone. Of several that it did not take, the first says it all.
    fn rest(&mut self, now: Time, pause: Duration) {
        if !self.rests(now) {
            self.rests_until = Some(now + pause);
            self.pause = Some(pause);
        }
    }
}

/// The state of one listener's connections.
#[derive(Clone, Debug)]
pub struct Balancer {
    choice: Choice,
    /// Whose last offer is longest ago is first.
    members: VecDeque<Member>,
    /// In the order in which they were accepted.
    waiting: VecDeque<Waiting>,
    door: Door,
    /// Whether the kernel may have connections that we did not accept.
    readable: bool,
    accepting: bool,
    accept_not_before: Option<Time>,
}

impl Balancer {
    /// A listener that nobody has yet.
    pub fn new(choice: Choice) -> Self {
        Self {
            choice,
            members: VecDeque::new(),
            waiting: VecDeque::new(),
            door: Door::Open,
            readable: false,
            accepting: false,
            accept_not_before: None,
        }
    }

    fn index_of(&self, worker: WorkerId) -> Option<usize> {
        self.members.iter().position(|member| member.worker == worker)
    }

    /// A worker can take connections.
    pub fn join(&mut self, worker: WorkerId) {
        match self.index_of(worker) {
            None => self.members.push_back(Member::new(worker)),
            // It closed its server, listens again, and owes answers to what it was offered before.
            Some(index) => self.members[index].retired = false,
        }
    }

    /// A worker takes no more connections; what it was offered it still answers.
    pub fn retire(&mut self, worker: WorkerId) {
        let Some(index) = self.index_of(worker) else { return };
        self.members[index].retired = true;
        self.forget_if_done(index);
    }

    fn forget_if_done(&mut self, index: usize) {
        if self.members[index].retired && self.members[index].offers.is_empty() {
            self.members.remove(index);
        }
    }

    /// A worker is gone. What it was offered and did not answer is somebody else's; gives the one that nobody should have any
    /// more, if there is one.
    pub fn lose(&mut self, worker: WorkerId) -> Option<ConnectionId> {
        let index = self.index_of(worker)?;
        let mut offers = self.members.remove(index)?.offers;
        // They are answered in order, so that it had looked at none but the first, if at any.
        let suspect = offers.pop_front()?.waiting;
        offers.into_iter().for_each(|offer| self.put_back(offer.waiting));
        let deaths = suspect.deaths + 1;
        if deaths >= DEATHS {
            return Some(suspect.newcomer.connection);
        }
        self.put_back(Waiting { deaths, ..suspect });
        None
    }

    /// Connections have numbers in the order in which they were accepted.
    fn put_back(&mut self, waiting: Waiting) {
        let number = waiting.newcomer.connection;
        let place = self.waiting.partition_point(|other| other.newcomer.connection < number);
        self.waiting.insert(place, waiting);
    }

    /// The kernel has connections.
    pub fn readable(&mut self) {
        self.readable = true;
    }

    /// The kernel lets nobody new in any more: all who are in are accepted, whoever has room.
    pub fn close(&mut self, now: Time) {
        if self.door == Door::Open {
            (self.door, self.readable) = (Door::Closing { until: now + HANDSHAKE }, true);
        }
    }

    /// What was asked to be accepted was.
    pub fn accepted(&mut self, newcomers: Vec<Newcomer>, rest: Rest, now: Time) {
        self.waiting.extend(newcomers.into_iter().map(|newcomer| Waiting { newcomer, deaths: 0 }));
        self.accepting = false;
        match rest {
            Rest::More => {}
            Rest::Nothing if self.door == Door::Emptying => (self.door, self.readable) = (Door::Empty, false),
            Rest::Nothing => self.readable = false,
            Rest::Failed(_) => self.accept_not_before = Some(now + ACCEPT_AGAIN),
        }
    }

    /// The worker took what it was offered: how long it had not, if it was.
    pub fn taken(&mut self, worker: WorkerId, connection: ConnectionId, now: Time) -> Option<Duration> {
        let offer = self.answered(worker, connection, |member| {
            (member.rests_until, member.pause, member.took_at) = (None, None, Some(now));
        })?;
        Some(now - offer.since)
    }

    /// The worker declined what it was offered: its server is closed or full. What it declines, it would decline again a moment
    /// later, and so with the next: it is the worker that has to rest.
    pub fn declined(&mut self, worker: WorkerId, connection: ConnectionId, now: Time) {
        let offer = self.answered(worker, connection, |member| {
            let pause = member.pause.map_or(DECLINED_FIRST, |pause| pause * 2);
            member.rest(now, pause.min(DECLINED_LONGEST));
        });
        if let Some(offer) = offer {
            self.put_back(offer.waiting);
        }
    }

    /// The worker had no descriptor for what it was offered.
    pub fn refused(&mut self, worker: WorkerId, connection: ConnectionId, now: Time) {
        let offer = self.answered(worker, connection, |member| member.rest(now, ASIDE));
        if let Some(offer) = offer {
            self.put_back(offer.waiting);
        }
    }

    fn answered(
        &mut self,
        worker: WorkerId,
        connection: ConnectionId,
        learn: impl FnOnce(&mut Member),
    ) -> Option<Offer> {
        let index = self.index_of(worker)?;
        let member = &mut self.members[index];
        let place = member.offers.iter().position(|offer| offer.waiting.newcomer.connection == connection)?;
        let offer = member.offers.remove(place);
        learn(member);
        self.forget_if_done(index);
        offer
    }

    /// When something that waits may go on.
    pub fn deadline(&self) -> Option<Time> {
        let door = match self.door {
            Door::Closing { until } => Some(until),
            Door::Open | Door::Emptying | Door::Empty | Door::Closed => None,
        };
        if self.waiting.is_empty() && !self.readable {
            return door;
        }
        let workers = self.members.iter().filter(|member| !member.retired);
        workers.filter_map(|member| member.rests_until).chain(self.accept_not_before).chain(door).min()
    }

    /// Brings together who has room and who waits.
    pub fn pump(&mut self, now: Time, moves: &mut Vec<Move>) {
        // What is over is no deadline any more.
        self.accept_not_before.take_if(|time| *time <= now);
        for member in &mut self.members {
            member.rests_until.take_if(|time| *time <= now);
        }
        if let Door::Closing { until } = self.door
            && until <= now
        {
            (self.door, self.readable) = (Door::Emptying, true);
        }
        let mut index = 0;
        while let Some(waiting) = self.waiting.get(index).copied() {
            match (self.choose(waiting, now), self.choice) {
                (Some(member), _) => {
                    self.waiting.remove(index);
                    moves.extend(self.offer(member, waiting, now));
                }
                // Nobody has room for anybody.
                (None, Choice::RoundRobin) => break,
                (None, Choice::SourceIp) => index += 1,
            }
        }
        if self.door == Door::Empty {
            self.door = Door::Closed;
            moves.push(Move::CloseListener);
        }
        if self.door != Door::Open && self.members.iter().all(|member| member.retired) {
            moves.extend(self.waiting.drain(..).map(|waiting| Move::Close(waiting.newcomer.connection)));
        }
        let most = self.most_to_accept(now);
        if self.readable && !self.accepting && most > 0 && self.accept_not_before.is_none() {
            self.accepting = true;
            moves.push(Move::Accept(most));
        }
    }

    fn most_to_accept(&self, now: Time) -> usize {
        let most = MOST_WAITING.saturating_sub(self.waiting.len()).min(MOST_AT_ONCE);
        let room: usize = self.members.iter().map(|member| member.room(now)).sum();
        match (self.door, self.choice) {
            (Door::Open, Choice::RoundRobin) => most.min(room),
            // Only an accepted connection says whose it is.
            (Door::Open, Choice::SourceIp) if room == 0 => 0,
            (Door::Open, Choice::SourceIp) | (Door::Closing { .. } | Door::Emptying, _) => most,
            (Door::Empty | Door::Closed, _) => 0,
        }
    }

    fn offer(&mut self, index: usize, waiting: Waiting, now: Time) -> Option<Move> {
        let mut member = self.members.remove(index)?;
        let worker = member.worker;
        member.offers.push_back(Offer { waiting, since: now });
        self.members.push_back(member);
        Some(Move::Offer(worker, waiting.newcomer.connection))
    }

    /// Who is to be offered it now.
    fn choose(&self, waiting: Waiting, now: Time) -> Option<usize> {
        let members = || self.members.iter().enumerate();
        let with_room = |member: &Member| member.room(now) > 0;
        match (self.choice, waiting.newcomer.peer) {
            // Of equals, the first.
            (Choice::RoundRobin, _) | (Choice::SourceIp, None) => members()
                .filter(|(_, member)| with_room(member))
                .min_by_key(|(_, member)| member.offers.len())
                .map(|(index, _)| index),
            // Whoever is full or has no descriptors is none of the workers for now.
            (Choice::SourceIp, Some(peer)) => members()
                .filter(|(_, member)| !member.retired && !member.rests(now))
                .max_by_key(|(_, member)| weight(peer, member.worker))
                .filter(|(_, member)| with_room(member))
                .map(|(index, _)| index),
        }
    }

    /// Everything that is accepted and nobody has.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Everything that is accepted and nobody has taken.
    pub fn pending(&self) -> usize {
        self.waiting.len() + self.members.iter().map(|member| member.offers.len()).sum::<usize>()
    }
}
