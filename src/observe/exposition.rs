//! How metrics are written: Prometheus text 0.0.4, or OpenMetrics 1.0.0 for who asks for it.
//!
//! The two differ in the names of counters' families, in information, and in the last line.

use std::fmt::{Display, Write};
use std::time::Duration;

/// A form in which metrics are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposition {
    /// Prometheus text, version 0.0.4.
    Prometheus,
    /// OpenMetrics text, version 1.0.0.
    OpenMetrics,
}

/// What kind of metric it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Rises, or begins again.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Counts by size.
    Histogram,
    /// Is 1, and tells something by its labels.
    Info,
}

impl Kind {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Info => "info",
        }
    }
}

/// The text so far.
pub struct Writer {
    text: String,
    exposition: Exposition,
}

/// Samples of one metric.
pub struct Samples<'a> {
    text: &'a mut String,
    name: &'a str,
}

impl Writer {
    /// Nothing yet.
    pub fn new(exposition: Exposition) -> Self {
        Self { text: String::new(), exposition }
    }

    /// One metric, with its samples. `name` is that of the samples.
    pub fn family(&mut self, name: &str, kind: Kind, help: &str, samples: impl FnOnce(&mut Samples)) {
        let (family, word) = match (self.exposition, kind) {
            (Exposition::OpenMetrics, Kind::Counter) => {
                (name.strip_suffix("_total").unwrap_or(name), kind.name())
            }
            (Exposition::OpenMetrics, Kind::Info) => {
                (name.strip_suffix("_info").unwrap_or(name), kind.name())
            }
            (Exposition::Prometheus, Kind::Info) => (name, Kind::Gauge.name()),
            (Exposition::OpenMetrics, Kind::Gauge | Kind::Histogram)
            | (Exposition::Prometheus, Kind::Counter | Kind::Gauge | Kind::Histogram) => (name, kind.name()),
        };
        let _ = write!(self.text, "# HELP {family} {help}\n# TYPE {family} {word}\n");
        samples(&mut Samples { text: &mut self.text, name });
    }

    /// All of it.
    pub fn finish(mut self) -> String {
        if self.exposition == Exposition::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }
}

impl Samples<'_> {
    /// One without a label.
    pub fn plain(&mut self, value: impl Display) {
        let _ = writeln!(self.text, "{} {value}", self.name);
    }

    /// One with a label.
    pub fn labelled(&mut self, label: &str, label_value: impl Display, value: impl Display) {
        self.sample("", label, label_value, value);
    }

    /// A histogram of times, each counted below the first bound that is not shorter, or behind the last.
    pub fn histogram(&mut self, bounds: &[Duration], counts: &[u64], sum: Duration) {
        let mut count = 0;
        for (index, number) in counts.iter().enumerate() {
            count += number;
            match bounds.get(index) {
                Some(bound) => {
                    self.sample("_bucket", "le", format_args!("{:?}", bound.as_secs_f64()), count);
                }
                None => self.sample("_bucket", "le", "+Inf", count),
            }
        }
        let _ = write!(self.text, "{0}_sum {1}\n{0}_count {count}\n", self.name, sum.as_secs_f64());
    }

    fn sample(&mut self, suffix: &str, label: &str, label_value: impl Display, value: impl Display) {
        let label_value = escape(&label_value.to_string());
        let _ = writeln!(self.text, "{}{suffix}{{{label}=\"{label_value}\"}} {value}", self.name);
    }
}

/// Backslash, quote and line end, as both forms have it.
fn escape(text: &str) -> String {
    text.replace('\\', r"\\").replace('"', r#"\""#).replace('\n', r"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(exposition: Exposition) -> String {
        let mut writer = Writer::new(exposition);
        writer.family("a_total", Kind::Counter, "Things.", |samples| samples.labelled("of", "\"x\\\n", 3));
        writer.family("b_seconds", Kind::Histogram, "Times.", |samples| {
            let bounds = [Duration::from_millis(1), Duration::from_secs(1)];
            samples.histogram(&bounds, &[1, 2, 1], Duration::from_millis(9500));
        });
        writer.family("c_info", Kind::Info, "Facts.", |samples| samples.labelled("version", "1", 1));
        writer.finish()
    }

    #[test]
    fn prometheus_text_names_families_as_their_samples() {
        let expected = "# HELP a_total Things.\n# TYPE a_total counter\na_total{of=\"\\\"x\\\\\\n\"} 3\n\
            # HELP b_seconds Times.\n# TYPE b_seconds histogram\n\
            b_seconds_bucket{le=\"0.001\"} 1\nb_seconds_bucket{le=\"1.0\"} 3\nb_seconds_bucket{le=\"+Inf\"} 4\n\
            b_seconds_sum 9.5\nb_seconds_count 4\n\
            # HELP c_info Facts.\n# TYPE c_info gauge\nc_info{version=\"1\"} 1\n";
        assert_eq!(written(Exposition::Prometheus), expected);
    }

    #[test]
    fn openmetrics_names_families_without_their_suffix_and_ends() {
        let text = written(Exposition::OpenMetrics);
        for line in ["# TYPE a counter\n", "a_total{", "# TYPE c info\n", "c_info{"] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
        assert!(text.ends_with("\n# EOF\n"));
    }
}
