//! The environment, sorted once: our settings, those of others that we honour, and what workers inherit.
//!
//! Nothing else in the program looks at the environment. What is read here is a value, so tests pass their own.

use std::ffi::{OsStr, OsString};

use super::settings::{PREFIX, TABLE};

/// The environment by purpose.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// Our own variables with a value, UTF-8 or not.
    pub settings: Vec<(String, OsString)>,
    /// `ALLCORES_…` that are neither settings nor Kubernetes'.
    pub unknown: Vec<String>,
    /// `WEB_CONCURRENCY`, when it has a value.
    pub web_concurrency: Option<OsString>,
    /// Whether `NODE_CLUSTER_SCHED_POLICY` says `none`: Node's own way to ask for a shared socket.
    pub wants_shared: bool,
    /// Sockets that were passed to this very process: their names, in order from descriptor 3.
    pub activation: Vec<String>,
    /// Where our own supervisor wants to hear how we are.
    pub notify_socket: Option<OsString>,
    /// What workers inherit.
    pub inherited: Vec<(OsString, OsString)>,
}

/// Variables that spoke to us and must not speak to our workers: a Node parent's, and systemd's about our own sockets and our
/// own parent (`sd_listen_fds(3)`, `sd_notify(3)`, `sd_watchdog_enabled(3)`).
const OURS_ALONE: [&str; 9] = [
    "NODE_CHANNEL_FD",
    "NODE_CHANNEL_SERIALIZATION_MODE",
    "NODE_UNIQUE_ID",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
];

/// What an allcores above us told us as its worker. Our own workers are told anew.
const OF_A_WORKER: [&str; 3] = ["WORKER", "SLOT", "GENERATION"];

/// Most sockets that we take over; more is no activation but a mistake.
const MOST_SOCKETS: usize = 64;

impl Environment {
    /// Sorts the pairs. `pid` is our own, which `LISTEN_PID` must name.
    pub fn sort(pairs: impl IntoIterator<Item = (OsString, OsString)>, pid: u32) -> Self {
        let mut sorted = Self::default();
        let (mut listen_fds, mut listen_pid, mut names) = (None, None, None);
        for (name, value) in pairs {
            let known = name.to_str().unwrap_or_default();
            match known {
                "LISTEN_FDS" => listen_fds = value.to_str().and_then(|text| text.parse::<usize>().ok()),
                "LISTEN_PID" => listen_pid = value.to_str().and_then(|text| text.parse::<u32>().ok()),
                "LISTEN_FDNAMES" => names = value.to_str().map(str::to_owned),
                "NODE_CLUSTER_SCHED_POLICY" => sorted.wants_shared = value == "none",
                "NOTIFY_SOCKET" if !value.is_empty() => sorted.notify_socket = Some(value.clone()),
                "WEB_CONCURRENCY" if !value.is_empty() => sorted.web_concurrency = Some(value.clone()),
                _ => {}
            }
            match known.strip_prefix(PREFIX) {
                Some(rest) if OF_A_WORKER.contains(&rest) => {}
                Some(rest) if !is_kubernetes(rest, &value) => {
                    match TABLE.iter().any(|row| row.field.eq_ignore_ascii_case(rest)) {
                        true if value.is_empty() => {}
                        true => sorted.settings.push((known.to_owned(), value)),
                        false => sorted.unknown.push(known.to_owned()),
                    }
                }
                Some(_) | None if OURS_ALONE.contains(&known) => {}
                Some(_) | None => sorted.inherited.push((name, value)),
            }
        }
        if listen_pid == Some(pid) {
            let count = listen_fds.unwrap_or(0).min(MOST_SOCKETS);
            let names = names.unwrap_or_default();
            let mut names = names.split(':').map(str::to_owned);
            sorted.activation = (0..count)
                .map(|_| names.next().filter(|name| !name.is_empty()).unwrap_or_else(|| "unknown".into()))
                .collect();
        }
        sorted
    }

    /// Takes a variable away from the workers.
    pub fn withhold(&mut self, name: &str) {
        self.inherited.retain(|(inherited, _)| inherited != OsStr::new(name));
    }
}

/// Whether Kubernetes made this variable for a Service called `allcores` or `allcores-…`: `…SERVICE_HOST`, `…SERVICE_PORT`,
/// `…SERVICE_PORT_<name>`, `…PORT`, `…PORT_<n>_TCP…`, `…PORT_<n>_UDP…`.
fn is_kubernetes(rest: &str, value: &OsStr) -> bool {
    let has_word = |word: &str| rest.starts_with(word) || rest.contains(&format!("_{word}"));
    let numbered = || {
        let mut parts = rest.split('_').skip_while(|part| *part != "PORT").skip(1);
        parts.next().is_some_and(|n| n.parse::<u16>().is_ok())
            && parts.next().is_some_and(|proto| ["TCP", "UDP", "SCTP"].contains(&proto))
    };
    // FIRST_PORT is ours; a Service called `allcores-first` would put a URL there.
    let link = rest == "PORT"
        || rest.ends_with("_PORT") && value.to_str().is_some_and(|value| value.contains("://"));
    has_word("SERVICE_HOST") || has_word("SERVICE_PORT") || link || numbered()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sort(pairs: &[(&str, &str)]) -> Environment {
        Environment::sort(pairs.iter().map(|(name, value)| (name.into(), value.into())), 7)
    }

    #[test]
    fn settings_are_kept_from_workers_and_the_rest_is_not() {
        let sorted = sort(&[
            ("ALLCORES_WORKERS", "2"),
            ("PATH", "/bin"),
            ("NOTIFY_SOCKET", "/x"),
            ("ALLCORES_WROKERS", "2"),
        ]);
        assert_eq!(sorted.settings.len(), 1);
        assert_eq!(sorted.unknown, ["ALLCORES_WROKERS"]);
        assert_eq!(sorted.inherited, [("PATH".into(), "/bin".into())]);
    }

    #[test]
    fn an_allcores_below_another_has_no_unknown_settings() {
        let sorted = sort(&[("ALLCORES_WORKER", "3"), ("ALLCORES_SLOT", "0"), ("ALLCORES_GENERATION", "1")]);
        assert!(sorted.unknown.is_empty() && sorted.inherited.is_empty(), "{sorted:?}");
    }

    #[test]
    fn an_empty_value_is_unset() {
        assert!(sort(&[("ALLCORES_WORKERS", ""), ("WEB_CONCURRENCY", "")]).settings.is_empty());
    }

    #[test]
    fn kubernetes_own_variables_are_passed_on_in_silence() {
        let service = [
            ("ALLCORES_SERVICE_HOST", "10.0.0.1"),
            ("ALLCORES_SERVICE_PORT", "80"),
            ("ALLCORES_SERVICE_PORT_HTTP", "80"),
            ("ALLCORES_PORT", "tcp://10.0.0.1:80"),
            ("ALLCORES_PORT_80_TCP", "tcp://10.0.0.1:80"),
            ("ALLCORES_PORT_80_TCP_ADDR", "10.0.0.1"),
            ("ALLCORES_PORT_53_UDP_PORT", "53"),
            ("ALLCORES_WEB_SERVICE_HOST", "10.0.0.1"),
            ("ALLCORES_FIRST_PORT", "tcp://10.0.0.1:80"),
        ];
        let sorted = sort(&service);
        assert_eq!(sorted.unknown, [""; 0]);
        assert_eq!(sorted.inherited.len(), service.len());
        assert_eq!(sort(&[("ALLCORES_FIRST_PORT", "9000")]).settings.len(), 1);
    }

    #[test]
    fn sockets_count_only_when_they_are_meant_for_us() {
        let passed = [("LISTEN_FDS", "2"), ("LISTEN_PID", "7"), ("LISTEN_FDNAMES", "http")];
        assert_eq!(sort(&passed).activation, ["http", "unknown"]);
        assert!(sort(&[("LISTEN_FDS", "2"), ("LISTEN_PID", "8")]).activation.is_empty());
        assert!(sort(&[("LISTEN_FDS", "2")]).activation.is_empty());
    }
}
