//! What `/status` tells, as lines that people like to read.

use std::fmt::Write;

use super::shown::Shown;

/// The whole.
pub fn render(now: &Shown) -> String {
    let mut text = head(now);
    let has_connections = now.workers.iter().any(|worker| worker.connections.is_some());
    let has_words = now.workers.iter().any(|worker| worker.says.is_some());
    let mut columns = vec![Column::right("SLOT"), Column::right("WORKER"), Column::right("PID")];
    columns.extend([Column::left("STATE"), Column::right("AGE"), Column::right("RESTARTS")]);
    columns.extend([Column::right("MEMORY"), Column::right("CPU"), Column::right("TIME")]);
    columns.extend(has_connections.then(|| Column::right("CONNECTIONS")));
    columns.push(Column::left("LAST DEATH"));
    columns.extend(has_words.then(|| Column::left("SAYS")));
    for worker in &now.workers {
        let mut cells = vec![
            match worker.role.as_str() {
                "replacement" => format!("+{}", worker.slot),
                "former" => format!("-{}", worker.slot),
                _ => worker.slot.to_string(),
            },
            or_dash(worker.worker),
            or_dash(worker.pid),
            worker
                .rests
                .map_or_else(|| worker.state.clone(), |rests| format!("{} {}", worker.state, time(rests))),
            worker.age.map_or_else(dash, time),
            worker.restarts.to_string(),
            worker.memory.map_or_else(dash, size),
            worker.load.map_or_else(dash, |load| format!("{:.0}%", load * 100.0)),
            worker.cpu.map_or_else(dash, time),
        ];
        cells.extend(has_connections.then(|| or_dash(worker.connections)));
        cells.push(worker.last_death.clone().unwrap_or_else(dash));
        cells.extend(has_words.then(|| worker.says.clone().unwrap_or_else(dash)));
        for (column, cell) in columns.iter_mut().zip(cells) {
            column.cells.push(cell);
        }
    }
    for line in 0..=now.workers.len() {
        let cells: Vec<String> = columns.iter().map(|column| column.line(line)).collect();
        let _ = writeln!(text, "{}", cells.join("  ").trim_end());
    }
    text
}

fn head(now: &Shown) -> String {
    let ready = if now.ready { "ready" } else { "not ready" };
    let mut text = format!(
        "allcores {}, mode {}, {}, {ready}: {} of {} workers{}, generation {}, up {}\n",
        now.version,
        now.mode,
        now.phase,
        now.workers_ready,
        now.workers_wanted,
        if now.follows_cores { " (auto)" } else { "" },
        now.generation,
        time(now.uptime),
    );
    let container = &now.container;
    let memory = match (container.memory_used, container.memory_limit) {
        (Some(used), Some(limit)) => format!(", memory {} of {}", size(used), size(limit)),
        (Some(used), None) => format!(", memory {}", size(used)),
        (None, _) => String::new(),
    };
    let _ = write!(text, "container: {} cores{memory}", container.cores);
    if let Some(kills) = container.oom_kills.filter(|kills| *kills > 0) {
        let _ = write!(text, ", {kills} killed for want of memory");
    }
    if let Some(throttled) = container.throttled.filter(|throttled| *throttled > 0.0) {
        let _ = write!(text, ", throttled for {}", time(throttled));
    }
    text.push('\n');
    for listener in &now.listeners {
        let name = if listener.name == listener.address { "" } else { &format!("{} ", listener.name) };
        let waiting = listener.waiting.map_or_else(String::new, |waiting| format!(", {waiting} waiting"));
        let _ = writeln!(text, "socket: {name}{}{waiting}", listener.address);
    }
    match (&now.reload, &now.last_reload) {
        (Some(reload), _) => {
            let _ = writeln!(text, "reload: {} of {} slots", reload.done, reload.of);
        }
        (None, Some(last)) => {
            let (took, ago) = (time(last.took), time(last.ago));
            let _ = writeln!(text, "last reload: {} in {took}, {ago} ago: {}", last.verdict, last.reason);
        }
        (None, None) => {}
    }
    text.push('\n');
    text
}

enum Side {
    Left,
    Right,
}

struct Column {
    side: Side,
    cells: Vec<String>,
}

impl Column {
    fn left(name: &str) -> Self {
        Self { side: Side::Left, cells: vec![name.to_owned()] }
    }

    fn right(name: &str) -> Self {
        Self { side: Side::Right, cells: vec![name.to_owned()] }
    }

    fn line(&self, line: usize) -> String {
        let width = self.cells.iter().map(|cell| cell.chars().count()).max().unwrap_or(0);
        match self.side {
            Side::Left => format!("{:<width$}", self.cells[line]),
            Side::Right => format!("{:>width$}", self.cells[line]),
        }
    }
}

fn dash() -> String {
    "-".to_owned()
}

fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(dash, |value| value.to_string())
}

/// `0.4s`, `59.9s`, `3m07s`, `5h02m`, `12d03h`.
fn time(seconds: f64) -> String {
    let whole = seconds as u64;
    match whole {
        0..60 => format!("{seconds:.1}s"),
        60..3600 => format!("{}m{:02}s", whole / 60, whole % 60),
        3600..86_400 => format!("{}h{:02}m", whole / 3600, whole % 3600 / 60),
        _ => format!("{}d{:02}h", whole / 86_400, whole % 86_400 / 3600),
    }
}

/// `812KiB`, `45.1MiB`, `1.5GiB`.
fn size(bytes: u64) -> String {
    const KIB: f64 = 1024.0;
    let kib = bytes as f64 / KIB;
    match kib {
        ..KIB => format!("{kib:.0}KiB"),
        _ if kib < KIB * KIB => format!("{:.1}MiB", kib / KIB),
        _ => format!("{:.1}GiB", kib / KIB / KIB),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::routes::Sight;
    use crate::observe::sample::Sample;

    #[test]
    fn a_pool_is_shown_in_columns() {
        let sample = Sample::default();
        let mut now = Shown::of(&sample.view(&sample.status, &sample.figures));
        now.version = "1.2.3".to_owned();
        let expected = "\
allcores 1.2.3, mode cluster, running, ready: 1 of 2 workers (auto), generation 2, up 1m00s
container: 2 cores, memory 32.0MiB of 1.0GiB, throttled for 1.0s
socket: we\"b [::]:80, 5 waiting
reload: 0 of 2 slots

SLOT  WORKER  PID  STATE          AGE  RESTARTS  MEMORY  CPU  TIME  CONNECTIONS  LAST DEATH  SAYS
   0       7   17  ready         1.5s         1  1.0MiB  50%  0.2s           40  -           fine
   1       -    -  resting 2.0s     -         1       -    -     -           40  exit 1      fine
  +0      10   20  starting      1.5s         1       -    -     -           40  -           fine
";
        assert_eq!(render(&now), expected);
    }

    #[test]
    fn times_and_sizes_are_short() {
        for (seconds, text) in
            [(0.0, "0.0s"), (59.94, "59.9s"), (187.0, "3m07s"), (18_120.0, "5h02m"), (1e6, "11d13h")]
        {
            assert_eq!(time(seconds), text);
        }
        for (bytes, text) in [(0, "0KiB"), (1 << 19, "512KiB"), (3 << 19, "1.5MiB"), (3 << 29, "1.5GiB")] {
            assert_eq!(size(bytes), text);
        }
    }
}
