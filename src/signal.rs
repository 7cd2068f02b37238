//! Signals by name and number. Decides nothing about what they mean: that is `supervisor::requests`.
//!
//! The numbers are those of x86-64 and arm64 (`signal(7)`). Real-time signals are counted from 34, as
//! Docker, systemd and util-linux do, whatever the C library keeps for itself.

use std::fmt;

/// A signal's number, from 1 to 64.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signal(u8);

/// The first real-time signal that programs outside the C library use.
const RTMIN: u8 = 34;
const RTMAX: u8 = 64;

/// Names of the standard signals, by number, from 1.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
    "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
    "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// Other names for the same numbers.
const ALIASES: [(&str, Signal); 4] =
    [("IOT", Signal::ABRT), ("CLD", Signal::CHLD), ("POLL", Signal::IO), ("UNUSED", Signal::SYS)];

macro_rules! known {
    ($($name:ident = $number:literal),* $(,)?) => {
        $(#[allow(missing_docs)] pub const $name: Signal = Signal($number);)*
    };
}

impl Signal {
    known! {
        HUP = 1, INT = 2, QUIT = 3, ILL = 4, TRAP = 5, ABRT = 6, BUS = 7, FPE = 8, KILL = 9, USR1 = 10, SEGV = 11,
        USR2 = 12, PIPE = 13, ALRM = 14, TERM = 15, CHLD = 17, CONT = 18, STOP = 19, TSTP = 20, TTIN = 21,
        TTOU = 22, URG = 23, WINCH = 28, IO = 29, SYS = 31,
    }

    /// `None` outside 1 to 64.
    pub fn new(number: i32) -> Option<Self> {
        u8::try_from(number).ok().filter(|n| (1..=RTMAX).contains(n)).map(Self)
    }

    /// The number that the kernel knows.
    pub fn number(self) -> i32 {
        i32::from(self.0)
    }

    /// Every signal, in the order of their numbers.
    pub fn all() -> impl Iterator<Item = Self> {
        (1..=RTMAX).map(Self)
    }

    /// The kernel sends these for a process's own faults: they say nothing to anybody else.
    pub fn is_fault(self) -> bool {
        [Self::ILL, Self::TRAP, Self::BUS, Self::FPE, Self::SEGV, Self::SYS].contains(&self)
    }

    /// Reads `TERM`, `SIGTERM`, `15`, `RTMIN+3`, `RTMAX-1`, in any case of letters.
    pub fn parse(text: &str) -> Option<Self> {
        if let Ok(number) = text.parse::<i32>() {
            return Self::new(number);
        }
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        if let Some(index) = NAMES.iter().position(|known| *known == name) {
            return Self::new(index as i32 + 1);
        }
        if let Some((_, signal)) = ALIASES.iter().find(|(alias, _)| *alias == name) {
            return Some(*signal);
        }
        let real_time = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
            (Some(""), _) => i32::from(RTMIN),
            (_, Some("")) => i32::from(RTMAX),
            (Some(offset), _) => {
                i32::from(RTMIN) + offset.strip_prefix('+')?.parse::<u8>().map(i32::from).ok()?
            }
            (_, Some(offset)) => {
                i32::from(RTMAX) - offset.strip_prefix('-')?.parse::<u8>().map(i32::from).ok()?
            }
            (None, None) => return None,
        };
        Self::new(real_time).filter(|signal| signal.0 >= RTMIN)
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            standard @ 1..=31 => f.write_str(NAMES[usize::from(standard) - 1]),
            RTMIN => f.write_str("RTMIN"),
            RTMAX => f.write_str("RTMAX"),
            low @ 35..=49 => write!(f, "RTMIN+{}", low - RTMIN),
            high @ 50..=63 => write!(f, "RTMAX-{}", RTMAX - high),
            other => write!(f, "{other}"),
        }
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_read_back_from_its_name() {
        for signal in Signal::all() {
            assert_eq!(Signal::parse(&signal.to_string()), Some(signal), "{signal}");
        }
    }

    #[test]
    fn names_are_read_as_people_write_them() {
        for text in ["TERM", "SIGTERM", "sigterm", "15"] {
            assert_eq!(Signal::parse(text), Some(Signal::TERM), "{text}");
        }
        assert_eq!(Signal::parse("SIGRTMIN+3").map(Signal::number), Some(37));
        assert_eq!(Signal::parse("RTMAX-1").map(Signal::number), Some(63));
        assert_eq!(Signal::parse("CLD"), Some(Signal::CHLD));
    }

    #[test]
    fn what_is_no_signal_is_refused() {
        for text in ["", "0", "65", "-1", "TERMINATE", "SIG", "RTMIN3", "RTMIN+31", "RTMAX-31", "RTMIN-1"] {
            assert_eq!(Signal::parse(text), None, "{text}");
        }
    }
}
