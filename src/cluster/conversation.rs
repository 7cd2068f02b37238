//! What is open between us and one worker: numbers, handles that it has not acknowledged, offers that it has not answered.
//!
//! Decides what an answer belongs to. An answer to nothing means nothing.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::frame::{Splitter, TooLong};
use crate::ids::{ConnectionId, ListenerId, Slot};
use crate::supervisor::time::Time;

/// Handles that may be on their way to one worker before siblings' mail is dropped.
const MOST_HANDLES: usize = 64;

/// Whoever has not answered so many offers has something to do for a while. Fewer than the most that it may have
/// ([`DEPTH`](super::balancer::DEPTH)): it goes on answering while we look.
const ENOUGH: usize = 6;

/// A connection that was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Whose.
    pub listener: ListenerId,
    /// Which.
    pub connection: ConnectionId,
}

/// What a worker acknowledges, or refuses for want of a handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handed {
    /// The offer of this number.
    Offer(u64),
    /// A listener, or a sibling's letter.
    Other,
    /// Nothing, at this time: it is refused as soon as the event loop comes to it, and the program does not see it.
    Question(Time),
}

/// One worker's side of the channel, as we know it.
#[derive(Clone, Debug)]
pub struct Conversation {
    /// Its place in the pool.
    pub slot: Slot,
    /// Listeners that it has, by the name that it calls them.
    pub listeners: BTreeMap<String, ListenerId>,
    /// Whether it was taken out of rotation: it gets nothing new.
    pub retired: bool,
    /// Whether its end is one that somebody wished: we said `disconnect`, or it said that it leaves.
    pub wished_to_leave: bool,
    splitter: Splitter,
    next_seq: u64,
    /// Connections that it has taken.
    pub taken: u64,
    /// How many it is to take.
    pub most: Option<u64>,
    /// How long the last of them was on its way.
    pub took: Duration,
    /// How long its event loop took to answer the last question.
    pub lag: Option<Duration>,
    /// What was sent with a handle, or as if with one, and neither acknowledged nor refused, in order.
    handles: VecDeque<Handed>,
    /// Offers that were not answered, and their numbers: answers name them, and may come in any order.
    offers: VecDeque<(u64, Offer)>,
    /// Descriptors that came and belong to no message yet.
    descriptors: VecDeque<ConnectionId>,
}

impl Conversation {
    /// A channel on which nothing was said yet.
    pub fn new(slot: Slot, most: Option<u64>) -> Self {
        Self {
            slot,
            listeners: BTreeMap::new(),
            retired: false,
            wished_to_leave: false,
            splitter: Splitter::default(),
            next_seq: 0,
            taken: 0,
            most,
            took: Duration::ZERO,
            lag: None,
            handles: VecDeque::new(),
            offers: VecDeque::new(),
            descriptors: VecDeque::new(),
        }
    }

    /// Descriptors came, for a message that comes with them.
    pub fn received(&mut self, descriptors: Vec<ConnectionId>) {
        self.descriptors.extend(descriptors);
    }

    /// Takes the next line off what came.
    pub fn next_line<'a>(&mut self, bytes: &mut &'a [u8]) -> Result<Option<Cow<'a, [u8]>>, TooLong> {
        self.splitter.next(bytes)
    }

    /// The number of our next message.
    pub fn next_seq(&mut self) -> u64 {
        self.next_seq += 1;
        self.next_seq - 1
    }

    /// A handle is sent that is no offer.
    pub fn sent_handle(&mut self) {
        self.handles.push_back(Handed::Other);
    }

    /// Asks its event loop, unless that was done and is not answered.
    pub fn ask(&mut self, now: Time) -> bool {
        let is_asked = self.handles.iter().any(|handed| matches!(handed, Handed::Question(_)));
        if !is_asked {
            self.handles.push_back(Handed::Question(now));
        }
        !is_asked
    }

    /// So many handles were not acknowledged that it cannot be reading: mail does not wait for it.
    pub fn is_behind(&self) -> bool {
        self.handles.len() >= MOST_HANDLES
    }

    /// How many handles it has neither acknowledged nor refused.
    pub fn unacknowledged(&self) -> usize {
        self.handles.len()
    }

    /// A connection is offered, under this number.
    pub fn offered(&mut self, seq: u64, offer: Offer) {
        self.handles.push_back(Handed::Offer(seq));
        self.offers.push_back((seq, offer));
    }

    /// Whether it has something to take for this long: enough of them, and it is not that quick. The last must have been on its way
    /// for half as long again, since our own absence is part of that, and would make whoever is quick seem slow.
    pub fn is_occupied_for(&self, time: Duration) -> bool {
        self.offers.len() >= ENOUGH && self.took >= time * 3 / 2
    }

    /// The oldest handle came, or was lost on the way, or there was none: what it was.
    pub fn heard_of(&mut self) -> Option<Handed> {
        self.handles.pop_front()
    }

    /// An offer is answered: which.
    pub fn answered(&mut self, ack: u64) -> Option<Offer> {
        // Whoever answers has the handle, even if it does not say so: what is never acknowledged would pile up.
        self.handles.retain(|handle| *handle != Handed::Offer(ack));
        self.take(ack)
    }

    /// An offer is under way no more.
    pub fn take(&mut self, seq: u64) -> Option<Offer> {
        let place = self.offers.iter().position(|(number, _)| *number == seq)?;
        self.offers.remove(place).map(|(_, offer)| offer)
    }

    /// A message of the worker's says that a handle comes with it: the one that did.
    pub fn take_descriptor(&mut self) -> Option<ConnectionId> {
        self.descriptors.pop_front()
    }

    /// Descriptors that no message claims: one for a message that has begun, and nobody waits for more.
    pub fn unclaimed(&mut self, kept: usize) -> Vec<ConnectionId> {
        let surplus = self.descriptors.len().saturating_sub(kept);
        self.descriptors.drain(..surplus).collect()
    }
}
