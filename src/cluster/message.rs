//! The messages, typed, in both directions (Node: `lib/internal/cluster/{child,primary,utils}.js`).
//!
//! What a worker says is data from a stranger: whatever does not have the form that Node gives it is no message of
//! Node's. What we say is written here and nowhere else.

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::mail::Letter;

/// What a worker asks to listen on, as `queryServer` has it. Programs hand Node all sorts of things to listen with, and Node
/// hands them on (a `backlog` of `false`, say): what is not of its type is not there.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Query {
    /// Host or path; `None` is every address.
    #[serde(default, deserialize_with = "text")]
    pub address: Option<String>,
    /// The port; -1 for a path; `None` with a descriptor.
    #[serde(default, deserialize_with = "number")]
    pub port: Option<i64>,
    /// `4`, `6`, `-1`, `"udp4"`, `"udp6"`, or nothing with a descriptor.
    #[serde(default)]
    pub address_type: Value,
    /// A descriptor of ours that it names.
    #[serde(default, deserialize_with = "number")]
    pub fd: Option<i64>,
    /// How many servers on this address this worker has already.
    #[serde(default, deserialize_with = "number")]
    pub index: Option<i64>,
    /// TCP: 1 is IPv6 only. UDP: 1 is IPv6 only, 4 is to share the address.
    #[serde(default, deserialize_with = "number")]
    pub flags: Option<i64>,
    /// The queue's length; 0 or nothing is Node's own.
    #[serde(default, deserialize_with = "number")]
    pub backlog: Option<i64>,
    /// A path that everybody may read.
    #[serde(default, deserialize_with = "truth")]
    pub readable_all: bool,
    /// A path that everybody may write.
    #[serde(default, deserialize_with = "truth")]
    pub writable_all: bool,
    /// What the first worker's server shares with the others: TLS ticket keys.
    #[serde(default)]
    pub data: Value,
}

fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Value::deserialize(deserializer).map(|value| value.as_str().map(str::to_owned))
}

fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    Value::deserialize(deserializer).map(|value| value.as_i64())
}

fn truth<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Value::deserialize(deserializer).map(|value| value == Value::Bool(true))
}

/// What a worker said.
#[derive(Clone, Debug, PartialEq)]
pub enum FromWorker {
    /// It runs.
    Online,
    /// It asks for a listener; `seq` is what the reply acknowledges.
    QueryServer {
        /// Its number.
        seq: u64,
        /// What it asks for.
        query: Box<Query>,
    },
    /// A server of its listens.
    Listening,
    /// A server of its is closed.
    Close {
        /// The listener's key.
        key: String,
    },
    /// It leaves by its own wish, and waits for a reply.
    ExitedAfterDisconnect {
        /// Its number.
        seq: u64,
    },
    /// It answers a `newconn`.
    Answer {
        /// The number of what it answers.
        ack: u64,
        /// Whether it took the connection.
        accepted: bool,
    },
    /// It got a handle.
    Ack,
    /// It got a message whose handle was lost on the way.
    Nack,
    /// It sends a handle, perhaps to siblings, and says nothing else until it hears that it came.
    Handle(Option<Letter>),
    /// It writes to siblings.
    Letter(Letter),
    /// It waits for the sockets of a server, which it sent to us, to be closed.
    SocketNotifyClose {
        /// The server's name for them.
        key: Value,
    },
    /// It asks how many such sockets there are.
    SocketGetCount {
        /// The server's name for them.
        key: Value,
    },
    /// A message of the program's, the text `ready`: PM2's convention.
    SaidReady,
    /// Any other message of the program's, and what of Node's we do not know.
    Other,
}

/// What is not JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotJson;

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default)]
    cmd: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow, default)]
    act: Option<std::borrow::Cow<'a, str>>,
    #[serde(default)]
    seq: Option<u64>,
    #[serde(default)]
    ack: Option<u64>,
    #[serde(default)]
    accepted: Option<bool>,
    #[serde(default)]
    key: Option<Value>,
    #[serde(default)]
    allcores: Option<IgnoredAny>,
}

/// Node keeps messages with such a command to itself; a program's do not have one.
#[derive(Deserialize)]
struct Command<'a> {
    #[serde(borrow)]
    cmd: std::borrow::Cow<'a, str>,
}

fn is_nodes_own(line: &str) -> bool {
    serde_json::from_str::<Command<'_>>(line).is_ok_and(|command| command.cmd.starts_with("NODE_"))
}

impl FromWorker {
    /// Reads a line.
    pub fn read(line: &[u8]) -> Result<Self, NotJson> {
        // By far the most frequent line.
        if line == br#"{"cmd":"NODE_HANDLE_ACK"}"# {
            return Ok(Self::Ack);
        }
        if line == br#""ready""# {
            return Ok(Self::SaidReady);
        }
        // What is passed over in JSON is not looked at, so its letters are looked at here.
        let line = std::str::from_utf8(line).map_err(|_| NotJson)?;
        let Ok(envelope) = serde_json::from_str::<Envelope<'_>>(line) else {
            // A program may send any JSON, also an object that only looks like one of Node's.
            serde_json::from_str::<IgnoredAny>(line).map_err(|_| NotJson)?;
            let letter = if is_nodes_own(line) { None } else { Letter::plain(line) };
            return Ok(letter.map_or(Self::Other, Self::Letter));
        };
        Ok(match envelope.cmd.as_deref() {
            Some("NODE_CLUSTER") => Self::cluster(line, &envelope),
            Some("NODE_HANDLE_ACK") => Self::Ack,
            Some("NODE_HANDLE_NACK") => Self::Nack,
            Some("NODE_HANDLE") => Self::Handle(Letter::wrapped(line)),
            Some("NODE_SOCKET_NOTIFY_CLOSE") => {
                Self::SocketNotifyClose { key: envelope.key.unwrap_or_default() }
            }
            Some("NODE_SOCKET_GET_COUNT") => Self::SocketGetCount { key: envelope.key.unwrap_or_default() },
            Some(cmd) if cmd.starts_with("NODE_") => Self::Other,
            Some(_) | None if envelope.allcores.is_some() => {
                Letter::plain(line).map_or(Self::Other, Self::Letter)
            }
            Some(_) | None => Self::Other,
        })
    }

    fn cluster(line: &str, envelope: &Envelope<'_>) -> Self {
        if let Some(ack) = envelope.ack {
            return Self::Answer { ack, accepted: envelope.accepted == Some(true) };
        }
        match (envelope.act.as_deref(), envelope.seq) {
            (Some("online"), _) => Self::Online,
            (Some("listening"), _) => Self::Listening,
            (Some("close"), _) => match &envelope.key {
                Some(Value::String(key)) => Self::Close { key: key.clone() },
                Some(_) | None => Self::Other,
            },
            (Some("queryServer"), Some(seq)) => match serde_json::from_str(line) {
                Ok(query) => Self::QueryServer { seq, query: Box::new(query) },
                Err(_) => Self::Other,
            },
            (Some("exitedAfterDisconnect"), Some(seq)) => Self::ExitedAfterDisconnect { seq },
            (Some(_) | None, _) => Self::Other,
        }
    }
}

/// The name of a bound socket, as `server.address()` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SockName {
    /// The address.
    pub address: String,
    /// `IPv4` or `IPv6`.
    pub family: &'static str,
    /// The port.
    pub port: u16,
}

/// What kind of handle a descriptor is to Node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandleType {
    /// TCP or UNIX.
    Native,
    /// UDP.
    DatagramNative,
}

/// The answer to a query.
#[derive(Serialize)]
#[serde(tag = "cmd", rename = "NODE_CLUSTER")]
pub struct Reply<'a> {
    /// 0, or a negative errno.
    pub errno: i32,
    /// The listener's name between us.
    pub key: &'a str,
    /// The number of the query.
    pub ack: u64,
    /// What the first worker's server shares with the others.
    pub data: &'a Value,
    /// The socket's name, when the socket itself does not go along.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sockname: Option<&'a SockName>,
    /// The number of this message.
    pub seq: u64,
}

impl Reply<'_> {
    /// The line.
    pub fn line(&self) -> String {
        line(self)
    }
}

fn line(message: &impl Serialize) -> String {
    // Strings, numbers and values that were JSON before cannot fail to be JSON again.
    let mut line = serde_json::to_string(message).unwrap_or_default();
    line.push('\n');
    line
}

/// Wraps a message whose handle comes along.
pub fn with_handle(kind: HandleType, message: &str) -> String {
    let kind = match kind {
        HandleType::Native => "net.Native",
        HandleType::DatagramNative => "dgram.Native",
    };
    format!("{{\"cmd\":\"NODE_HANDLE\",\"type\":\"{kind}\",\"msg\":{}}}\n", message.trim_end())
}

/// A connection for a listener; its handle comes along. `key` is JSON already.
pub fn newconn(seq: u64, key: &str) -> String {
    format!(
        "{{\"cmd\":\"NODE_HANDLE\",\"type\":\"net.Native\",\"msg\":{{\"cmd\":\"NODE_CLUSTER\",\"act\":\"newconn\",\"key\":{key},\"seq\":{seq}}}}}\n"
    )
}

/// Please leave.
pub fn disconnect(seq: u64) -> String {
    format!("{{\"cmd\":\"NODE_CLUSTER\",\"act\":\"disconnect\",\"seq\":{seq}}}\n")
}

/// The answer to `exitedAfterDisconnect`.
pub fn acknowledge(seq: u64, ack: u64) -> String {
    format!("{{\"cmd\":\"NODE_CLUSTER\",\"ack\":{ack},\"seq\":{seq}}}\n")
}

/// The answer to a handle.
pub fn handle_answer(came: bool) -> String {
    format!("{{\"cmd\":\"NODE_HANDLE_{}\"}}\n", if came { "ACK" } else { "NACK" })
}

/// No socket that a worker sent to us is open: we keep none.
pub fn socket_all_closed(key: &Value) -> String {
    line(&serde_json::json!({"cmd": "NODE_SOCKET_ALL_CLOSED", "key": key}))
}

/// How many there are.
pub fn socket_count(key: &Value) -> String {
    line(&serde_json::json!({"cmd": "NODE_SOCKET_COUNT", "key": key, "count": 0}))
}

/// PM2's convention: the text `shutdown` before everything else.
pub const SHUTDOWN: &str = "\"shutdown\"\n";
