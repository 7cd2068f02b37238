//! The messages, typed, in both directions (Node: `lib/internal/cluster/{child,primary,utils}.js`).
//!
//! What a worker says is data from a stranger: whatever does not have the form that Node gives it is no message of
//! Node's. What we say is written here and nowhere else.

use std::borrow::Cow;

use super::mail::Letter;
use super::object::{Object, is_json, quote};

/// What a worker asks to listen on, as `queryServer` has it. Programs hand Node all sorts of things to listen with, and Node
/// hands them on (a `backlog` of `false`, say): what is not of its type is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Host or path; `None` is every address.
    pub address: Option<String>,
    /// The port; -1 for a path; `None` with a descriptor.
    pub port: Option<i64>,
    /// As it was written: `4`, `6`, `-1`, `"udp4"`, `"udp6"`, or `null` with a descriptor.
    pub address_type: String,
    /// A descriptor of ours that it names.
    pub fd: Option<i64>,
    /// How many servers on this address this worker has already.
    pub index: i64,
    /// TCP: 1 is IPv6 only. UDP: 1 is IPv6 only, 4 is to share the address.
    pub flags: i64,
    /// The queue's length; 0 or nothing is Node's own.
    pub backlog: Option<i64>,
    /// A path that everybody may read.
    pub readable_all: bool,
    /// A path that everybody may write.
    pub writable_all: bool,
    /// What the first worker's server shares with the others, as it was written: TLS ticket keys.
    pub data: String,
}

impl Query {
    fn read(message: &Object<'_>) -> Self {
        let raw = |name| message.get(name).unwrap_or("null").to_owned();
        Self {
            address: message.text("address").map(Cow::into_owned),
            port: message.number("port"),
            address_type: raw("addressType"),
            fd: message.number("fd"),
            index: message.number("index").unwrap_or(0),
            flags: message.number("flags").unwrap_or(0),
            backlog: message.number("backlog"),
            readable_all: message.is_true("readableAll"),
            writable_all: message.is_true("writableAll"),
            data: raw("data"),
        }
    }
}

/// What a worker said.
#[derive(Clone, Debug, PartialEq, Eq)]
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
        /// The server's name for them, as it was written.
        key: String,
    },
    /// It asks how many such sockets there are.
    SocketGetCount {
        /// The server's name for them, as it was written.
        key: String,
    },
    /// A message of the program's, the text `ready`: PM2's convention.
    SaidReady,
    /// A message of the program's that asks us for the status.
    AsksStatus,
    /// Any other message of the program's, and what of Node's we do not know.
    Other,
}

/// What is not JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotJson;

impl FromWorker {
    /// Reads a line.
    pub fn read(line: &[u8]) -> Result<Self, NotJson> {
        // By far the most frequent lines.
        if line == br#"{"cmd":"NODE_HANDLE_ACK"}"# {
            return Ok(Self::Ack);
        }
        if let Some(ack) = taken(line) {
            return Ok(Self::Answer { ack, accepted: true });
        }
        if line == br#""ready""# {
            return Ok(Self::SaidReady);
        }
        // What is passed over in JSON is not looked at, so its letters are looked at here.
        let line = std::str::from_utf8(line).map_err(|_| NotJson)?;
        let Some(message) = Object::read(line) else {
            return if is_json(line) { Ok(Self::Other) } else { Err(NotJson) };
        };
        let key = || message.get("key").unwrap_or("null").to_owned();
        Ok(match message.text("cmd").as_deref() {
            Some("NODE_CLUSTER") => Self::cluster(&message),
            Some("NODE_HANDLE_ACK") => Self::Ack,
            Some("NODE_HANDLE_NACK") => Self::Nack,
            Some("NODE_HANDLE") => Self::Handle(Letter::wrapped(line, &message)),
            Some("NODE_SOCKET_NOTIFY_CLOSE") => Self::SocketNotifyClose { key: key() },
            Some("NODE_SOCKET_GET_COUNT") => Self::SocketGetCount { key: key() },
            // Node keeps such messages to itself; a program's have no such command.
            Some(cmd) if cmd.starts_with("NODE_") => Self::Other,
            Some(_) | None if message.text("allcores").as_deref() == Some("status") => Self::AsksStatus,
            Some(_) | None => Letter::plain(line, &message).map_or(Self::Other, Self::Letter),
        })
    }

    fn cluster(message: &Object<'_>) -> Self {
        if let Some(ack) = message.count("ack") {
            return Self::Answer { ack, accepted: message.is_true("accepted") };
        }
        match (message.text("act").as_deref(), message.count("seq")) {
            (Some("online"), _) => Self::Online,
            (Some("listening"), _) => Self::Listening,
            (Some("close"), _) => {
                message.text("key").map_or(Self::Other, |key| Self::Close { key: key.into_owned() })
            }
            (Some("queryServer"), Some(seq)) => {
                Self::QueryServer { seq, query: Box::new(Query::read(message)) }
            }
            (Some("exitedAfterDisconnect"), Some(seq)) => Self::ExitedAfterDisconnect { seq },
            (Some(_) | None, _) => Self::Other,
        }
    }
}

/// What Node writes when it takes an offer, letter by letter: the number of the offer.
fn taken(line: &[u8]) -> Option<u64> {
    let rest = line.strip_prefix(br#"{"cmd":"NODE_CLUSTER","ack":"#)?;
    let (ack, rest) = rest.split_at(rest.iter().position(|byte| !byte.is_ascii_digit())?);
    let seq = rest.strip_prefix(br#","accepted":true,"seq":"#)?.strip_suffix(b"}")?;
    // What begins with a nought is no JSON, unless it is one.
    let is_number = |text: &[u8]| match text {
        [_] | [b'1'..=b'9', ..] => text.iter().all(u8::is_ascii_digit),
        [..] => false,
    };
    (is_number(ack) && is_number(seq))
        .then_some(ack)
        .and_then(|ack| std::str::from_utf8(ack).ok()?.parse().ok())
}

/// The name of a bound socket, as `server.address()` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
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
pub struct Reply<'a> {
    /// 0, or a negative errno.
    pub errno: i32,
    /// The listener's name between us, as JSON.
    pub key: &'a str,
    /// The number of the query.
    pub ack: u64,
    /// What the first worker's server shares with the others, as JSON.
    pub data: &'a str,
    /// The socket's name, when the socket itself does not go along.
    pub sockname: Option<&'a SockName>,
    /// The number of this message.
    pub seq: u64,
}

impl Reply<'_> {
    /// The line.
    pub fn line(&self) -> String {
        let Self { errno, key, ack, data, sockname, seq } = self;
        let sockname = sockname.map_or_else(String::new, |SockName { address, family, port }| {
            format!(
                ",\"sockname\":{{\"address\":{},\"family\":\"{family}\",\"port\":{port}}}",
                quote(address)
            )
        });
        format!(
            "{{\"cmd\":\"NODE_CLUSTER\",\"errno\":{errno},\"key\":{key},\"ack\":{ack},\"data\":{data}{sockname},\"seq\":{seq}}}\n"
        )
    }
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

/// No socket that a worker sent to us is open: we keep none. `key` is JSON already.
pub fn socket_all_closed(key: &str) -> String {
    format!("{{\"cmd\":\"NODE_SOCKET_ALL_CLOSED\",\"key\":{key}}}\n")
}

/// How many there are. `key` is JSON already.
pub fn socket_count(key: &str) -> String {
    format!("{{\"cmd\":\"NODE_SOCKET_COUNT\",\"key\":{key},\"count\":0}}\n")
}

/// Says that a handle comes along, and none does: Node itself says so from its event loop, and the program does not see it.
pub const QUESTION: &str =
    "{\"cmd\":\"NODE_HANDLE\",\"type\":\"net.Native\",\"msg\":{\"cmd\":\"NODE_CLUSTER\"}}\n";

/// The answer to who asks for the status, which is one line of JSON.
pub fn status(status: &str) -> String {
    format!("{{\"allcores\":{{\"status\":{status}}}}}\n")
}

/// PM2's convention: the text `shutdown` before everything else.
pub const SHUTDOWN: &str = "\"shutdown\"\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_the_same_however_it_is_written() {
        let taken = |ack| Ok(FromWorker::Answer { ack, accepted: true });
        for line in [
            r#"{"cmd":"NODE_CLUSTER","ack":12,"accepted":true,"seq":0}"#,
            r#"{"cmd":"NODE_CLUSTER","ack":12,"seq":7,"accepted":true}"#,
            r#"{ "ack": 12, "accepted": true, "cmd": "NODE_CLUSTER" }"#,
        ] {
            assert_eq!(FromWorker::read(line.as_bytes()), taken(12), "{line}");
        }
        for line in [
            r#"{"cmd":"NODE_CLUSTER","ack":012,"accepted":true,"seq":0}"#,
            r#"{"cmd":"NODE_CLUSTER","ack":,"accepted":true,"seq":0}"#,
            r#"{"cmd":"NODE_CLUSTER","ack":1,"accepted":true,"seq":}"#,
            r#"{"cmd":"NODE_CLUSTER","ack":1,"accepted":true,"seq":1}}"#,
        ] {
            assert_eq!(FromWorker::read(line.as_bytes()), Err(NotJson), "{line}");
        }
        let beyond = r#"{"cmd":"NODE_CLUSTER","ack":99999999999999999999,"accepted":true,"seq":1}"#;
        assert_eq!(FromWorker::read(beyond.as_bytes()), Ok(FromWorker::Other));
    }
}
