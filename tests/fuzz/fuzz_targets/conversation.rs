//! Arbitrary bytes, split arbitrarily, from three workers, mixed with everything else that can happen to a primary: does it
//! panic, name who is gone, lose or close twice a connection, or ask to be woken in the past?

#![no_main]

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use allcores::cluster::balancer::{Choice, Newcomer, Rest};
use allcores::cluster::listener::IN_USE;
use allcores::cluster::{Cluster, Effect, Handle, Input, Sharing};
use allcores::ids::{ConnectionId, ListenerId, Slot, WorkerId};
use allcores::supervisor::time::Time;
use libfuzzer_sys::fuzz_target;

/// What Node says, to begin with: by chance alone nobody would ask for a listener.
const WORDS: [&str; 10] = [
    r#"{"cmd":"NODE_CLUSTER","act":"queryServer","address":null,"addressType":4,"port":80,"seq":1}"#,
    r#"{"cmd":"NODE_CLUSTER","act":"close","key":":80:4:-1"}"#,
    r#"{"cmd":"NODE_CLUSTER","act":"exitedAfterDisconnect","seq":2}"#,
    r#"{"cmd":"NODE_CLUSTER","ack":1,"accepted":false}"#,
    r#"{"cmd":"NODE_CLUSTER","ack":2,"accepted":true}"#,
    r#"{"cmd":"NODE_HANDLE_ACK"}"#,
    r#"{"cmd":"NODE_HANDLE_NACK"}"#,
    r#"{"cmd":"NODE_HANDLE","type":"net.Socket","msg":1}"#,
    r#"{"allcores":{"to":"others"},"n":1}"#,
    r#"{"cmd":"NODE_HANDLE","type":"net.Socket","msg":{"allcores":{"to":"all"}}}"#,
];

struct Shell {
    cluster: Cluster,
    now: Time,
    joined: BTreeSet<WorkerId>,
    open: BTreeSet<ConnectionId>,
    clients: usize,
    next: u64,
}

impl Shell {
    /// A descriptor that a worker sends, or none.
    fn descriptor_if(&mut self, comes: bool) -> Vec<ConnectionId> {
        self.next += u64::from(comes);
        let descriptors: Vec<_> = comes.then_some(ConnectionId(self.next)).into_iter().collect();
        self.open.extend(&descriptors);
        descriptors
    }

    fn turn(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            if let Input::Ended(worker) = &input {
                self.joined.remove(worker);
            }
            let effects = self.cluster.handle(self.now, input);
            self.perform(effects, &mut inputs);
        }
    }

    fn perform(&mut self, effects: Vec<Effect>, inputs: &mut VecDeque<Input>) {
        for effect in effects {
            match effect {
                Effect::Send { worker, line, handle } => {
                    assert!(self.joined.contains(&worker), "{line} to {worker}");
                    assert!(line.ends_with('\n') && line.matches('\n').count() == 1, "{line:?} is not a line");
                    serde_json::from_str::<serde_json::Value>(&line).expect("a line is JSON");
                    if let Handle::Connection(connection) = handle {
                        assert!(self.open.contains(&connection), "{connection:?} is closed");
                    }
                }
                Effect::Deliver { worker, line } => {
                    assert!(self.joined.contains(&worker), "{line} to {worker}");
                    serde_json::from_str::<serde_json::Value>(&line).expect("a letter is JSON");
                }
                Effect::Bind { listener, .. } => {
                    let result = if self.next % 7 == 6 { Err(IN_USE) } else { Ok(None) };
                    inputs.push_back(Input::Bound { listener, result });
                }
                Effect::Accept { listener, most } => {
                    let taken = most.min(self.clients);
                    self.clients -= taken;
                    let newcomer = |_| {
                        self.next += 1;
                        Newcomer { connection: ConnectionId(self.next), peer: None }
                    };
                    let newcomers: Vec<_> = (0..taken).map(newcomer).collect();
                    self.open.extend(newcomers.iter().map(|newcomer| newcomer.connection));
                    let rest = if taken < most { Rest::Nothing } else { Rest::More };
                    inputs.push_back(Input::Accepted { listener, newcomers, rest });
                }
                Effect::Refuse(_) | Effect::CloseListener(_) => {}
                Effect::Close(connection) => assert!(self.open.remove(&connection), "closed twice"),
                Effect::EndChannel { worker, .. } => {
                    assert!(self.joined.remove(&worker), "an end twice");
                    inputs.push_back(Input::Ended(worker));
                }
                Effect::Ask { worker, line } => {
                    assert!(self.joined.contains(&worker), "{line} to {worker}");
                    serde_json::from_str::<serde_json::Value>(&line).expect("a question is JSON");
                }
                Effect::Resume(worker)
                | Effect::Alive { worker, .. }
                | Effect::AsksStatus(worker)
                | Effect::Served(worker)
                | Effect::Listening(worker)
                | Effect::SaidReady(worker) => {
                    assert!(self.joined.contains(&worker));
                }
            }
        }
        assert!(self.cluster.waiting() <= self.open.len(), "more wait than are open");
        assert!(self.cluster.deadline().is_none_or(|time| time > self.now), "a deadline that is over");
    }
}

fuzz_target!(|data: &[u8]| {
    let [first, data @ ..] = data else { return };
    let sharing = match first % 4 {
        0 => Sharing::HandOver(Choice::SourceIp),
        1 => Sharing::OnePerSlot,
        _ => Sharing::HandOver(Choice::RoundRobin),
    };
    let (now, cluster) = (Time::default(), Cluster::new(sharing));
    let mut shell =
        Shell { cluster, now, joined: BTreeSet::new(), open: BTreeSet::new(), clients: 0, next: 0 };
    let mut data = data;
    // Of each step, the first byte says what, the second how much.
    while let [what, much, rest @ ..] = data {
        data = rest;
        let worker = WorkerId(u64::from(what % 3));
        if !shell.joined.contains(&worker) {
            let _ = shell.cluster.reaped(worker);
            shell.cluster.join(worker, Slot(u16::from(what % 3)), Some(u64::from(*what)));
            shell.joined.insert(worker);
        }
        match what / 3 % 8 {
            0 | 1 => {
                let (bytes, rest) = data.split_at(data.len().min(usize::from(*much)));
                data = rest;
                let descriptors = shell.descriptor_if(what >> 7 == 1);
                shell.turn(Input::Read { worker, bytes: bytes.to_vec(), descriptors });
            }
            2 | 3 => {
                let bytes = format!("{}\n", WORDS[usize::from(*much) % WORDS.len()]).into_bytes();
                let descriptors = shell.descriptor_if(what >> 7 == 1);
                shell.turn(Input::Read { worker, bytes, descriptors });
            }
            4 => {
                shell.clients += usize::from(*much);
                shell.turn(Input::Readable(ListenerId(u32::from(what >> 7))));
            }
            5 => {
                shell.now = shell.now + Duration::from_millis(u64::from(*much));
                let mut inputs = VecDeque::new();
                let effects = shell.cluster.deadline_reached(shell.now);
                shell.perform(effects, &mut inputs);
                inputs.into_iter().for_each(|input| shell.turn(input));
            }
            6 => shell.turn(Input::Ended(worker)),
            _ => {
                let effects = match much {
                    0 => shell.cluster.close(shell.now),
                    1..32 => shell.cluster.ask(shell.now, worker),
                    _ => shell.cluster.disconnect(shell.now, worker, *much % 2 == 0),
                };
                let mut inputs = VecDeque::new();
                shell.perform(effects, &mut inputs);
                inputs.into_iter().for_each(|input| shell.turn(input));
            }
        }
    }
});
