//! What a kind of value is, and the kinds that say nothing about what they are for: times, switches, words, paths.
//!
//! A kind reads one text. It knows neither the setting's name nor where the text came from.

use std::path::PathBuf;
use std::time::Duration;

/// A kind of value. `EXPECTED` and `EXAMPLE` are shown to whoever wrote something else.
pub trait Value: Sized {
    /// What is accepted, as the end of "expected …".
    const EXPECTED: &'static str;
    /// A text that is accepted.
    const EXAMPLE: &'static str;
    /// Reads the text. The error adds to `EXPECTED` what is wrong in particular, or is empty.
    fn read(text: &str) -> Result<Self, String>;
}

/// Longest time that any setting takes, so that sums of times cannot overflow: ten years.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// `250ms`, `5s`, `2m`, `1h30m`; a bare number is seconds.
pub fn duration(text: &str) -> Result<Duration, String> {
    let time = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => humantime::parse_duration(text).map_err(|_| String::new())?,
    };
    if time > LONGEST { Err("that is more than ten years".to_owned()) } else { Ok(time) }
}

pub(super) fn one_of<T: Copy>(text: &str, words: &[(&str, T)]) -> Result<T, String> {
    words
        .iter()
        .find(|(word, _)| text.eq_ignore_ascii_case(word))
        .map(|(_, value)| *value)
        .ok_or_else(String::new)
}

pub(super) fn number_in<T: std::str::FromStr + PartialOrd>(
    text: &str,
    range: std::ops::RangeInclusive<T>,
) -> Result<T, String> {
    text.parse().ok().filter(|number| range.contains(number)).ok_or_else(String::new)
}

/// A kind that is one of a few words, each standing for a value.
macro_rules! words {
    ($(#[$doc:meta])* $kind:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal),+ $(,)? } $expected:literal, $example:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $kind { $($(#[$vdoc])* $variant),+ }

        impl Value for $kind {
            const EXPECTED: &'static str = $expected;
            const EXAMPLE: &'static str = $example;
            fn read(text: &str) -> Result<Self, String> {
                one_of(text, &[$(($word, Self::$variant)),+])
            }
        }
    };
}

pub(super) use words;

words! {
    /// A switch.
    Switch {
        /// Yes.
        On = "on",
        /// No.
        Off = "off",
    }
    "on or off", "on"
}

words! {
    /// A switch with a third position.
    Tristate {
        /// Decide by the other settings.
        Auto = "auto",
        /// Yes.
        On = "on",
        /// No.
        Off = "off",
    }
    "auto, on or off", "on"
}

impl Value for u16 {
    const EXPECTED: &'static str = "a port from 1 to 65535";
    const EXAMPLE: &'static str = "9000";
    fn read(text: &str) -> Result<Self, String> {
        number_in(text, 1..=65535)
    }
}

impl Value for Duration {
    const EXPECTED: &'static str = "a time like 250ms, 5s, 2m or 1h30m (a bare number is seconds)";
    const EXAMPLE: &'static str = "5s";
    fn read(text: &str) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("off") { Ok(Self::ZERO) } else { duration(text) }
    }
}

/// A time after which something happens, at once when it is zero, or never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// After this time.
    For(Duration),
    /// Never.
    Forever,
}

impl Value for Patience {
    const EXPECTED: &'static str =
        "a time like 250ms, 5s, 2m or 1h30m (a bare number is seconds), 0 for at once, or off for never";
    const EXAMPLE: &'static str = "25s";
    fn read(text: &str) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("off") { Ok(Self::Forever) } else { duration(text).map(Self::For) }
    }
}

impl Value for String {
    const EXPECTED: &'static str = "a command for /bin/sh -c";
    const EXAMPLE: &'static str = "./migrate";
    fn read(text: &str) -> Result<Self, String> {
        if text.contains('\0') { Err("it contains a NUL byte".to_owned()) } else { Ok(text.to_owned()) }
    }
}

impl Value for PathBuf {
    const EXPECTED: &'static str = "a path";
    const EXAMPLE: &'static str = "/dev/termination-log";
    fn read(text: &str) -> Result<Self, String> {
        if text.contains('\0') { Err("it contains a NUL byte".to_owned()) } else { Ok(Self::from(text)) }
    }
}

/// A setting that may be unset, with no default.
impl<T: Value> Value for Option<T> {
    const EXPECTED: &'static str = T::EXPECTED;
    const EXAMPLE: &'static str = T::EXAMPLE;
    fn read(text: &str) -> Result<Self, String> {
        if text.is_empty() { Ok(None) } else { T::read(text).map(Some) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_units_and_without() {
        for (text, millis) in
            [("250ms", 250), ("5s", 5000), ("2m", 120_000), ("1h30m", 5_400_000), ("7", 7000), ("0", 0)]
        {
            assert_eq!(Duration::read(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "-1s", "5 parsecs", "s", "1e9", "20years"] {
            assert!(Duration::read(text).is_err(), "{text}");
        }
        assert_eq!(Patience::read("off"), Ok(Patience::Forever));
    }
}
