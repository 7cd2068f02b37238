//! Replacing workers that live: a new one is started and must be ready before the old one leaves.
//!
//! Decides whose turn it is, and when a roll-out has failed: at the first replacement that does not become ready. A whole roll-out is a
//! reload; one worker is replaced on request, or because it is too old, too big, or has served enough.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use super::Supervisor;
use super::action::{Action, Announcement, Answer, Cause, Notice};
use super::backoff::Backoff;
use super::shutdown::Phase;
use super::status::ReloadVerdict;
use super::time::Time;
use super::worker::{Process, Role, State, Why, Worker};
use crate::config::Mode;
use crate::ids::{ClientId, Generation, Slot};

/// Why a worker is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errand {
    /// All are.
    Reload,
    /// Somebody asked for it.
    Restart(ClientId),
    /// It came to one of its limits.
    Limit(Limit),
}

/// What a worker came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// `MAX_LIFETIME`.
    Lifetime,
    /// `MAX_CONNECTIONS`.
    Connections,
    /// `MAX_MEMORY`.
    Memory,
}

impl Limit {
    /// The setting.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lifetime => "MAX_LIFETIME",
            Self::Connections => "MAX_CONNECTIONS",
            Self::Memory => "MAX_MEMORY",
        }
    }
}

impl Errand {
    /// What the old worker's death is put down to.
    fn cause(self) -> Cause {
        match self {
            Self::Reload | Self::Restart(_) => Cause::Stopped,
            Self::Limit(Limit::Lifetime | Limit::Connections) => Cause::Lifetime,
            Self::Limit(Limit::Memory) => Cause::Memory,
        }
    }
}

/// A reload under way.
#[derive(Clone, Debug)]
pub(super) struct Reload {
    generation: Generation,
    /// Slots whose turn has not come.
    todo: BTreeSet<Slot>,
    pub(super) total: usize,
    began: Time,
    clients: Vec<ClientId>,
}

/// Most requests to replace one worker that wait for their turn.
const MOST_ERRANDS: usize = 1024 + 64;

impl Supervisor {
    /// Replaces every worker. The error says why not.
    pub(super) fn begin_reload(&mut self, now: Time, client: Option<ClientId>) -> Result<(), &'static str> {
        match self.phase {
            Phase::Running => {}
            Phase::Waiting | Phase::Preparing => return Err("workers have not been started yet"),
            Phase::Draining { .. } | Phase::Stopping(_) | Phase::Over => return Err("allcores is stopping"),
        }
        self.generation = Generation(self.generation.0 + 1);
        let (mut began, mut clients) = (now, Vec::new());
        if let Some(previous) = self.reload.take() {
            (began, clients) = (previous.began, previous.clients);
            self.recall_replacements(now);
        } else {
            self.announce(Announcement::Reloading);
        }
        clients.extend(client);
        let open = |worker: &&Worker| worker.role == Role::Current && worker.state != State::Finished;
        let making_room = |worker: &&Worker| matches!(worker.role, Role::Former { then: Some(_) });
        let todo: BTreeSet<Slot> = self
            .workers
            .iter()
            .filter(|worker| open(worker) || making_room(worker))
            .map(|worker| worker.slot)
            .collect();
        let (generation, total) = (self.generation, todo.len());
        self.report(Notice::Reloading { generation, workers: total });
        self.reload = Some(Reload { generation, todo, total, began, clients });
        Ok(())
    }

    /// Replaces the worker of one slot when its turn has come. Asked twice is asked once.
    pub(super) fn replace(&mut self, slot: Slot, errand: Errand) {
        let known = self.errands.iter().any(|(asked, why)| *asked == slot && *why == errand);
        if self.errands.len() >= MOST_ERRANDS {
            self.answer_restart(errand, Answer::Failed("too many wait to be replaced".to_owned()));
        } else if !known {
            self.errands.push_back((slot, errand));
        }
    }

    /// Goes on with what there is to replace, as far as there is room.
    pub(super) fn roll_on(&mut self, now: Time) {
        if self.reload.is_none() && self.errands.is_empty() {
            return;
        }
        let surge = usize::from(self.config.settings.surge.of(self.wanted));
        while self.exchanging().len() < surge {
            let Some((slot, errand)) = self.next_errand() else { break };
            self.exchange(now, slot, errand);
        }
        let is_done = self.reload.as_ref().is_some_and(|reload| reload.todo.is_empty());
        if is_done && self.exchanging().is_empty() {
            self.end_reload(now, ReloadVerdict::Done, "");
        }
    }

    /// Slots with a worker beside their own.
    fn exchanging(&self) -> BTreeSet<Slot> {
        self.workers.iter().filter(|worker| worker.role != Role::Current).map(|worker| worker.slot).collect()
    }

    fn next_errand(&mut self) -> Option<(Slot, Errand)> {
        let busy = self.exchanging();
        if let Some(reload) = &mut self.reload
            && let Some(slot) = reload.todo.iter().find(|slot| !busy.contains(slot)).copied()
        {
            reload.todo.remove(&slot);
            return Some((slot, Errand::Reload));
        }
        let index = self.errands.iter().position(|(slot, _)| !busy.contains(slot))?;
        self.errands.remove(index)
    }

    fn exchange(&mut self, now: Time, slot: Slot, errand: Errand) {
        let Some(old) = self.current_of(slot).filter(|old| self.workers[*old].state != State::Finished)
        else {
            return self.answer_restart(errand, Answer::Failed(format!("slot {slot} has no worker")));
        };
        if let Errand::Limit(limit) = errand {
            self.report(Notice::Recycling { slot, limit });
        }
        if self.config.mode == Mode::Ports {
            // Two workers cannot have one port: the old one makes room first.
            return self.dismiss(now, old, errand.cause(), Some(errand));
        }
        self.push_replacement(now, slot, errand);
    }

    fn push_replacement(&mut self, now: Time, slot: Slot, errand: Errand) {
        let old = self.current_of(slot).map_or(self.generation, |old| self.workers[old].generation);
        let generation = match (errand, &self.reload) {
            (Errand::Reload, Some(reload)) => reload.generation,
            (Errand::Reload | Errand::Restart(_) | Errand::Limit(_), _) => old,
        };
        let (role, backoff) = (Role::Replacement(errand), Backoff::new(self.config.settings.backoff));
        self.workers.push(Worker::new(slot, role, generation, backoff, now));
    }

    pub(super) fn current_of(&self, slot: Slot) -> Option<usize> {
        self.workers.iter().position(|worker| worker.slot == slot && worker.role == Role::Current)
    }

    /// A worker is its slot's own no more, and leaves.
    pub(super) fn dismiss(&mut self, now: Time, index: usize, cause: Cause, then: Option<Errand>) {
        self.workers[index].role = Role::Former { then };
        match self.workers[index].state.process() {
            Some(_) => self.retire(now, index, Why::Retired(cause)),
            None => self.workers[index].state = State::Finished,
        }
    }

    /// A replacement is ready: the slot is its own now.
    pub(super) fn take_over(&mut self, now: Time, index: usize, process: Process, errand: Errand) {
        let slot = self.workers[index].slot;
        let old = self.current_of(slot);
        self.workers[index].role = Role::Current;
        if let Some(old) = old {
            self.workers[index].starts += self.workers[old].starts;
            self.dismiss(now, old, errand.cause(), None);
        }
        let line =
            format!("slot {slot}: worker {} ready after {:?}", process.worker, rounded(now - process.born));
        if errand == Errand::Reload {
            self.tell_reloaders(&line);
        }
        self.answer_restart(errand, Answer::Done(line));
    }

    /// A replacement did not come to be ready: the old worker stays, and so does all that was not replaced yet.
    pub(super) fn replacement_failed(&mut self, now: Time, index: usize, errand: Errand, reason: &str) {
        let slot = self.workers[index].slot;
        if let Some(current) = self.current_of(slot) {
            self.workers[index].role = Role::Former { then: None };
            if let Errand::Limit(limit) = errand {
                // What it came to it still is at: another try, but not at once.
                let again = now + self.config.settings.backoff.ceiling;
                self.workers[current].vitals.expires = Some((again, limit));
            }
        } else {
            // The old one had to make room first. It is the slot's own failure from now on.
            self.workers[index].role = Role::Current;
            if self.workers[index].state == State::Finished {
                self.rest_after_failure(now, index);
            }
        }
        self.report(Notice::ReplacementFailed { slot, reason: reason.to_owned() });
        self.answer_restart(errand, Answer::Failed(format!("slot {slot}: {reason}; the old worker stays")));
        if errand == Errand::Reload {
            self.end_reload(now, ReloadVerdict::Failed, &format!("slot {slot}: {reason}"));
        }
    }

    fn answer_restart(&mut self, errand: Errand, answer: Answer) {
        match errand {
            Errand::Restart(client) => self.act(Action::Answer { client, answer }),
            Errand::Reload | Errand::Limit(_) => {}
        }
    }

    /// The reload is over. What was to replace somebody and is not ready goes; who was to be replaced stays.
    fn end_reload(&mut self, now: Time, verdict: ReloadVerdict, reason: &str) {
        let Some(reload) = self.reload.take() else { return };
        self.recall_replacements(now);
        let (took, generation) = (now - reload.began, reload.generation);
        let done = reload.total - reload.todo.len();
        let reason = match verdict {
            ReloadVerdict::Done => format!("{} workers replaced", reload.total),
            ReloadVerdict::Failed | ReloadVerdict::Ended => reason.to_owned(),
        };
        *self.past.reloads.entry(verdict).or_default() += 1;
        self.report(Notice::Reloaded { verdict, generation, reason: reason.clone(), took });
        let answer = match verdict {
            ReloadVerdict::Done => Answer::Done(format!("{reason} in {:?}", rounded(took))),
            ReloadVerdict::Failed | ReloadVerdict::Ended => Answer::Failed(format!(
                "{reason}; {done} of {} slots were begun, the other workers stay",
                reload.total
            )),
        };
        for client in reload.clients {
            self.act(Action::Answer { client, answer: answer.clone() });
        }
        self.past.last_reload = Some((now, verdict, reason, took));
        if self.phase == Phase::Running {
            self.announce(Announcement::Ready);
        }
    }

    /// What a reload started and is not ready goes.
    fn recall_replacements(&mut self, now: Time) {
        for index in 0..self.workers.len() {
            let worker = &mut self.workers[index];
            match &mut worker.role {
                Role::Replacement(Errand::Reload) => match self.current_of(self.workers[index].slot) {
                    Some(_) => self.dismiss(now, index, Cause::Stopped, None),
                    None => self.workers[index].role = Role::Current,
                },
                // Who follows is no part of the reload any more.
                Role::Former { then: then @ Some(Errand::Reload) } => *then = None,
                Role::Former { .. }
                | Role::Replacement(Errand::Restart(_) | Errand::Limit(_))
                | Role::Current => {}
            }
        }
    }

    /// A stop was asked for: nobody is replaced any more.
    pub(super) fn end_replacing(&mut self, now: Time) {
        self.end_reload(now, ReloadVerdict::Ended, "a stop was asked for");
        let waiting = std::mem::take(&mut self.errands).into_iter().map(|(_, errand)| errand);
        let begun: Vec<Errand> = self.workers.iter().filter_map(|worker| worker.role.errand()).collect();
        for errand in waiting.chain(begun) {
            self.answer_restart(errand, Answer::Failed("allcores is stopping".to_owned()));
        }
        for index in 0..self.workers.len() {
            match &mut self.workers[index].role {
                Role::Replacement(_) => self.dismiss(now, index, Cause::Stopped, None),
                Role::Former { then } => *then = None,
                Role::Current => {}
            }
        }
    }

    /// Forgets those who left and are gone; who they made room for comes.
    pub(super) fn bury(&mut self, now: Time) {
        while let Some(index) = self
            .workers
            .iter()
            .position(|worker| matches!(worker.role, Role::Former { .. }) && worker.state == State::Finished)
        {
            let gone = self.workers.remove(index);
            let nobody_follows = self.workers.iter().all(|worker| worker.slot != gone.slot);
            match gone.role {
                Role::Former { then: Some(errand) } if self.phase == Phase::Running => {
                    self.push_replacement(now, gone.slot, errand);
                }
                Role::Former { then: None } if nobody_follows && self.is_to_be_filled(gone.slot) => {
                    self.add_worker(now, gone.slot);
                }
                Role::Former { .. } | Role::Current | Role::Replacement(_) => {}
            }
        }
    }

    fn is_to_be_filled(&self, slot: Slot) -> bool {
        self.phase == Phase::Running && slot.0 < self.wanted
    }

    pub(super) fn is_of_reload(&self, index: usize) -> bool {
        self.workers[index].role == Role::Replacement(Errand::Reload)
    }

    pub(super) fn tell_reloaders(&mut self, line: &str) {
        let clients = self.reload.as_ref().map(|reload| reload.clients.clone()).unwrap_or_default();
        for client in clients {
            self.act(Action::Answer { client, answer: Answer::Progress(line.to_owned()) });
        }
    }

    pub(super) fn client_left(&mut self, left: ClientId) {
        if let Some(reload) = &mut self.reload {
            reload.clients.retain(|client| *client != left);
        }
    }

    /// How many slots of a reload are done, of how many.
    pub(super) fn reload_progress(&self) -> Option<(usize, usize)> {
        let reload = self.reload.as_ref()?;
        let under_way = self.workers.iter().filter(|worker| match worker.role {
            Role::Replacement(errand) => errand == Errand::Reload,
            Role::Former { .. } => true,
            Role::Current => false,
        });
        Some((reload.total.saturating_sub(reload.todo.len() + under_way.count()), reload.total))
    }

    /// A slot is no more: nothing is to be done there.
    pub(super) fn forget_errands(&mut self, slot: Slot) {
        if let Some(reload) = &mut self.reload
            && reload.todo.remove(&slot)
        {
            reload.total -= 1;
        }
        let errands = std::mem::take(&mut self.errands).into_iter();
        let (gone, kept): (VecDeque<_>, VecDeque<_>) = errands.partition(|(asked, _)| *asked == slot);
        self.errands = kept;
        let begun = self.workers.iter().filter(|worker| worker.slot == slot);
        let begun: Vec<Errand> = begun.filter_map(|worker| worker.role.errand()).collect();
        for errand in gone.into_iter().map(|(_, errand)| errand).chain(begun) {
            self.answer_restart(errand, Answer::Failed(format!("slot {slot} is no more")));
        }
    }
}

fn rounded(time: Duration) -> Duration {
    Duration::from_millis(time.as_millis() as u64)
}
