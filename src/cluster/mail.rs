//! Mail between workers: a message of one program's to its siblings, which Node has no way for.
//!
//! `{"allcores": {"to": 2}, …}` goes to the worker in slot 2, `"all"` to every worker, `"others"` to all but the sender. It arrives
//! unchanged, but for `"allcores": {"from": SLOT, "worker": ID}`.

use super::object::Object;
use crate::ids::{Slot, WorkerId};

/// The longest message that a descriptor goes with: it must fit one buffer of the kernel's, or Node would give the
/// descriptor to another message.
const LONGEST_WITH_DESCRIPTOR: usize = 32 * 1024;

/// Kinds of handles that Node knows; any other would end the worker that gets it.
const KINDS: [&str; 5] = ["net.Socket", "net.Server", "net.Native", "dgram.Socket", "dgram.Native"];

/// Who gets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recipients {
    /// The worker in this slot.
    Slot(Slot),
    /// Every worker, the sender too.
    All,
    /// Every worker but the sender.
    Others,
}

impl Recipients {
    /// Whether the worker in `slot` gets what the one in `from` sends.
    pub fn include(self, slot: Slot, from: Slot) -> bool {
        match self {
            Self::Slot(wanted) => slot == wanted,
            Self::All => true,
            Self::Others => slot != from,
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

/// To whom a message is addressed, if to anybody.
fn recipients(message: &Object<'_>) -> Option<Recipients> {
    let to = Object::read(message.get("allcores")?)?.get("to")?;
    match to {
        "\"all\"" => Some(Recipients::All),
        "\"others\"" => Some(Recipients::Others),
        slot => slot.parse().ok().map(|slot| Recipients::Slot(Slot(slot))),
    }
}

impl Letter {
    /// A message of the program's that is addressed to siblings.
    pub fn plain(line: &str, message: &Object<'_>) -> Option<Self> {
        Some(Self { to: recipients(message)?, with_descriptor: false, line: line.to_owned() })
    }

    /// The same in the wrapping that says that a descriptor comes along.
    pub fn wrapped(line: &str, wrapping: &Object<'_>) -> Option<Self> {
        let to = recipients(&Object::read(wrapping.get("msg")?)?)?;
        let fits = line.len() <= LONGEST_WITH_DESCRIPTOR && KINDS.contains(&wrapping.text("type")?.as_ref());
        fits.then(|| Self { to, with_descriptor: true, line: line.to_owned() })
    }

    /// The line as it arrives.
    pub fn from(&self, slot: Slot, worker: WorkerId) -> Option<String> {
        let sender = format!("{{\"from\":{slot},\"worker\":{worker}}}");
        let outer = Object::read(&self.line)?;
        let mut line = if self.with_descriptor {
            let inner = Object::read(outer.get("msg")?)?;
            outer.with("msg", &inner.with("allcores", &sender))
        } else {
            outer.with("allcores", &sender)
        };
        line.push('\n');
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrives(line: &str) -> Option<String> {
        let read = if line.contains("NODE_HANDLE") { Letter::wrapped } else { Letter::plain };
        read(line, &Object::read(line)?)?.from(Slot(1), WorkerId(7))
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
            let line = format!("{{\"allcores\":{{\"to\":{text}}}}}");
            Letter::plain(&line, &Object::read(&line)?).map(|letter| letter.to)
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
