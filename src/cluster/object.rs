//! JSON objects, read no further than they must be: their members as they were written.
//!
//! What a worker says is data from a stranger, and most of it is not for us: a member is looked at when somebody asks for it, by the type
//! that he expects, and is passed on letter by letter.

use std::borrow::Cow;
use std::fmt;

use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// An object's members, in their order.
pub struct Object<'a>(Vec<(Name<'a>, &'a RawValue)>);

#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// Whether the text is JSON of any kind.
pub fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// A text as JSON.
pub fn quote(text: &str) -> String {
    // A text cannot fail to be one.
    serde_json::to_string(text).unwrap_or_default()
}

impl<'a> Object<'a> {
    /// `None` when the text is JSON of another kind, or no JSON.
    pub fn read(text: &'a str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// A member as it was written; the last of several, as in JavaScript.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.0.iter().rev().find(|(member, _)| member.0 == name).map(|(_, value)| value.get())
    }

    /// A member that is a text.
    pub fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        text(self.get(name)?)
    }

    /// A member that is a whole number.
    pub fn number(&self, name: &str) -> Option<i64> {
        self.get(name)?.parse().ok()
    }

    /// A member that is a whole number, and not negative.
    pub fn count(&self, name: &str) -> Option<u64> {
        self.get(name)?.parse().ok()
    }

    /// A member that is `true`.
    pub fn is_true(&self, name: &str) -> bool {
        self.get(name) == Some("true")
    }

    /// The object with another value for one of its members.
    pub fn with(&self, name: &str, value: &str) -> String {
        let members = self.0.iter().map(|(member, old)| {
            let value = if member.0 == name { value } else { old.get() };
            format!("{}:{value}", quote(&member.0))
        });
        format!("{{{}}}", members.collect::<Vec<_>>().join(","))
    }
}

/// What a JSON text says.
pub fn text(json: &str) -> Option<Cow<'_, str>> {
    serde_json::from_str::<Name<'_>>(json).ok().map(|name| name.0)
}

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Object<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Object(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_what_they_were_written_as() {
        let object =
            Object::read(r#"{"a":1e400, "b":"\u00e9","n":-3,"t":true,"n":7,"\u0063":null}"#).unwrap();
        assert_eq!(object.get("a"), Some("1e400"));
        assert_eq!(object.text("b").as_deref(), Some("é"));
        assert_eq!((object.number("n"), object.count("n"), object.number("a")), (Some(7), Some(7), None));
        assert!(object.is_true("t") && !object.is_true("n") && object.get("c") == Some("null"));
        assert_eq!(object.text("n"), None);
        assert_eq!(Object::read("{\"x\":[ 1 ]}").unwrap().with("x", "2"), "{\"x\":2}");
    }

    #[test]
    fn what_is_no_object_is_none() {
        for other in ["1", "\"{}\"", "[{}]", "null", "{", "{\"a\":}", "{}{}"] {
            assert!(Object::read(other).is_none(), "{other}");
        }
        assert!(is_json("[1]") && !is_json("{}}"));
    }
}
