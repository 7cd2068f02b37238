//! The kinds of values that are limits, portions and places: what may be off, what may be a share, where we can be reached.

use std::path::PathBuf;
use std::time::Duration;

use super::address::Place;
use super::value::{Value, duration, number_in};

fn unless_off<T>(text: &str, read: impl FnOnce(&str) -> Result<T, String>) -> Result<Option<T>, String> {
    if text.eq_ignore_ascii_case("off") || text == "0" { Ok(None) } else { read(text).map(Some) }
}

/// A time, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeLimit(pub Option<Duration>);

impl Value for TimeLimit {
    const EXPECTED: &'static str = "a time like 250ms, 5s, 2m or 1h30m (a bare number is seconds), or off";
    const EXAMPLE: &'static str = "1h";
    fn read(text: &str) -> Result<Self, String> {
        unless_off(text, duration).map(|time| Self(time.filter(|time| !time.is_zero())))
    }
}

/// A number, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CountLimit(pub Option<u64>);

impl Value for CountLimit {
    const EXPECTED: &'static str = "a number, or off";
    const EXAMPLE: &'static str = "100000";
    fn read(text: &str) -> Result<Self, String> {
        unless_off(text, |text| number_in(text, 1..=u64::MAX)).map(Self)
    }
}

/// An amount of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// So many bytes.
    Bytes(u64),
    /// This percentage of the container's limit.
    Percent(u16),
}

/// An amount of memory, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SizeLimit(pub Option<Size>);

impl Value for SizeLimit {
    const EXPECTED: &'static str =
        "a size like 512MiB, 512Mi, 1GB or 64K, a share of the container's memory limit like 25%, or off";
    const EXAMPLE: &'static str = "512MiB";
    fn read(text: &str) -> Result<Self, String> {
        unless_off(text, |text| match text.strip_suffix('%') {
            Some(share) => number_in(share, 1..=100).map(Size::Percent),
            None => bytes(text).map(Size::Bytes),
        })
        .map(Self)
    }
}

/// Powers of 1000 with a `B` or alone, as the SI and Kubernetes have them; powers of 1024 with an `i`.
fn bytes(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| String::new())?;
    let unit = unit.trim().to_ascii_lowercase();
    let unit = unit.strip_suffix('b').unwrap_or(&unit);
    let (prefix, base) = match unit.strip_suffix('i') {
        Some(prefix) => (prefix, 1024_u64),
        None => (unit, 1000),
    };
    let power = match prefix {
        "" if base == 1000 => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        _ => return Err(format!("'{}' is no unit", &text[digits..])),
    };
    number
        .checked_mul(base.pow(power))
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| "that is no amount of memory".to_owned())
}

/// A number, or a percentage of the workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Portion {
    /// This many.
    Number(u16),
    /// So many of a hundred.
    Percent(u16),
}

impl Portion {
    /// How many that is, of so many; rounded up, at least 1.
    pub fn of(self, workers: u16) -> u16 {
        match self {
            Self::Number(number) => number,
            Self::Percent(percent) => {
                (u32::from(workers) * u32::from(percent)).div_ceil(100).clamp(1, u32::from(u16::MAX)) as u16
            }
        }
    }
}

impl Value for Portion {
    const EXPECTED: &'static str = "a number from 1 to 1024, or a percentage from 1% to 100%";
    const EXAMPLE: &'static str = "25%";
    fn read(text: &str) -> Result<Self, String> {
        match text.strip_suffix('%') {
            Some(share) => number_in(share, 1..=100).map(Self::Percent),
            None => number_in(text, 1..=super::kinds::MOST_WORKERS).map(Self::Number),
        }
    }
}

/// Most paths that are watched.
const MOST_PATHS: usize = 64;

/// Files and directories.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths(pub Vec<PathBuf>);

impl Value for Paths {
    const EXPECTED: &'static str = "paths separated by commas";
    const EXAMPLE: &'static str = "/etc/app/config.yaml,/etc/tls";
    fn read(text: &str) -> Result<Self, String> {
        let paths: Vec<&str> = text.split(',').map(str::trim).filter(|path| !path.is_empty()).collect();
        if paths.len() > MOST_PATHS {
            return Err(format!("{} paths are more than {MOST_PATHS}", paths.len()));
        }
        paths.into_iter().map(PathBuf::read).collect::<Result<_, _>>().map(Self)
    }
}

/// Where probes and metrics are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Door(pub Place);

impl Value for Door {
    const EXPECTED: &'static str = "a TCP address like :9180, 127.0.0.1:9180 or [::1]:9180";
    const EXAMPLE: &'static str = ":9180";
    fn read(text: &str) -> Result<Self, String> {
        match Place::parse(text)? {
            place @ (Place::AnyTcp(_) | Place::Tcp(_)) => Ok(Self(place)),
            Place::AnyUdp(_) | Place::Udp(_) | Place::Path { .. } | Place::Abstract(_) => Err(String::new()),
        }
    }
}

/// Where `allcores ctl` finds us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// At the first usual place that works.
    Auto,
    /// Nowhere.
    Off,
    /// There.
    At(PathBuf),
}

impl Value for Control {
    const EXPECTED: &'static str = "auto, off, or an absolute path of at most 107 bytes";
    const EXAMPLE: &'static str = "/run/allcores.sock";
    fn read(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "off" => Ok(Self::Off),
            path if path.starts_with('/') && path.len() <= 107 && !path.contains('\0') => {
                Ok(Self::At(path.into()))
            }
            _ => Err(String::new()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_and_kubernetes_write_them() {
        for (text, bytes) in [
            ("512MiB", 512 << 20),
            ("512Mi", 512 << 20),
            ("1GB", 1_000_000_000),
            ("64K", 64_000),
            ("64KiB", 65_536),
            ("1000", 1000),
        ] {
            assert_eq!(SizeLimit::read(text), Ok(SizeLimit(Some(Size::Bytes(bytes)))), "{text}");
        }
        assert_eq!(SizeLimit::read("25%"), Ok(SizeLimit(Some(Size::Percent(25)))));
        assert_eq!(SizeLimit::read("off"), Ok(SizeLimit(None)));
        for text in ["", "-1", "1.5G", "5 parsecs", "101%", "99999999T", "i"] {
            assert!(SizeLimit::read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_portion_is_rounded_up_and_never_nothing() {
        assert_eq!(Portion::Percent(25).of(4), 1);
        assert_eq!(Portion::Percent(25).of(5), 2);
        assert_eq!(Portion::Percent(1).of(1), 1);
        assert_eq!(Portion::Number(3).of(1), 3);
        assert!(Portion::read("0").is_err() && Portion::read("0%").is_err());
    }

    #[test]
    fn a_door_is_a_tcp_address() {
        assert!(Door::read(":9180").is_ok() && Door::read("127.0.0.1:9180").is_ok());
        assert!(Door::read("unix:/x").is_err() && Door::read("udp://:1").is_err());
    }
}
