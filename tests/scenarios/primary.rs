//! A story of the cluster's primary alone: what workers, clients and the kernel do, and when, on the left; what the primary asks
//! for, below. In virtual time.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use allcores::cluster::balancer::{Newcomer, Rest};
use allcores::cluster::figures::AcceptError;
use allcores::cluster::listener::{Errno, Place};
use allcores::cluster::message::SockName;
use allcores::cluster::{Cluster, Effect, Handle, Input, Sharing};
use allcores::ids::{ConnectionId, ListenerId, Slot, WorkerId};
use allcores::supervisor::time::Time;
use serde_json::Value;

use crate::transcript::Transcript;

/// A primary, its shell, and the transcript.
pub struct Primary {
    pub cluster: Cluster,
    now: Time,
    /// Clients in the kernel's queue, by listener.
    clients: BTreeMap<ListenerId, VecDeque<Option<IpAddr>>>,
    next_connection: u64,
    bind_error: Option<Errno>,
    accept_fails: bool,
    transcript: Transcript,
}

/// A worker's query for a TCP port.
pub fn query(seq: u64, port: u16) -> String {
    let fields = r#""act":"queryServer","address":null,"addressType":4,"index":0,"data":null"#;
    format!(r#"{{"cmd":"NODE_CLUSTER",{fields},"port":{port},"seq":{seq}}}"#)
}

/// The name of that port's listener.
pub fn key(port: u16) -> String {
    format!(":{port}:4:-1")
}

/// A worker's message of the cluster's own.
pub fn says(act: &str, seq: u64) -> String {
    format!(r#"{{"cmd":"NODE_CLUSTER","act":"{act}","seq":{seq}}}"#)
}

/// A worker's answer to an offer.
pub fn answer(ack: u64, accepted: bool) -> String {
    format!(r#"{{"cmd":"NODE_CLUSTER","ack":{ack},"accepted":{accepted},"seq":9}}"#)
}

pub const ACK: &str = r#"{"cmd":"NODE_HANDLE_ACK"}"#;
pub const NACK: &str = r#"{"cmd":"NODE_HANDLE_NACK"}"#;

impl Primary {
    pub fn new(sharing: Sharing) -> Self {
        Self {
            cluster: Cluster::new(sharing),
            now: Time::default(),
            clients: BTreeMap::new(),
            next_connection: 0,
            bind_error: None,
            accept_fails: false,
            transcript: Transcript::default(),
        }
    }

    /// So many workers that have port 8000; their queries had the number 1.
    pub fn serving(sharing: Sharing, workers: u64) -> Self {
        let mut primary = Self::new(sharing);
        for worker in 1..=workers {
            primary.joins(worker);
            primary.says(worker, &query(1, 8000));
        }
        primary.chapter();
        primary
    }

    /// The same, and each has taken a connection a moment ago: offers have the numbers from 2 on.
    pub fn quick(sharing: Sharing, workers: u64) -> Self {
        let mut primary = Self::serving(sharing, workers);
        primary.clients(workers as usize);
        (1..=workers).for_each(|worker| primary.answers(worker, 1, true));
        primary.chapter();
        primary
    }

    /// A worker is started, in the slot of its number.
    pub fn joins(&mut self, worker: u64) {
        self.cluster.join(WorkerId(worker), Slot(worker as u16 - 1), None);
    }

    /// A worker writes a line.
    pub fn says(&mut self, worker: u64, line: &str) {
        self.writes(worker, format!("{line}\n").as_bytes(), 0);
    }

    /// A worker writes anything.
    pub fn writes(&mut self, worker: u64, bytes: &[u8], descriptors: u32) {
        let text = String::from_utf8_lossy(bytes);
        let lines: Vec<_> = text.trim_end().lines().map(short).collect();
        let text = lines.join(" | ");
        let what = if text.len() > 150 { format!("{} bytes", bytes.len()) } else { text };
        self.tell(&format!("{worker}: {what}"));
        let first = self.next_connection;
        self.next_connection += u64::from(descriptors);
        let descriptors = (first..self.next_connection).map(ConnectionId).collect();
        self.turn(Input::Read { worker: WorkerId(worker), bytes: bytes.to_vec(), descriptors });
    }

    /// A worker got its offer, and says whether it takes it.
    pub fn answers(&mut self, worker: u64, ack: u64, accepted: bool) {
        self.writes(worker, format!("{ACK}\n{}\n", answer(ack, accepted)).as_bytes(), 0);
    }

    /// A worker's channel ends.
    pub fn ends(&mut self, worker: u64) {
        self.tell(&format!("channel of {worker} ends"));
        self.turn(Input::Ended(WorkerId(worker)));
    }

    pub fn is_retired(&mut self, worker: u64) {
        self.tell(&format!("{worker} is retired"));
        self.cluster.retire(WorkerId(worker));
    }

    pub fn is_told_to_leave(&mut self, worker: u64, shutdown_first: bool) {
        self.tell(&format!("{worker} is told to leave"));
        let effects = self.cluster.disconnect(self.now, WorkerId(worker), shutdown_first);
        self.perform(effects);
    }

    /// A worker's event loop is asked.
    pub fn is_asked(&mut self, worker: u64) {
        self.tell(&format!("{worker} is asked"));
        let effects = self.cluster.ask(self.now, WorkerId(worker));
        self.perform(effects);
    }

    /// A worker is told the status.
    pub fn is_told_the_status(&mut self, worker: u64, status: &str) {
        self.tell(&format!("{worker} is told"));
        let effects = self.cluster.tell_status(WorkerId(worker), status);
        self.perform(effects);
    }

    /// How long nothing that workers do needs us.
    pub fn lull(&self) -> Option<Duration> {
        self.cluster.lull()
    }

    /// We end.
    pub fn closes(&mut self) {
        self.tell("we end");
        let effects = self.cluster.close(self.now);
        self.perform(effects);
    }

    /// A worker's process is reaped: whether it wished to leave.
    pub fn is_reaped(&mut self, worker: u64) -> bool {
        self.cluster.reaped(WorkerId(worker))
    }

    /// Clients connect to the first listener.
    pub fn clients(&mut self, count: usize) {
        self.tell(&format!("clients: {count}"));
        self.clients.entry(ListenerId(0)).or_default().extend(vec![None; count]);
        self.turn(Input::Readable(ListenerId(0)));
    }

    /// A client of this address connects to the first listener.
    pub fn client_of(&mut self, address: &str) {
        self.tell(&format!("client of {address}"));
        self.clients.entry(ListenerId(0)).or_default().push_back(Some(address.parse().unwrap()));
        self.turn(Input::Readable(ListenerId(0)));
    }

    /// From now on nothing can be bound, or everything can.
    pub fn cannot_bind(&mut self, errno: Option<i32>) {
        self.bind_error = errno.map(Errno);
    }

    /// From now on nothing can be accepted, or everything can.
    pub fn cannot_accept(&mut self, fails: bool) {
        self.accept_fails = fails;
    }

    /// Time passes; every deadline on the way is met on time.
    pub fn pass(&mut self, millis: u64) {
        let until = self.now + Duration::from_millis(millis);
        let mut turns = 0;
        while let Some(time) = self.cluster.deadline().filter(|time| *time <= until) {
            turns += 1;
            assert!(turns < 10_000, "turns at the deadline make no progress");
            self.now = self.now.max(time);
            self.tell("deadline");
            let effects = self.cluster.deadline_reached(self.now);
            self.perform(effects);
        }
        self.now = until;
    }

    fn turn(&mut self, input: Input) {
        let effects = self.cluster.handle(self.now, input);
        self.perform(effects);
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        let mut answers = VecDeque::new();
        for effect in effects {
            self.transcript.then(&told(&effect));
            match effect {
                Effect::Bind { listener, place, .. } => {
                    let result = self.bind_error.map_or_else(|| Ok(name(&place)), Err);
                    answers.push_back(Input::Bound { listener, result });
                }
                Effect::Accept { listener, most } => self.accept(listener, most, &mut answers),
                Effect::EndChannel { worker, .. } => answers.push_back(Input::Ended(worker)),
                Effect::Send { .. }
                | Effect::Deliver { .. }
                | Effect::Refuse(_)
                | Effect::CloseListener(_)
                | Effect::Close(_)
                | Effect::Listening(_)
                | Effect::SaidReady(_)
                | Effect::Ask { .. }
                | Effect::Resume(_)
                | Effect::Alive { .. }
                | Effect::AsksStatus(_)
                | Effect::Served(_) => {}
            }
        }
        while let Some(answer) = answers.pop_front() {
            self.turn(answer);
        }
    }

    fn accept(&mut self, listener: ListenerId, most: usize, answers: &mut VecDeque<Input>) {
        if self.accept_fails {
            return answers.push_back(Input::Accepted {
                listener,
                newcomers: Vec::new(),
                rest: Rest::Failed(AcceptError::TooManyFiles),
            });
        }
        let clients = self.clients.entry(listener).or_default();
        let taken = clients.len().min(most);
        let newcomer = |peer| {
            self.next_connection += 1;
            Newcomer { connection: ConnectionId(self.next_connection - 1), peer }
        };
        let newcomers = clients.drain(..taken).map(newcomer).collect();
        let rest = if taken < most { Rest::Nothing } else { Rest::More };
        answers.push_back(Input::Accepted { listener, newcomers, rest });
    }

    fn tell(&mut self, what: &str) {
        self.transcript.tell(self.now, what);
    }

    /// What was told so far.
    pub fn transcript(&self) -> &str {
        self.transcript.text()
    }

    /// Forgets what was told so far: the test is about what follows.
    pub fn chapter(&mut self) {
        self.transcript.clear();
    }

    /// The story went like this.
    #[track_caller]
    pub fn went(&self, expected: &str) {
        self.transcript.must_be(expected);
    }
}

/// The name of what was bound; a port that was not chosen is 40000.
fn name(place: &Place) -> Option<SockName> {
    match place {
        Place::Tcp(host) | Place::Udp { host, .. } => Some(SockName {
            address: host.address.clone().unwrap_or_else(|| "::".to_owned()),
            family: "IPv6",
            port: if host.port == 0 { 40_000 } else { host.port },
        }),
        Place::Path { .. } | Place::Abstract(_) | Place::Passed(_) => None,
    }
}

/// The answer that a shell to which nobody connects gives to an effect.
pub fn answer_to(effect: &Effect) -> Option<Input> {
    match effect {
        Effect::Bind { listener, place, .. } => {
            Some(Input::Bound { listener: *listener, result: Ok(name(place)) })
        }
        Effect::Accept { listener, .. } => {
            Some(Input::Accepted { listener: *listener, newcomers: Vec::new(), rest: Rest::Nothing })
        }
        Effect::Send { .. }
        | Effect::Deliver { .. }
        | Effect::Refuse(_)
        | Effect::CloseListener(_)
        | Effect::Close(_)
        | Effect::Listening(_)
        | Effect::SaidReady(_)
        | Effect::Ask { .. }
        | Effect::Resume(_)
        | Effect::Alive { .. }
        | Effect::AsksStatus(_)
        | Effect::Served(_)
        | Effect::EndChannel { .. } => None,
    }
}

/// A message without what is the same in all of them.
fn short(line: &str) -> String {
    let fields = match serde_json::from_str(line) {
        Ok(Value::Object(fields)) => fields,
        Ok(Value::String(text)) => return format!("text {text}"),
        _ => return line.trim_end().replace('"', ""),
    };
    let cmd = fields.get("cmd").and_then(Value::as_str).unwrap_or_default();
    let word = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let rest = |hidden: &[&str]| {
        let shown =
            fields.iter().filter(|(name, value)| !hidden.contains(&name.as_str()) && !value.is_null());
        shown.map(|(name, value)| format!(" {name}={}", word(value))).collect::<String>()
    };
    match cmd {
        "NODE_CLUSTER" => match fields.get("act").and_then(Value::as_str) {
            Some("queryServer") => format!("queryServer{}", rest(&["cmd", "act", "addressType", "index"])),
            Some(act) => format!("{act}{}", rest(&["cmd", "act"])),
            None => rest(&["cmd", "sockname"]).trim_start().to_owned(),
        },
        "NODE_HANDLE" => format!("({}) {}", word(&fields["type"]), short(&fields["msg"].to_string())),
        _ if cmd.starts_with("NODE_") => format!("{}{}", &cmd["NODE_".len()..], rest(&["cmd"])),
        _ => line.trim_end().to_owned(),
    }
}

/// An effect as a line.
pub fn told(effect: &Effect) -> String {
    match effect {
        Effect::Send { worker, line, handle } => {
            assert!(line.ends_with('\n') && line.matches('\n').count() == 1, "a message is one line");
            let handle = match handle {
                Handle::None => String::new(),
                Handle::Connection(ConnectionId(id)) => format!(", with connection {id}"),
                Handle::Listener(ListenerId(id)) => format!(", with listener {id}"),
            };
            format!("to {worker}: {}{handle}", short(line))
        }
        Effect::Deliver { worker, line } => format!("mail to {worker}: {}", line.trim_end()),
        Effect::Bind { listener: ListenerId(id), place, .. } => format!("bind listener {id}: {}", at(place)),
        Effect::Accept { listener: ListenerId(id), most } => format!("accept up to {most} at listener {id}"),
        Effect::Refuse(ListenerId(id)) => format!("let nobody in at listener {id}"),
        Effect::CloseListener(ListenerId(id)) => format!("close listener {id}"),
        Effect::Close(ConnectionId(id)) => format!("close connection {id}"),
        Effect::Listening(worker) => format!("worker {worker} listens"),
        Effect::SaidReady(worker) => format!("worker {worker} says ready"),
        Effect::Ask { worker, line } => format!("ask {worker}: {}", short(line)),
        Effect::Resume(worker) => format!("write to {worker} again"),
        Effect::Alive { worker, lag } => format!("worker {worker} is alive after {}ms", lag.as_millis()),
        Effect::AsksStatus(worker) => format!("worker {worker} asks for the status"),
        Effect::Served(worker) => format!("worker {worker} has served"),
        Effect::EndChannel { worker, reason } => format!("end the channel of {worker}: {reason}"),
    }
}

fn at(place: &Place) -> String {
    match place {
        Place::Tcp(host) => format!("TCP {}:{}", host.address.as_deref().unwrap_or("*"), host.port),
        Place::Udp { host, .. } => format!("UDP {}:{}", host.address.as_deref().unwrap_or("*"), host.port),
        Place::Path { path, .. } => format!("path {path}"),
        Place::Abstract(name) => format!("abstract {name}"),
        Place::Passed(number) => format!("socket {number} of LISTEN"),
    }
}
