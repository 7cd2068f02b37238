//! A fake Node worker: what it was sent and has not read, what it wrote and nobody has read, and its servers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use allcores::cluster::Handle;
use serde_json::{Value, json};

/// An offer that was acknowledged and not answered.
#[derive(Clone, Debug)]
pub struct Held {
    seq: u64,
    key: String,
    pub connection: u64,
}

#[derive(Clone, Debug, Default)]
pub struct Node {
    /// What it was sent and has not read.
    pub inbox: VecDeque<(Value, Handle)>,
    /// What it wrote and nobody has read.
    pub outbox: Vec<u8>,
    pub held: VecDeque<Held>,
    /// Queries without a reply, by number: the port.
    asked: BTreeMap<u64, u16>,
    /// The servers that listen, by key.
    pub servers: BTreeSet<String>,
    /// It declines everything.
    pub is_full: bool,
    /// It has no descriptors left.
    pub is_poor: bool,
    /// It was told to leave, or wants to.
    pub is_leaving: bool,
    /// Its process is gone. What it wrote can still be read.
    pub is_dead: bool,
    next_seq: u64,
}

/// The name of a port's listener.
pub fn key(port: u16) -> String {
    format!(":{port}:4:-1")
}

impl Node {
    pub fn write(&mut self, message: &Value) {
        self.outbox.extend_from_slice(format!("{message}\n").as_bytes());
    }

    fn say(&mut self, act: &str, mut fields: Value) -> u64 {
        let seq = self.next_seq;
        self.next_seq += 1;
        fields["cmd"] = json!("NODE_CLUSTER");
        fields["act"] = json!(act);
        fields["seq"] = json!(seq);
        self.write(&fields);
        seq
    }

    /// Asks for a port, unless it has it or has asked already.
    pub fn listen(&mut self, port: u16) -> bool {
        let asks = self.is_well()
            && !self.servers.contains(&key(port))
            && self.asked.values().all(|asked| *asked != port);
        if asks {
            let seq =
                self.say("queryServer", json!({"address": null, "addressType": 4, "port": port, "index": 0}));
            self.asked.insert(seq, port);
        }
        asks
    }

    pub fn close(&mut self, port: u16) -> bool {
        let closes = !self.is_dead && self.servers.remove(&key(port));
        if closes {
            self.say("close", json!({"key": key(port)}));
        }
        closes
    }

    /// Leaves by its own wish.
    pub fn leave(&mut self) -> bool {
        let leaves = self.is_well();
        if leaves {
            [8000, 9000].into_iter().for_each(|port| _ = self.close(port));
            self.is_leaving = true;
            self.say("exitedAfterDisconnect", json!({}));
        }
        leaves
    }

    pub fn is_well(&self) -> bool {
        !self.is_dead && !self.is_leaving
    }

    /// Reads one message.
    pub fn read(&mut self) -> bool {
        let Some((message, handle)) = self.inbox.pop_front().filter(|_| !self.is_dead) else { return false };
        if message["cmd"] == "NODE_HANDLE" {
            let connection = match handle {
                Handle::Connection(connection) => Some(connection),
                Handle::None => None,
                Handle::Listener(_) => panic!("nobody gets {message}"),
            };
            let Some(connection) = connection.filter(|_| !self.is_poor) else {
                self.write(&json!({"cmd": "NODE_HANDLE_NACK"}));
                return true;
            };
            self.write(&json!({"cmd": "NODE_HANDLE_ACK"}));
            let message = &message["msg"];
            assert_eq!(message["act"], "newconn");
            let key = message["key"].as_str().unwrap().to_owned();
            self.held.push_back(Held {
                seq: message["seq"].as_u64().unwrap(),
                key,
                connection: connection.0,
            });
        } else if message["act"] == "disconnect" {
            [8000, 9000].into_iter().for_each(|port| _ = self.close(port));
            self.is_leaving = true;
        } else if let Some(port) = message["ack"].as_u64().and_then(|ack| self.asked.remove(&ack)) {
            if message["errno"] == 0 && self.is_leaving {
                self.say("close", json!({"key": key(port)}));
            } else if message["errno"] == 0 {
                assert_eq!(message["key"], key(port), "the name is the one that was asked for");
                assert!(self.servers.insert(key(port)), "one name twice kills a worker");
                self.say("listening", json!({}));
            }
        }
        true
    }

    /// Answers the oldest offer; who has no such server declines. Gives the connection, if it takes it.
    pub fn answer(&mut self, takes: bool) -> Option<(u64, bool)> {
        let held = self.held.pop_front().filter(|_| !self.is_dead)?;
        let accepted = takes && !self.is_full && self.servers.contains(&held.key);
        let seq = self.next_seq;
        self.next_seq += 1;
        self.write(&json!({"cmd": "NODE_CLUSTER", "ack": held.seq, "accepted": accepted, "seq": seq}));
        Some((held.connection, accepted))
    }
}
