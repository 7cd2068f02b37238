//! The one table of settings. From it come the parser, the flags, `--help`, `--check` and the README's table
//! (a test holds the README to it).

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::kinds::{
    Addresses, Backlog, BackoffRange, Balance, ExitOnStop, FileLimit, LogFilter, LogFormat, MaxFailures,
    ModeChoice, Ready, RestartChoice, SignalChanges, Target, UserName, WorkerCount,
};
use super::limits::{Control, CountLimit, Door, Paths, Portion, SizeLimit, TimeLimit};
use super::value::{Patience, Switch, Tristate, Value};
use crate::signal::Signal;

/// What every variable's name begins with.
pub const PREFIX: &str = "ALLCORES_";

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The heading under which it is shown.
    pub group: &'static str,
    /// The field's name, which variable and flag are made of.
    pub field: &'static str,
    /// The text that stands for an unset variable; empty for none.
    pub default: &'static str,
    /// The kind's `EXPECTED`.
    pub expected: &'static str,
    /// A text that is accepted.
    pub example: &'static str,
    /// One sentence.
    pub meaning: &'static str,
}

impl Row {
    /// `ALLCORES_STOP_TIMEOUT`.
    pub fn variable(&self) -> String {
        format!("{PREFIX}{}", self.field.to_ascii_uppercase())
    }

    /// `stop-timeout`.
    pub fn flag(&self) -> String {
        self.field.replace('_', "-")
    }
}

/// A text and what its kind made of it. Reading one never fails, so that one mistake does not hide the next.
#[derive(Debug)]
struct Given<T>(Result<T, String>);

impl<'de, T: Value> Deserialize<'de> for Given<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(T::read(text.trim())))
    }
}

/// What is wrong with one setting: the field and the particular complaint, which may be empty.
pub type Mistake = (&'static str, String);

macro_rules! settings {
    ($($group:literal { $($field:ident: $kind:ty = $default:literal, $meaning:literal;)+ })+) => {
        /// Every setting, as it was asked for.
        #[derive(Clone, Debug)]
        pub struct Settings { $($(#[doc = $meaning] pub $field: $kind,)+)+ }

        /// The table, in the order in which it is shown.
        pub const TABLE: &[Row] = &[$($(Row {
            group: $group,
            field: stringify!($field),
            default: $default,
            expected: <$kind as Value>::EXPECTED,
            example: <$kind as Value>::EXAMPLE,
            meaning: $meaning,
        },)+)+];

        #[derive(Deserialize)]
        struct Raw { $($($field: Option<Given<$kind>>,)+)+ }

        /// Reads all settings from pairs of variable and text. A mistake leaves the default in its place, so
        /// that the settings can be looked at together all the same.
        pub fn read(pairs: Vec<(String, String)>) -> (Settings, Vec<Mistake>) {
            let mut mistakes = Vec::new();
            let raw = envy::prefixed(PREFIX).from_iter::<_, Raw>(pairs).unwrap_or_else(|error| {
                mistakes.push(("", error.to_string()));
                Raw { $($($field: None,)+)+ }
            });
            let settings = Settings { $($($field: match raw.$field {
                Some(Given(Ok(value))) => value,
                Some(Given(Err(complaint))) => {
                    mistakes.push((stringify!($field), complaint));
                    default(stringify!($field), $default)
                }
                None => default(stringify!($field), $default),
            },)+)+ };
            (settings, mistakes)
        }
    };
}

fn default<T: Value>(field: &str, text: &str) -> T {
    T::read(text).unwrap_or_else(|_| panic!("the table's default of {field} is readable, a test says"))
}

settings! {
    "workers" {
        workers: WorkerCount = "auto",
            "How many workers: `auto`, a number from 1 to 1024, or a share of the cores like `50%`. `auto` is one per core \
             that the container really has (affinity, cpuset and quota, rounded up), and 1 in `plain`. `WEB_CONCURRENCY` is honoured \
             when this is unset.";
        mode: ModeChoice = "auto",
            "How workers get their connections: `cluster`, `inherit`, `reuseport`, `ports`, `plain`; `auto` is `cluster` when COMMAND is \
             `node`, else `inherit` with `LISTEN`, `ports` with `FIRST_PORT`, else `plain`.";
        listen: Option<Addresses> = "",
            "The sockets, separated by commas: `8080`, `0.0.0.0:8080`, `[::]:8080`, `tcp://…`, `udp://…`, \
             `unix:/run/app.sock?mode=0660`, `unix:@abstract`; a name may stand in front: `http=8080`. A bare port means dual-stack, or \
             IPv4 where the host has no IPv6.";
        listen_pid: Switch = "on",
            "`off` leaves `LISTEN_PID` out, for commands that fork again before they look.";
        backlog: Backlog = "4096",
            "Connections that may wait to be accepted; cut to `net.core.somaxconn` with a warning when that is smaller.";
        first_port: Option<u16> = "",
            "Mode `ports`: the worker in slot i gets `PORT` = this + i.";
        balance: Balance = "round-robin",
            "Mode `cluster`: `round-robin` (to whoever has the fewest to answer, and among those has waited longest), `source-ip` (sticky by client address), `kernel` (each worker accepts from a \
             socket of its own, the kernel spreads), `shared` (one accept queue for all). `NODE_CLUSTER_SCHED_POLICY=none` means \
             `shared` when this is unset.";
    }
    "lifecycle" {
        restart: RestartChoice = "auto",
            "`always`, `on-failure` or `never`; `auto` is `always` for a pool, and `never` in `plain` with one worker.";
        backoff: BackoffRange = "100ms..30s",
            "How long a slot rests after a failure: first delay and ceiling; doubles; ±20 % jitter; one history per slot.";
        stable_after: Duration = "10s",
            "Ready for this long: the slot's failures are forgotten.";
        max_failures: MaxFailures = "5",
            "Give up when every slot has failed this often since it was last stable; `0` never gives up.";
        ready: Ready = "auto",
            "When a worker is ready: `listening` (a server of its listens) or `message` (it says `ready`), both in `cluster`; `notify` (`READY=1`, \
             which always counts); `fd:N` (a newline on descriptor N); `alive:TIME`, still alive after that time. `auto` is either of the first two in \
             `cluster`, else `alive:1s`.";
        ready_timeout: Duration = "60s",
            "Not ready by then: the worker is stopped, and has failed; `0` waits for ever.";
        watchdog: TimeLimit = "off",
            "Ready, and silent for this long: the worker gets `ABRT`, then `KILL` after 5 s. In `cluster` a free event loop is sign enough; \
             elsewhere `WATCHDOG=1` is.";
        max_lifetime: TimeLimit = "off",
            "Replace a worker older than this, ±10 %, never more than `SURGE` at a time.";
        max_connections: CountLimit = "off",
            "Mode `cluster`: replace a worker that was handed this many, ±10 %.";
        max_memory: SizeLimit = "off",
            "Replace a worker that has more memory than this, twice in ten seconds, with all that it started (PSS, or RSS where that cannot be read): `512MiB`, or `25%` of the container's memory limit.";
        surge: Portion = "1",
            "How many extra workers a roll-out may have at once: a number, or a percentage of the workers, rounded up.";
        reload_on_change: Option<Paths> = "",
            "Files and directories, separated by commas; a change (a ConfigMap's too) rolls the workers.";
        min_ready: Portion = "1",
            "How many ready workers make the container ready: a number, or a percentage of the workers, rounded up.";
        prestart: Option<String> = "",
            "A command run to its end by `/bin/sh -c` before the first worker, as allcores' own user; its failure is our exit code.";
    }
    "stopping" {
        drain_delay: Duration = "0s",
            "After the stop request: still serving, for this long.";
        stop_signal: Signal = "TERM",
            "What a worker is sent.";
        stop_timeout: Patience = "8s",
            "From the stop request, `DRAIN_DELAY` excluded, until what is left is killed; `0` kills at once, `off` waits for ever.";
        stop_message: Switch = "off",
            "Mode `cluster`: send the text `shutdown` first (PM2's convention).";
        exit_on_stop: ExitOnStop = "auto",
            "The exit code of a stop that was asked for: a number, `worker` (the last worker's own), or `auto`: 137 when something had to \
             be killed, else the worker's own in `plain`, else 0.";
        exit_when_unready: TimeLimit = "off",
            "Not ready for this long: stop with code 70, so that plain Docker restarts us.";
    }
    "signals" {
        signals: Option<SignalChanges> = "",
            "Changes to the table of signals: `QUIT=stop,HUP=forward,USR1=ignore,INT=TERM`.";
        forward: Target = "process",
            "`group`: forwarded and stop signals go to the worker's process group.";
    }
    "process" {
        user: Option<UserName> = "",
            "`uid`, `uid:gid`, `name` or `name:group`: workers run as that user; sockets are bound before.";
        no_new_privs: Tristate = "auto",
            "Workers cannot gain privileges by executing a file; `auto` is `on` with `USER`, else `off`.";
        affinity: Switch = "off",
            "`on`: pin worker i to the i-th allowed core.";
        nofile: Option<FileLimit> = "",
            "The workers' limit of open files.";
    }
    "seeing" {
        http: Option<Door> = "",
            "Address of the server for probes and metrics, like `:9180`; unset: none.";
        control: Control = "auto",
            "Path of the control socket, `off`, or `auto`: the first that works of `/run/allcores.sock`, `/tmp/allcores.sock`, `/dev/shm/allcores.sock`.";
        log: LogFilter = "info",
            "`error`, `warn`, `info`, `debug`, `trace`, `off`, or a filter like `info,allcores::supervisor=debug`.";
        log_format: LogFormat = "auto",
            "`text` or `json`; `auto` is `text`.";
        termination_log: Option<PathBuf> = "",
            "Where the reason of the end is written; unset: `/dev/termination-log` when that file exists.";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_and_every_example_is_accepted() {
        let (_, mistakes) = read(Vec::new());
        assert!(mistakes.is_empty(), "{mistakes:?}");
        let pairs = TABLE.iter().map(|row| (row.variable(), row.example.to_owned())).collect();
        let (_, mistakes) = read(pairs);
        assert!(mistakes.is_empty(), "{mistakes:?}");
    }

    #[test]
    fn no_name_can_be_taken_for_one_of_kubernetes() {
        for row in TABLE {
            assert!(!row.field.starts_with("port") && !row.field.starts_with("service"), "{}", row.field);
        }
    }

    #[test]
    fn one_mistake_does_not_hide_the_next() {
        let pairs = vec![
            ("ALLCORES_WORKERS".to_owned(), "four".to_owned()),
            ("ALLCORES_BACKLOG".to_owned(), "0".to_owned()),
        ];
        let (_, mistakes) = read(pairs);
        assert_eq!(mistakes.iter().map(|(field, _)| *field).collect::<Vec<_>>(), ["workers", "backlog"]);
    }
}
