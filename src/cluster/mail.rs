//! Mail between workers: a message of one program's to its siblings, which Node has no way for.
//!
//! `{"allcores": {"to": 2}, …}` goes to the worker in slot 2, `"all"` to every worker, `"others"` to all but the sender. It arrives
//! unchanged, but for `"allcores": {"from": SLOT, "worker": ID}`.

use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::ids::{Slot, WorkerId};

/// The longest message that a descriptor goes with: it must fit one buffer of the kernel's, or Node would give the
/// descriptor to another message.
const LONGEST_WITH_DESCRIPTOR: usize = 32 * 1024;

/// Kinds of handles that Node knows; any other would end the worker that gets it.
const KINDS: [&str; 5] = ["net.Socket", "net.Server", "net.Native", "dgram.Socket", "dgram.Native"];

/// Who gets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Recipients {
    /// The worker in this slot.
    Slot(u16),
    /// Several.
    Group(Group),
}

/// Several workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Group {
    /// Every worker, the sender too.
    All,
    /// Every worker but the sender.
    Others,
}

impl Recipients {
    /// Whether the worker in `slot` gets what the one in `from` sends.
    pub fn include(self, slot: Slot, from: Slot) -> bool {
        match self {
            Self::Slot(wanted) => slot == Slot(wanted),
            Self::Group(Group::All) => true,
            Self::Group(Group::Others) => slot != from,
        }
    }
}

/// A letter: what is on the envelope, and what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// Who gets it.
    pub to: Recipients,
    /// Whether a descriptor belongs to it.
    pub with_descriptor: bool,
    line: String,
}

#[derive(Deserialize)]
struct Address {
    to: Recipients,
}

#[derive(Deserialize)]
struct Addressed {
    allcores: Address,
}

#[derive(Deserialize)]
struct Wrapped {
    #[serde(rename = "type")]
    kind: String,
    msg: Addressed,
}

impl Letter {
    /// A message of the program's that is addressed to siblings.
    pub fn plain(line: &str) -> Option<Self> {
        let Addressed { allcores: Address { to } } = serde_json::from_str(line).ok()?;
        Some(Self { to, with_descriptor: false, line: line.to_owned() })
    }

    /// The same in the wrapping that says that a descriptor comes along.
    pub fn wrapped(line: &str) -> Option<Self> {
        let Wrapped { kind, msg } = serde_json::from_str(line).ok()?;
        let fits = line.len() <= LONGEST_WITH_DESCRIPTOR && KINDS.contains(&kind.as_str());
        fits.then(|| Self { to: msg.allcores.to, with_descriptor: true, line: line.to_owned() })
    }

    /// The line as it arrives.
    pub fn from(&self, slot: Slot, worker: WorkerId) -> Option<String> {
        let sender = format!("{{\"from\":{slot},\"worker\":{worker}}}");
        let mut line = if self.with_descriptor {
            let wrapping: Members<'_> = serde_json::from_str(&self.line).ok()?;
            let inner: Members<'_> = serde_json::from_str(wrapping.get("msg")?).ok()?;
            wrapping.with("msg", &inner.with("allcores", &sender))
        } else {
            let members: Members<'_> = serde_json::from_str(&self.line).ok()?;
            members.with("allcores", &sender)
        };
        line.push('\n');
        Some(line)
    }
}

/// The members of an object as they were written, in their order: what is passed on is not to be read.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl Members<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(member, _)| member == name).map(|(_, value)| value.get())
    }

    /// The object with another value for one of its members.
    fn with(&self, name: &str, value: &str) -> String {
        let members = self.0.iter().map(|(member, old)| {
            let value = if member == name { value } else { old.get() };
            format!("{}:{value}", serde_json::Value::from(member.as_str()))
        });
        format!("{{{}}}", members.collect::<Vec<_>>().join(","))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Vec<(String, &'de RawValue)>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Object).map(Members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrives(line: &str) -> Option<String> {
        let read = if line.contains("NODE_HANDLE") { Letter::wrapped } else { Letter::plain };
        read(line)?.from(Slot(1), WorkerId(7))
    }

    #[test]
    fn a_letter_arrives_as_it_was_written_but_for_the_sender() {
        assert_eq!(
            arrives(r#"{"z":1e400, "allcores":{"to":2},"a":[ "\u00e9" ]}"#).as_deref(),
            Some("{\"z\":1e400,\"allcores\":{\"from\":1,\"worker\":7},\"a\":[ \"\\u00e9\" ]}\n")
        );
        assert_eq!(
            arrives(
                r#"{"cmd":"NODE_HANDLE","type":"net.Socket","msg":{"allcores":{"to":"all"},"x":1},"key":"k"}"#
            )
            .as_deref(),
            Some(
                "{\"cmd\":\"NODE_HANDLE\",\"type\":\"net.Socket\",\"msg\":{\"allcores\":{\"from\":1,\"worker\":7},\"x\":1},\"key\":\"k\"}\n"
            )
        );
    }

    #[test]
    fn recipients_are_a_slot_or_a_group() {
        let to = |text: &str| {
            Letter::plain(&format!("{{\"allcores\":{{\"to\":{text}}}}}")).map(|letter| letter.to)
        };
        let included = |text: &str| to(text).map(|to| [0, 1, 2].map(|slot| to.include(Slot(slot), Slot(1))));
        assert_eq!(included("2"), Some([false, false, true]));
        assert_eq!(included("\"all\""), Some([true, true, true]));
        assert_eq!(included("\"others\""), Some([true, false, true]));
        for wrong in ["-1", "70000", "\"none\"", "null", "[1]"] {
            assert_eq!(to(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_would_harm_the_recipient_is_not_sent() {
        assert_eq!(
            arrives(r#"{"cmd":"NODE_HANDLE","type":"net.Nothing","msg":{"allcores":{"to":0}}}"#),
            None
        );
        let long = format!(
            r#"{{"cmd":"NODE_HANDLE","type":"net.Socket","msg":{{"allcores":{{"to":0}},"x":"{}"}}}}"#,
            "x".repeat(40_000)
        );
        assert_eq!(arrives(&long), None);
        assert_eq!(arrives(r#"["allcores"]"#), None);
    }
}
