//! Which slots new connections go to, where every slot has sockets of its own.
//!
//! Decides who gets none: a slot that nobody serves while others are served, one whose worker does not accept, and one that is
//! to go. What already waits in a slot's queue stays there for whoever comes.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Supervisor;
use super::action::{Action, Notice};
use super::time::Time;
use super::worker::State;
use crate::ids::Slot;

/// How soon a queue that is not empty is read again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What was last asked of the system, and read from it.
#[derive(Clone, Debug, Default)]
pub(super) struct Steering {
    /// The slots that new connections go to, as it was last told.
    told: Vec<Slot>,
    /// How many slots have sockets.
    with_sockets: u16,
    /// What waited at the last reading.
    queues: BTreeMap<Slot, Queue>,
}

/// A slot's queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Queue {
    /// It was this long, and may be on its way to be empty.
    Moving(u32),
    /// It was this long, and no shorter than at the reading before.
    Stalled(u32),
}

impl Queue {
    fn read(self, depth: u32) -> Self {
        let (Self::Moving(before) | Self::Stalled(before)) = self;
        match self {
            _ if depth == 0 || depth < before => Self::Moving(depth),
            Self::Moving(0) => Self::Moving(depth),
            Self::Moving(_) | Self::Stalled(_) => Self::Stalled(depth),
        }
    }
}

impl Supervisor {
    /// Tells the system where new connections may go, if that has changed.
    pub(super) fn steer(&mut self) {
        let Some(steering) = &self.steering else { return };
        let moves = |slot: &Slot| !matches!(steering.queues.get(slot), Some(Queue::Stalled(_)));
        let all: Vec<Slot> = (0..self.wanted).map(Slot).collect();
        let served: Vec<Slot> = all.iter().copied().filter(|slot| self.is_served(*slot)).collect();
        let best: Vec<Slot> = served.iter().copied().filter(moves).collect();
        // Better a queue that does not move than one that nobody serves, and better that than none.
        let told = [best, served, all].into_iter().find(|slots| !slots.is_empty()).unwrap_or_default();
        let highest = self.workers.iter().map(|worker| worker.slot.0 + 1).max().unwrap_or(0);
        let (needed, with_sockets) = (self.wanted.max(highest), steering.with_sockets);
        let steered = (steering.told != told).then(|| told.clone());
        self.actions.extend(steered.map(Action::Steer));
        if needed < with_sockets {
            self.actions.push(Action::KeepSlots(needed));
        }
        if let Some(steering) = &mut self.steering {
            (steering.told, steering.with_sockets) = (told, needed);
        }
    }

    /// So many connections wait in the slots' queues.
    pub(super) fn queues_read(&mut self, depths: &[(Slot, u32)]) {
        let Some(steering) = &mut self.steering else { return };
        let before = std::mem::take(&mut steering.queues);
        let known = |slot| before.get(slot).copied().unwrap_or(Queue::Moving(0));
        steering.queues = depths.iter().map(|(slot, depth)| (*slot, known(slot).read(*depth))).collect();
        let notices: Vec<Notice> = self
            .steering
            .iter()
            .flat_map(|steering| &steering.queues)
            .filter(|(slot, _)| self.is_served(**slot))
            .filter_map(|(slot, queue)| match (known(slot), *queue) {
                (Queue::Moving(_), Queue::Stalled(waiting)) => Some(Notice::Stalled { slot: *slot, waiting }),
                (Queue::Stalled(_), Queue::Moving(_)) => Some(Notice::Accepting(*slot)),
                (Queue::Moving(_), Queue::Moving(_)) | (Queue::Stalled(_), Queue::Stalled(_)) => None,
            })
            .collect();
        self.actions.extend(notices.into_iter().map(Action::Report));
    }

    /// When to read the queues again, if that is soon.
    pub(super) fn look_again(&self, now: Time) -> Option<Time> {
        let mut queues = self.steering.iter().flat_map(|steering| steering.queues.values());
        queues.any(|queue| *queue != Queue::Moving(0)).then(|| now + LOOK_AGAIN)
    }

    fn is_served(&self, slot: Slot) -> bool {
        let mut workers = self.workers.iter().filter(|worker| worker.slot == slot);
        workers.any(|worker| matches!(worker.state, State::Ready { .. }))
    }
}
