//! Connections on their way to workers: offered, answered, taken back from who is gone.

use super::balancer::{Move, Newcomer, Rest};
use super::conversation::{Handed, Offer};
use super::listeners::Socket;
use super::message::{self, HandleType};
use super::{Cluster, Effect, Handle, Sharing};
use crate::ids::{ListenerId, WorkerId};
use crate::supervisor::time::Time;

impl Cluster {
    /// A worker says whether it takes what it was offered.
    pub(super) fn answered(&mut self, now: Time, worker: WorkerId, offer: Offer, accepted: bool) {
        let (Some(listener), Some(conversation)) =
            (self.listeners.get_mut(&offer.listener), self.workers.get_mut(&worker))
        else {
            return;
        };
        if !accepted {
            listener.balancer.declined(worker, offer.connection, now);
        } else if let Some(time) = listener.balancer.taken(worker, offer.connection, now) {
            conversation.taken += 1;
            conversation.took = time;
            if conversation.most.is_some_and(|most| conversation.taken == most) {
                self.effects.push(Effect::Served(worker));
            }
            *self.figures.handoffs.entry(conversation.slot).or_default() += 1;
            self.figures.seconds.add(time);
            self.effects.push(Effect::Close(offer.connection));
        }
    }

    /// A worker got what we sent with a handle, or as if with one; `came` says whether the handle did.
    pub(super) fn heard_of(&mut self, now: Time, worker: WorkerId, came: bool) {
        let Some(conversation) = self.workers.get_mut(&worker) else { return };
        match conversation.heard_of() {
            // It could not receive it. Otherwise it is going to answer.
            Some(Handed::Offer(seq)) if !came => {
                if let Some(Offer { listener, connection }) = conversation.take(seq) {
                    self.with_balancer(listener, |balancer| balancer.refused(worker, connection, now));
                }
            }
            Some(Handed::Question(since)) => {
                let lag = now - since;
                conversation.lag = Some(lag);
                self.effects.extend([Effect::Resume(worker), Effect::Alive { worker, lag }]);
            }
            Some(Handed::Offer(_) | Handed::Other) | None => {}
        }
    }

    /// A listener's connections were accepted, or could not be.
    pub(super) fn accepted(&mut self, now: Time, id: ListenerId, newcomers: Vec<Newcomer>, rest: Rest) {
        if let Rest::Failed(error) = rest {
            *self.figures.accept_errors.entry(error).or_default() += 1;
        }
        self.with_balancer(id, |balancer| balancer.accepted(newcomers, rest, now));
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

    /// We end: nobody new is let in. Who is in is accepted and offered for as long as there are workers in rotation, or is for
    /// the workers to accept until they are told to leave.
    pub fn close(&mut self, now: Time) -> Vec<Effect> {
        self.ends = true;
        for (id, listener) in &mut self.listeners {
            let Socket::Bound(name) = &listener.socket else { continue };
            let is_tcp = listener.kind == HandleType::Native && name.is_some();
            match listener.sharing {
                Sharing::HandOver(_) => {
                    self.effects.push(Effect::Refuse(*id));
                    listener.balancer.close(now);
                }
                Sharing::OneForAll | Sharing::OnePerSlot if is_tcp => self.effects.push(Effect::Refuse(*id)),
                // Datagrams do not connect, and a UNIX socket that workers have would become an error in each of them.
                Sharing::OneForAll | Sharing::OnePerSlot => {}
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
