//! Connections on their way to workers: offered, answered, taken back from who is gone.

use super::balancer::Move;
use super::conversation::Offer;
use super::listeners::Socket;
use super::{Cluster, Effect, Handle, Sharing, message};
use crate::ids::WorkerId;
use crate::supervisor::time::Time;

impl Cluster {
    /// A worker says whether it takes what it was offered.
    pub(super) fn answered(&mut self, now: Time, worker: WorkerId, offer: Offer, accepted: bool) {
        let Some(listener) = self.listeners.get_mut(&offer.listener) else { return };
        if !accepted {
            listener.balancer.declined(worker, offer.connection, now);
        } else if listener.balancer.taken(worker, offer.connection, now).is_some() {
            self.effects.push(Effect::Close(offer.connection));
        }
    }

    /// A worker had no descriptor left for what it was offered.
    pub(super) fn refused(&mut self, now: Time, worker: WorkerId, offer: Offer) {
        self.with_balancer(offer.listener, |balancer| balancer.refused(worker, offer.connection, now));
    }

    /// A worker says nothing any more, and hears nothing: whatever it did not answer is somebody else's.
    pub(super) fn ended(&mut self, worker: WorkerId) {
        let Some(mut conversation) = self.workers.remove(&worker) else { return };
        self.effects.extend(conversation.unclaimed(0).into_iter().map(Effect::Close));
        self.ended.insert(worker, conversation.wished_to_leave);
        for listener in self.listeners.values_mut() {
            self.effects.extend(listener.balancer.lose(worker).map(Effect::Close));
            if let Socket::Binding(askers) = &mut listener.socket {
                askers.retain(|(asker, _)| *asker != worker);
            }
        }
    }

    /// We end: nobody new is let in where we accept, and who is in is accepted and offered for as long as there are workers in
    /// rotation.
    pub fn close(&mut self, now: Time) -> Vec<Effect> {
        self.ends = true;
        for (id, listener) in &mut self.listeners {
            if let (Sharing::HandOver(_), Socket::Bound(_)) = (listener.sharing, &listener.socket) {
                self.effects.push(Effect::Refuse(*id));
                listener.balancer.close();
            }
        }
        self.pump(now)
    }

    /// Brings together who has room and who waits, and gives everything that is to be done.
    pub(super) fn pump(&mut self, now: Time) -> Vec<Effect> {
        let mut moves = Vec::new();
        for (id, listener) in &mut self.listeners {
            listener.balancer.pump(now, &mut moves);
            for step in moves.drain(..) {
                let effect = match step {
                    Move::Offer(worker, connection) => {
                        let Some(conversation) = self.workers.get_mut(&worker) else { continue };
                        let seq = conversation.next_seq();
                        conversation.offered(seq, Offer { listener: *id, connection });
                        let line = message::newconn(seq, &listener.quoted);
                        Effect::Send { worker, line, handle: Handle::Connection(connection) }
                    }
                    Move::Accept(most) => Effect::Accept { listener: *id, most },
                    Move::CloseListener => Effect::CloseListener(*id),
                    Move::Close(connection) => Effect::Close(connection),
                };
                self.effects.push(effect);
            }
        }
        std::mem::take(&mut self.effects)
    }
}
