//! The fake kernel: queues of clients, channels that carry bytes in pieces, and the shell between them and the primary.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use allcores::cluster::balancer::{Choice, Newcomer, Rest};
use allcores::cluster::figures::AcceptError;
use allcores::cluster::listener::{IN_USE, Place};
use allcores::cluster::message::SockName;
use allcores::cluster::{Cluster, Effect, Handle, Input, Sharing};
use allcores::ids::{ConnectionId, ListenerId, Slot, WorkerId};
use allcores::supervisor::time::Time;
use serde_json::Value;

use super::laws::Laws;
use super::node::Node;

/// The primary, its workers, their clients, and the clock.
#[derive(Clone, Debug)]
pub struct World {
    pub cluster: Cluster,
    pub now: Time,
    /// Workers whose channel was not read to its end.
    pub workers: BTreeMap<WorkerId, Node>,
    /// What waits for the answers to questions.
    paused: BTreeMap<WorkerId, VecDeque<(Value, Handle)>>,
    /// Clients that nobody has accepted.
    pub clients: BTreeMap<ListenerId, VecDeque<IpAddr>>,
    pub binding_fails: bool,
    pub accepting_fails: bool,
    pub laws: Laws,
    next_worker: u64,
    next_connection: u64,
}

impl World {
    pub fn new(choice: Choice) -> Self {
        Self {
            cluster: Cluster::new(Sharing::HandOver(choice)),
            now: Time::default(),
            workers: BTreeMap::new(),
            paused: BTreeMap::new(),
            clients: BTreeMap::new(),
            binding_fails: false,
            accepting_fails: false,
            laws: Laws::new(choice == Choice::RoundRobin),
            next_worker: 1,
            next_connection: 0,
        }
    }

    /// So many workers that have port 8000.
    pub fn serving(choice: Choice, workers: usize) -> Self {
        let mut world = Self::new(choice);
        for _ in 0..workers {
            let worker = world.start();
            world.node(worker).listen(8000);
            world.exchange(worker);
        }
        world
    }

    /// A worker is started.
    pub fn start(&mut self) -> WorkerId {
        let worker = WorkerId(self.next_worker);
        self.next_worker += 1;
        self.workers.insert(worker, Node::default());
        self.laws.joined(worker);
        self.cluster.join(worker, Slot(worker.0 as u16), None);
        worker
    }

    pub fn node(&mut self, worker: WorkerId) -> &mut Node {
        self.workers.get_mut(&worker).unwrap()
    }

    /// A client connects.
    pub fn connects(&mut self, listener: ListenerId, address: IpAddr) -> bool {
        let Some(clients) = self.clients.get_mut(&listener) else { return false };
        clients.push_back(address);
        self.turn(Input::Readable(listener));
        true
    }

    /// Some of what a worker wrote is read; with its last byte and its end, its channel ends.
    pub fn delivers(&mut self, worker: WorkerId, most: usize) {
        let Some(node) = self.workers.get_mut(&worker) else { return };
        let bytes: Vec<u8> = node.outbox.drain(..most.min(node.outbox.len())).collect();
        let ends = node.is_dead && node.outbox.is_empty();
        if !bytes.is_empty() {
            self.turn(Input::Read { worker, bytes, descriptors: Vec::new() });
        }
        if ends && self.workers.remove(&worker).is_some() {
            self.turn(Input::Ended(worker));
            self.cluster.reaped(worker);
        }
    }

    /// A worker answers its oldest offer.
    pub fn answers(&mut self, worker: WorkerId, takes: bool) -> bool {
        let answer = self.node(worker).answer(takes);
        if let Some((connection, true)) = answer {
            self.laws.serves(worker, connection);
        }
        answer.is_some()
    }

    /// Everything that a worker wrote and was sent is read, and what it has is answered.
    pub fn exchange(&mut self, worker: WorkerId) -> bool {
        let mut any = false;
        while let Some(node) = self.workers.get_mut(&worker) {
            let moved = !node.outbox.is_empty() || node.is_dead || node.read() || self.answers(worker, true);
            self.delivers(worker, usize::MAX);
            any |= moved;
            if !moved {
                break;
            }
        }
        any
    }

    pub fn retires(&mut self, worker: WorkerId) {
        self.laws.retired(worker);
        self.cluster.retire(worker);
    }

    pub fn disconnects(&mut self, worker: WorkerId) {
        self.retires(worker);
        let mut inputs = VecDeque::new();
        let effects = self.cluster.disconnect(self.now, worker, false);
        self.performs(effects, &mut inputs);
        self.turns(inputs);
    }

    /// A worker's event loop is asked.
    pub fn asks(&mut self, worker: WorkerId) {
        let effects = self.cluster.ask(self.now, worker);
        self.performs(effects, &mut VecDeque::new());
    }

    /// We end: whoever has connected is served, if somebody can.
    pub fn ends(&mut self) {
        let mut inputs = VecDeque::new();
        let effects = self.cluster.close(self.now);
        self.performs(effects, &mut inputs);
        self.turns(inputs);
    }

    /// Time passes; every deadline on the way is met on time.
    pub fn passes(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(deadline) = self.cluster.deadline().filter(|deadline| *deadline <= until) {
            self.now = deadline;
            let mut inputs = VecDeque::new();
            let effects = self.cluster.deadline_reached(self.now);
            self.performs(effects, &mut inputs);
            self.laws.state(&self.cluster, self.now);
            self.turns(inputs);
        }
        self.now = until;
    }

    pub fn turn(&mut self, input: Input) {
        self.turns(VecDeque::from([input]));
    }

    fn turns(&mut self, mut inputs: VecDeque<Input>) {
        while let Some(input) = inputs.pop_front() {
            self.laws.input(&input, self.now);
            let effects = self.cluster.handle(self.now, input);
            self.performs(effects, &mut inputs);
            self.laws.state(&self.cluster, self.now);
        }
    }

    fn performs(&mut self, effects: Vec<Effect>, inputs: &mut VecDeque<Input>) {
        for effect in effects {
            self.laws.effect(&effect, self.now);
            match effect {
                Effect::Send { worker, line, handle } => {
                    if let Some(node) = self.workers.get_mut(&worker).filter(|node| !node.is_dead) {
                        let inbox = self.paused.get_mut(&worker).unwrap_or(&mut node.inbox);
                        inbox.push_back((serde_json::from_str(&line).unwrap(), handle));
                    }
                }
                Effect::Bind { listener, place, .. } => inputs.push_back(self.binds(listener, &place)),
                Effect::Accept { listener, most } => self.accepts(listener, most, inputs),
                Effect::EndChannel { worker, .. } => {
                    self.workers.remove(&worker);
                    inputs.push_back(Input::Ended(worker));
                }
                Effect::Ask { worker, line } => {
                    if let Some(node) = self.workers.get_mut(&worker).filter(|node| !node.is_dead) {
                        node.inbox.push_back((serde_json::from_str(&line).unwrap(), Handle::None));
                        assert!(self.paused.insert(worker, VecDeque::new()).is_none(), "asked twice");
                    }
                }
                Effect::Resume(worker) => {
                    let held = self.paused.remove(&worker).unwrap_or_default();
                    if let Some(node) = self.workers.get_mut(&worker) {
                        node.inbox.extend(held);
                    }
                }
                Effect::Alive { .. }
                | Effect::AsksStatus(_)
                | Effect::Served(_)
                | Effect::Deliver { .. }
                | Effect::Refuse(_)
                | Effect::Close(_)
                | Effect::Listening(_)
                | Effect::SaidReady(_) => {}
                Effect::CloseListener(listener) => {
                    let clients = self.clients.remove(&listener);
                    assert_eq!(clients, Some(VecDeque::new()), "who is in is cut off");
                }
            }
        }
    }

    fn binds(&mut self, listener: ListenerId, place: &Place) -> Input {
        let Place::Tcp(host) = place else { panic!("nobody asked for {place:?}") };
        let name = SockName { address: "::".to_owned(), family: "IPv6", port: host.port };
        if self.binding_fails {
            return Input::Bound { listener, result: Err(IN_USE) };
        }
        self.clients.insert(listener, VecDeque::new());
        Input::Bound { listener, result: Ok(Some(name)) }
    }

    fn accepts(&mut self, listener: ListenerId, most: usize, inputs: &mut VecDeque<Input>) {
        if self.accepting_fails {
            return inputs.push_back(Input::Accepted {
                listener,
                newcomers: Vec::new(),
                rest: Rest::Failed(AcceptError::TooManyFiles),
            });
        }
        let clients = self.clients.get_mut(&listener).unwrap();
        let taken = clients.len().min(most);
        let newcomer = |peer| {
            self.next_connection += 1;
            Newcomer { connection: ConnectionId(self.next_connection - 1), peer: Some(peer) }
        };
        let newcomers = clients.drain(..taken).map(newcomer).collect();
        let rest = if taken < most { Rest::Nothing } else { Rest::More };
        inputs.push_back(Input::Accepted { listener, newcomers, rest });
    }

    /// Nothing goes wrong any more, and somebody serves: then nobody waits, here or in the kernel.
    pub fn heals(&mut self) {
        (self.binding_fails, self.accepting_fails) = (false, false);
        for node in self.workers.values_mut() {
            (node.is_full, node.is_poor) = (false, false);
        }
        let newcomer = self.start();
        [8000, 9000].into_iter().for_each(|port| _ = self.node(newcomer).listen(port));
        let until = self.now + Duration::from_secs(3);
        while self.now < until {
            let workers: Vec<_> = self.workers.keys().copied().collect();
            let moved = workers.into_iter().filter(|worker| self.exchange(*worker)).count();
            if moved == 0 {
                let Some(deadline) = self.cluster.deadline() else { break };
                self.passes(deadline - self.now);
            }
        }
        assert!(self.clients.values().all(VecDeque::is_empty), "clients are left in the kernel");
        self.laws.all_is_done();
        assert_eq!(self.cluster.waiting(), 0);
    }
}
