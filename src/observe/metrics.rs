//! Every metric: the one table. From it come `/metrics` and the README's table.
//!
//! A label `slot` means the slot's own worker. What the kernel counts over a process's life begins again with its replacement, which
//! Prometheus takes for what it is, a counter that was reset. What can happen has a series from the start.

use std::collections::BTreeMap;
use std::time::Duration;

use super::exposition::{Exposition, Kind, Samples, Writer};
use super::figures::{Usage, View};
use super::http::{Code, Form, Response};
use super::probes::{STATES, count, current};
use crate::cluster::figures::Histogram;
use crate::supervisor::action::Cause;
use crate::supervisor::status::{ReloadVerdict, WorkerStatus};

/// One row of the table.
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// Its kind.
    pub kind: Kind,
    /// Its label, or nothing.
    pub label: &'static str,
    /// One sentence.
    pub help: &'static str,
    samples: fn(&View, &mut Samples),
}

/// Why a worker may be gone.
const CAUSES: [Cause; 8] = [
    Cause::Crashed,
    Cause::Exited,
    Cause::Oom,
    Cause::ReadyTimeout,
    Cause::Watchdog,
    Cause::Memory,
    Cause::Lifetime,
    Cause::Stopped,
];

/// How a reload may end.
const VERDICTS: [ReloadVerdict; 3] = [ReloadVerdict::Done, ReloadVerdict::Failed, ReloadVerdict::Ended];

macro_rules! metrics {
    ($($name:literal $kind:ident $label:literal $help:literal $samples:expr;)+) => {
        /// The table, in the order in which it is written.
        pub const TABLE: &[Metric] = &[$(Metric {
            name: concat!("allcores_", $name),
            kind: Kind::$kind,
            label: $label,
            help: $help,
            samples: $samples,
        },)+];
    };
}

metrics! {
    "workers" Gauge "state" "Slots whose worker is in this state." |view, samples| {
        for state in STATES {
            samples.labelled("state", state, count(view.status, state));
        }
    };
    "workers_wanted" Gauge "" "How many workers there are to be." |view, samples| samples.plain(view.status.wanted);
    "ready" Gauge "" "Whether enough workers are ready, and no stop was asked for." |view, samples| {
        samples.plain(u8::from(view.status.ready));
    };
    "restarts_total" Counter "cause" "Workers that were gone while no stop was asked for, by cause." |view, samples| {
        for cause in CAUSES {
            samples.labelled("cause", cause.name(), view.status.deaths.get(&cause).unwrap_or(&0));
        }
    };
    "worker_uptime_seconds" Gauge "slot" "How long the slot's worker has been running." |view, samples| {
        each_worker(view, samples, |worker| worker.age.map(seconds));
    };
    "worker_cpu_seconds_total" Counter "slot" "Time of cores that the slot's worker has used." |view, samples| {
        each_usage(view, samples, |usage| usage.cpu.map(seconds));
    };
    "worker_memory_bytes" Gauge "slot" "Memory that the slot's worker has." |view, samples| {
        each_usage(view, samples, |usage| usage.memory.map(|bytes| bytes as f64));
    };
    "worker_open_fds" Gauge "slot" "Descriptors that the slot's worker has." |view, samples| {
        each_usage(view, samples, |usage| usage.open_files.map(f64::from));
    };
    "worker_event_loop_lag_seconds" Gauge "slot" "How late the event loop of the slot's worker was when it was last asked (cluster)." |view, samples| {
        each_worker(view, samples, |worker| worker.lag.map(seconds));
    };
    "handoffs_total" Counter "slot" "Connections that the slot's workers took, one after the other (cluster)." |view, samples| {
        for (slot, taken) in view.figures.handoffs.iter().flat_map(|handoffs| &handoffs.passed.handoffs) {
            samples.labelled("slot", slot, taken);
        }
    };
    "handoff_seconds" Histogram "le" "Time from the offer of a connection until its worker took it (cluster)." |view, samples| {
        if let Some(handoffs) = &view.figures.handoffs {
            let Histogram { counts, sum } = &handoffs.passed.seconds;
            samples.histogram(&Histogram::BOUNDS, counts, *sum);
        }
    };
    "handoffs_pending" Gauge "" "Connections that were accepted and that no worker has yet (cluster)." |view, samples| {
        if let Some(handoffs) = &view.figures.handoffs {
            samples.plain(handoffs.pending);
        }
    };
    "accept_queue_depth" Gauge "listener" "Connections that wait to be accepted." |view, samples| {
        // Nothing keeps two sockets from having one name.
        let mut depths = BTreeMap::new();
        for listener in &view.figures.listeners {
            if let Some(waiting) = listener.waiting {
                *depths.entry(&listener.name).or_insert(0) += waiting;
            }
        }
        for (name, depth) in depths {
            samples.labelled("listener", name, depth);
        }
    };
    "accept_errors_total" Counter "error" "Connections that could not be accepted (cluster)." |view, samples| {
        for (error, number) in view.figures.handoffs.iter().flat_map(|handoffs| &handoffs.passed.accept_errors) {
            samples.labelled("error", error.name(), number);
        }
    };
    "reloads_total" Counter "verdict" "Reloads that ended." |view, samples| {
        for verdict in VERDICTS {
            samples.labelled("verdict", verdict.name(), view.status.reloads.get(&verdict).unwrap_or(&0));
        }
    };
    "reload_seconds" Gauge "" "How long the last reload took." |view, samples| {
        if let Some(last) = &view.status.last_reload {
            samples.plain(seconds(last.took));
        }
    };
    "orphans_reaped_total" Counter "" "Adopted processes that were reaped." |view, samples| {
        samples.plain(view.status.orphans);
    };
    "signals_total" Counter "signal" "Signals that allcores was sent." |view, samples| {
        for (signal, number) in &view.status.signals {
            samples.labelled("signal", signal, number);
        }
    };
    "oom_kills_total" Counter "" "Processes of the container that the kernel killed for want of memory." |view, samples| {
        optional(samples, view.figures.container.oom_kills.map(|kills| kills as f64));
    };
    "cpu_throttled_seconds_total" Counter "" "How long the container's quota kept it from running." |view, samples| {
        optional(samples, view.figures.container.throttled.map(seconds));
    };
    "cores" Gauge "" "Cores that the container has." |view, samples| samples.plain(view.figures.container.cores);
    "memory_limit_bytes" Gauge "" "Memory that the container may have." |view, samples| {
        optional(samples, view.figures.container.memory_limit.map(|bytes| bytes as f64));
    };
    "build_info" Info "version" "Which allcores this is." |_, samples| {
        samples.labelled("version", env!("CARGO_PKG_VERSION"), 1);
    };
}

/// The answer of `/metrics`.
pub fn response(view: &View, form: Form) -> Response {
    let exposition = match form {
        Form::Usual | Form::Text => Exposition::Prometheus,
        Form::OpenMetrics => Exposition::OpenMetrics,
    };
    let mut writer = Writer::new(exposition);
    for metric in TABLE {
        writer.family(metric.name, metric.kind, metric.help, |samples| (metric.samples)(view, samples));
    }
    let content_type = match exposition {
        Exposition::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        Exposition::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
    };
    Response { code: Code::Ok, content_type, extra: None, body: writer.finish() }
}

/// One sample for each slot of whose worker it is known.
fn each_worker(view: &View, samples: &mut Samples, value: impl Fn(&WorkerStatus) -> Option<f64>) {
    for worker in current(view.status) {
        if let Some(value) = value(worker) {
            samples.labelled("slot", worker.slot, value);
        }
    }
}

fn each_usage(view: &View, samples: &mut Samples, value: impl Fn(&Usage) -> Option<f64>) {
    each_worker(view, samples, |worker| {
        let (_, pid) = worker.process?;
        view.figures.usage.get(&pid).and_then(&value)
    });
}

fn optional(samples: &mut Samples, value: Option<f64>) {
    if let Some(value) = value {
        samples.plain(value);
    }
}

fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}

/// The README's table of metrics, as Markdown.
pub fn markdown() -> String {
    let mut text = String::from("| metric | kind | label | meaning |\n|---|---|---|---|\n");
    for Metric { name, kind, label, help, .. } in TABLE {
        let label = if label.is_empty() { String::new() } else { format!("`{label}`") };
        text.push_str(&format!("| `{name}` | {} | {label} | {help} |\n", kind.name()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::routes::Sight;
    use crate::observe::sample::Sample;

    #[test]
    fn the_metrics_of_a_pool() {
        let mut sample = Sample::default();
        let twin = sample.figures.listeners[0].clone();
        sample.figures.listeners.push(twin);
        let text = response(&sample.view(&sample.status, &sample.figures), Form::Usual).body;
        for line in [
            r#"allcores_workers{state="ready"} 1"#,
            r#"allcores_workers{state="draining"} 0"#,
            "allcores_workers_wanted 2",
            "allcores_ready 1",
            r#"allcores_restarts_total{cause="crashed"} 1"#,
            r#"allcores_restarts_total{cause="oom"} 0"#,
            r#"allcores_worker_uptime_seconds{slot="0"} 1.5"#,
            r#"allcores_worker_cpu_seconds_total{slot="0"} 0.25"#,
            r#"allcores_worker_memory_bytes{slot="0"} 1048576"#,
            r#"allcores_worker_open_fds{slot="0"} 12"#,
            r#"allcores_worker_event_loop_lag_seconds{slot="0"} 0.002"#,
            r#"allcores_handoffs_total{slot="0"} 40"#,
            r#"allcores_handoff_seconds_bucket{le="0.1"} 2"#,
            r#"allcores_handoff_seconds_bucket{le="+Inf"} 3"#,
            "allcores_handoff_seconds_count 3",
            "allcores_handoffs_pending 1",
            r#"allcores_accept_queue_depth{listener="we\"b"} 10"#,
            r#"allcores_accept_errors_total{error="EMFILE"} 2"#,
            r#"allcores_reloads_total{verdict="done"} 1"#,
            r#"allcores_reloads_total{verdict="failed"} 0"#,
            "allcores_reload_seconds 2",
            "allcores_orphans_reaped_total 3",
            r#"allcores_signals_total{signal="HUP"} 1"#,
            "allcores_oom_kills_total 0",
            "allcores_cpu_throttled_seconds_total 1",
            "allcores_cores 2",
            "allcores_memory_limit_bytes 1073741824",
        ] {
            assert!(text.lines().any(|written| written == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn every_series_is_there_once() {
        let sample = Sample::default();
        let text = response(&sample.view(&sample.status, &sample.figures), Form::OpenMetrics).body;
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        let mut names: Vec<&str> =
            samples.filter_map(|line| line.rsplit_once(' ')).map(|(name, _)| name).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all, "{text}");
    }
}
