//! The kinds of values that belong to particular settings: what each accepts, and how it says so.

use std::num::NonZeroU32;
use std::time::Duration;

use super::address::Address;
use super::value::{Value, duration, number_in, one_of, words};
use crate::signal::Signal;

words! {
    /// `MODE` as it was asked for.
    ModeChoice {
        /// Decide by the other settings.
        Auto = "auto",
        /// We are the cluster primary of Node programs.
        Cluster = "cluster",
        /// All workers share the sockets.
        Inherit = "inherit",
        /// Each slot has sockets of its own.
        Reuseport = "reuseport",
        /// Each worker binds a port of its own.
        Ports = "ports",
        /// No sockets.
        Plain = "plain",
    }
    "auto, cluster, inherit, reuseport, ports or plain", "inherit"
}

words! {
    /// `BALANCE`: how connections reach the workers of a cluster.
    Balance {
        /// We hand each to the worker that has been free for longest.
        RoundRobin = "round-robin",
        /// We hand each to the worker that its client's address stands for.
        SourceIp = "source-ip",
        /// Each slot has a socket of its own, and the kernel spreads.
        Kernel = "kernel",
        /// All accept from one socket.
        Shared = "shared",
    }
    "round-robin, source-ip, kernel or shared", "kernel"
}

words! {
    /// `RESTART` as it was asked for.
    RestartChoice {
        /// Decide by mode and number.
        Auto = "auto",
        /// After every death.
        Always = "always",
        /// After a death with a code other than 0.
        OnFailure = "on-failure",
        /// Never.
        Never = "never",
    }
    "auto, always, on-failure or never", "always"
}

words! {
    /// Who gets forwarded and stop signals.
    Target {
        /// The worker's process alone.
        Process = "process",
        /// Every process of its group.
        Group = "group",
    }
    "process or group", "group"
}

words! {
    /// The form of our own log.
    LogFormat {
        /// Text.
        Auto = "auto",
        /// A line of words.
        Text = "text",
        /// A JSON object a line.
        Json = "json",
    }
    "auto, text or json", "json"
}

/// `WORKERS` as it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerCount {
    /// One per core, or one in `plain`.
    Auto,
    /// This many.
    Number(u16),
    /// This percentage of the cores, rounded up.
    Share(u16),
}

/// Most workers that a pool may have.
pub const MOST_WORKERS: u16 = 1024;

impl Value for WorkerCount {
    const EXPECTED: &'static str = "auto, a number from 1 to 1024, or a share of the cores from 1% to 1000%";
    const EXAMPLE: &'static str = "4";
    fn read(text: &str) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("auto") {
            return Ok(Self::Auto);
        }
        match text.strip_suffix('%') {
            Some(share) => number_in(share, 1..=1000).map(Self::Share),
            None => number_in(text, 1..=MOST_WORKERS).map(Self::Number),
        }
    }
}

/// The sockets of `LISTEN`, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses(pub Vec<Address>);

impl Value for Addresses {
    const EXPECTED: &'static str = "addresses separated by commas, each 8080, 0.0.0.0:8080, [::]:8080, tcp://…, \
         udp://…, unix:/path?mode=0660 or unix:@name, with name= in front if wanted";
    const EXAMPLE: &'static str = "http=8080,admin=127.0.0.1:9000";
    fn read(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
        if parts.len() > 64 {
            return Err(format!("{} addresses are more than 64", parts.len()));
        }
        parts.into_iter().map(Address::parse).collect::<Result<Vec<_>, _>>().map(Self)
    }
}

/// A number of waiting connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backlog(pub u32);

impl Value for Backlog {
    const EXPECTED: &'static str = "a number from 1 to 65535";
    const EXAMPLE: &'static str = "1024";
    fn read(text: &str) -> Result<Self, String> {
        number_in(text, 1..=65535).map(Self)
    }
}

/// `BACKOFF`: the delay after the first failure, and the longest one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackoffRange {
    /// After the first failure.
    pub first: Duration,
    /// Never more than this, jitter included.
    pub ceiling: Duration,
}

impl Value for BackoffRange {
    const EXPECTED: &'static str = "a first delay and a ceiling like 100ms..30s";
    const EXAMPLE: &'static str = "100ms..30s";
    fn read(text: &str) -> Result<Self, String> {
        let (first, ceiling) = text.split_once("..").unwrap_or((text, text));
        let range = Self { first: duration(first.trim())?, ceiling: duration(ceiling.trim())? };
        if range.first > range.ceiling {
            Err("the first is longer than the ceiling".to_owned())
        } else {
            Ok(range)
        }
    }
}

/// `MAX_FAILURES`: `None` never gives up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxFailures(pub Option<NonZeroU32>);

impl Value for MaxFailures {
    const EXPECTED: &'static str = "a number of failures, or 0 to never give up";
    const EXAMPLE: &'static str = "5";
    fn read(text: &str) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("off") {
            return Ok(Self(None));
        }
        number_in(text, 0..=u32::MAX).map(|n| Self(NonZeroU32::new(n)))
    }
}

/// `READY`: what makes a worker ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// As the mode has it.
    Auto,
    /// A server of its listens, in `cluster`.
    Listening,
    /// It says `READY=1`, as sd_notify(3) has it.
    Notify,
    /// It says so, in `cluster`.
    Message,
    /// It writes a newline to this descriptor, as s6 has it.
    Descriptor(u16),
    /// It is still alive after this time.
    Alive(Duration),
}

impl Value for Ready {
    const EXPECTED: &'static str =
        "auto, listening, notify, message, fd:N with N from 3 to 1023, or alive:TIME";
    const EXAMPLE: &'static str = "notify";
    fn read(text: &str) -> Result<Self, String> {
        let words = [
            ("auto", Self::Auto),
            ("listening", Self::Listening),
            ("notify", Self::Notify),
            ("message", Self::Message),
        ];
        match text.split_once(':') {
            Some(("alive", time)) => duration(time).map(Self::Alive),
            Some(("fd", number)) => number_in(number, 3..=1023).map(Self::Descriptor),
            Some(_) | None => one_of(text, &words),
        }
    }
}

impl Value for Signal {
    const EXPECTED: &'static str = "a signal like TERM, SIGTERM, 15 or RTMIN+3";
    const EXAMPLE: &'static str = "QUIT";
    fn read(text: &str) -> Result<Self, String> {
        Self::parse(text).ok_or_else(String::new)
    }
}

/// `EXIT_ON_STOP`: the exit code of a stop that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitOnStop {
    /// 137 if something had to be killed, else the worker's own in `plain`, else 0.
    Auto,
    /// The last worker's own.
    Worker,
    /// This one.
    Code(u8),
}

impl Value for ExitOnStop {
    const EXPECTED: &'static str = "auto, worker, or a code from 0 to 255";
    const EXAMPLE: &'static str = "0";
    fn read(text: &str) -> Result<Self, String> {
        one_of(text, &[("auto", Self::Auto), ("worker", Self::Worker)])
            .or_else(|_| number_in(text, 0..=255).map(Self::Code))
    }
}

/// What a signal to allcores asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Stop in an orderly way.
    Stop,
    /// Kill what is left, now.
    Quit,
    /// Replace every worker, one after the other.
    Reload,
    /// One worker more.
    More,
    /// One worker less.
    Less,
    /// Send this signal to all workers.
    Forward(Signal),
    /// Nothing.
    Ignore,
    /// Suspend the worker in the foreground, and then ourselves. Only the table's own TSTP means it.
    Suspend,
}

/// `SIGNALS`: rows of the signal table that are to be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignalChanges(pub Vec<(Signal, Request)>);

impl Value for SignalChanges {
    const EXPECTED: &'static str = "pairs like QUIT=stop,HUP=forward,USR1=ignore,INT=TERM; an action is stop, quit, reload, \
         forward, ignore, more, less, or another signal to forward instead";
    const EXAMPLE: &'static str = "WINCH=stop,HUP=USR2";
    fn read(text: &str) -> Result<Self, String> {
        let mut changes = Vec::new();
        for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            let (name, action) = pair.split_once('=').ok_or_else(|| format!("'{pair}' has no '='"))?;
            let signal = Signal::parse(name.trim()).ok_or_else(|| format!("'{name}' is no signal"))?;
            // The kernel keeps two for itself, the faults are a process's own, and without CHLD nobody is reaped.
            if [Signal::KILL, Signal::STOP, Signal::CHLD].contains(&signal) || signal.is_fault() {
                return Err(format!("what {signal} does cannot be changed"));
            }
            let request = match action.trim() {
                "stop" => Request::Stop,
                "quit" => Request::Quit,
                "reload" => Request::Reload,
                "more" => Request::More,
                "less" => Request::Less,
                "forward" => Request::Forward(signal),
                "ignore" => Request::Ignore,
                other => Signal::parse(other)
                    .map(Request::Forward)
                    .ok_or_else(|| format!("'{other}' is no action"))?,
            };
            changes.push((signal, request));
        }
        Ok(Self(changes))
    }
}

/// `USER`: names or numbers, looked up later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserName {
    /// A user's name or number.
    pub user: String,
    /// A group's name or number.
    pub group: Option<String>,
}

impl Value for UserName {
    const EXPECTED: &'static str = "uid, uid:gid, name or name:group";
    const EXAMPLE: &'static str = "1000:1000";
    fn read(text: &str) -> Result<Self, String> {
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        let well_formed = |part: &str| !part.is_empty() && !part.contains([':', ' ', '/', '\0']);
        if !well_formed(user) || !group.is_none_or(well_formed) {
            return Err(String::new());
        }
        Ok(Self { user: user.to_owned(), group: group.map(str::to_owned) })
    }
}

/// A number of open files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileLimit(pub u64);

impl Value for FileLimit {
    const EXPECTED: &'static str = "a number of files from 16 to 1073741816";
    const EXAMPLE: &'static str = "65536";
    fn read(text: &str) -> Result<Self, String> {
        number_in(text, 16..=1_073_741_816).map(Self)
    }
}

/// `LOG`: a level, or levels by target.
#[derive(Clone, Debug, PartialEq)]
pub struct LogFilter(pub tracing_subscriber::filter::Targets);

impl Value for LogFilter {
    const EXPECTED: &'static str =
        "error, warn, info, debug, trace, off, or a filter like info,allcores::supervisor=debug";
    const EXAMPLE: &'static str = "debug";
    fn read(text: &str) -> Result<Self, String> {
        let known = |level: &str| level.parse::<tracing_subscriber::filter::LevelFilter>().is_ok();
        // A bare word that is no level would be taken for a target, and silence everything else.
        if let Some(word) = text.split(',').map(str::trim).find(|part| !part.contains('=') && !known(part)) {
            return Err(format!("'{word}' is no level"));
        }
        text.parse().map(Self).map_err(|_| String::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_has_its_ends_in_order() {
        let range = BackoffRange::read("100ms..30s");
        assert_eq!(
            range,
            Ok(BackoffRange { first: Duration::from_millis(100), ceiling: Duration::from_secs(30) })
        );
        assert!(BackoffRange::read("30s..100ms").is_err());
        assert!(BackoffRange::read("..").is_err());
    }

    #[test]
    fn counts_and_shares_have_limits() {
        assert_eq!(WorkerCount::read("1024"), Ok(WorkerCount::Number(1024)));
        assert_eq!(WorkerCount::read("50%"), Ok(WorkerCount::Share(50)));
        for text in ["0", "1025", "-1", "0%", "four", "1.5", "%"] {
            assert!(WorkerCount::read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_wrong_pair_among_the_signals_is_named() {
        assert_eq!(SignalChanges::read("HUP=forward,FOO=stop"), Err("'FOO' is no signal".to_owned()));
        assert_eq!(SignalChanges::read("HUP=explode"), Err("'explode' is no action".to_owned()));
        assert_eq!(SignalChanges::read("KILL=ignore"), Err("what KILL does cannot be changed".to_owned()));
        assert_eq!(SignalChanges::read("CHLD=forward"), Err("what CHLD does cannot be changed".to_owned()));
    }

    #[test]
    fn a_log_filter_that_would_silence_us_is_refused() {
        assert!(LogFilter::read("debug").is_ok());
        assert!(LogFilter::read("info,allcores=trace").is_ok());
        assert_eq!(LogFilter::read("verbose"), Err("'verbose' is no level".to_owned()));
    }
}
