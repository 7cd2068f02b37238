//! Our own log: one event a line on standard error, through tracing, which never blocks the loop.
//!
//! A line that standard error has no room for is dropped and counted; the next that fits is preceded by the count.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, SystemTime};

use nix::fcntl::{OFlag, open};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;
use tracing::field::Field;
use tracing::{Event, Subscriber, debug, error, info, warn};
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;

use crate::config::Word;
use crate::config::kinds::{LogFilter, LogFormat};
use crate::ids::Pid;
use crate::supervisor::action::{Cause, Death, Notice};
use crate::supervisor::event::Child;
use crate::supervisor::status::ReloadVerdict;

/// A pipe with room takes this much at once, whole (`pipe(7)`: `PIPE_BUF`).
const LONGEST_LINE: usize = 4096;

/// Makes every line from now on go to standard error in this form. Once per process; later calls change nothing.
pub fn start(format: LogFormat, filter: &LogFilter) {
    if let Some(terminal) = reopen_terminal() {
        let _ = TERMINAL.set(terminal);
    }
    let registry = tracing_subscriber::registry().with(filter.0.clone());
    let layer = tracing_subscriber::fmt::layer();
    let _ = match format {
        LogFormat::Json => {
            let layer = layer
                .json()
                .flatten_event(true)
                .with_target(false)
                .with_current_span(false)
                .with_span_list(false);
            tracing::subscriber::set_global_default(
                registry.with(layer.with_timer(Clock).with_writer(Stderr { json: true })),
            )
        }
        LogFormat::Auto | LogFormat::Text => {
            let layer = layer.with_ansi(false).event_format(Line).fmt_fields(debug_fn(field));
            let layer = layer.with_writer(Stderr { json: false });
            tracing::subscriber::set_global_default(registry.with(layer))
        }
    };
}

/// `2026-11-23T04:05:06.789Z`.
struct Clock;

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", humantime::format_rfc3339_millis(SystemTime::now()))
    }
}

impl FormatTime for Clock {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        write!(writer, "{self}")
    }
}

/// `TIME LEVEL message field=value …`.
struct Line;

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        write!(writer, "{Clock} {} ", event.metadata().level())?;
        context.field_format().format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}

/// One field: `name=value`, in quotes when it would not read as one word.
fn field(writer: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    let text = format!("{value:?}");
    if field.name() == "message" {
        return writer.write_str(&text);
    }
    let is_word = text.starts_with('"') || !text.contains([' ', '"', '=', '\n']);
    if is_word { write!(writer, " {field}={text}") } else { write!(writer, " {field}={text:?}") }
}

/// Standard error, without waiting for it.
#[derive(Clone, Copy)]
struct Stderr {
    json: bool,
}

static DROPPED: AtomicU64 = AtomicU64::new(0);

impl Stderr {
    fn dropped_line(self, count: u64) -> String {
        if self.json {
            format!(
                "{{\"timestamp\":\"{Clock}\",\"level\":\"WARN\",\"message\":\"log lines dropped\",\"count\":{count}}}\n"
            )
        } else {
            format!("{Clock} WARN log lines dropped count={count}\n")
        }
    }

    /// What there is room for, as a line of the same form: text that ends early, or an object that holds its beginning.
    fn cut(self, line: &[u8]) -> Vec<u8> {
        let line = String::from_utf8_lossy(line);
        let cut = if self.json {
            // Escaping doubles it at worst, and the rest of the object is short.
            let beginning = &line[..line.floor_char_boundary(LONGEST_LINE / 2 - 100)];
            let beginning = beginning.replace('\\', "\\\\").replace('"', "\\\"");
            format!(
                "{{\"timestamp\":\"{Clock}\",\"level\":\"WARN\",\"message\":\"log line cut\",\"beginning\":\"{}\"}}\n",
                beginning.trim_end()
            )
        } else {
            format!("{}\n", &line[..line.floor_char_boundary(LONGEST_LINE - 1)])
        };
        cut.into_bytes()
    }
}

impl Write for Stderr {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let dropped = DROPPED.swap(0, Ordering::Relaxed);
        if dropped > 0 && !try_write(self.dropped_line(dropped).as_bytes()) {
            DROPPED.fetch_add(dropped, Ordering::Relaxed);
        }
        let fits = if line.len() > LONGEST_LINE { try_write(&self.cut(line)) } else { try_write(line) };
        if !fits {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The terminal that standard error is, opened once more so as not to wait: one that nobody reads says that it has room
/// for a byte, and then waits for room for the rest. The flag on standard error itself would be our workers' as well.
static TERMINAL: OnceLock<OwnedFd> = OnceLock::new();

/// The rest of a line that the terminal took in part. It goes before anything else.
static UNFINISHED: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// `None` when it is no terminal, or one that is not ours to open: then [`write_some`] asks for room, and hopes.
fn reopen_terminal() -> Option<OwnedFd> {
    let flags = OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    io::stderr().is_terminal().then(|| open("/proc/self/fd/2", flags, Mode::empty()).ok()).flatten()
}

/// Whether the line was written, or will be before the next.
fn try_write(line: &[u8]) -> bool {
    let Ok(mut unfinished) = UNFINISHED.lock() else { return false };
    let taken = write_some(&unfinished);
    unfinished.drain(..taken);
    if !unfinished.is_empty() {
        return false;
    }
    let taken = write_some(line);
    if taken > 0 {
        unfinished.extend_from_slice(&line[taken..]);
    }
    taken > 0
}

/// How much was written. What says that it has room, and is no terminal, takes at least [`LONGEST_LINE`] bytes.
fn write_some(bytes: &[u8]) -> usize {
    let stderr = io::stderr();
    let fd = TERMINAL.get().map_or(stderr.as_fd(), AsFd::as_fd);
    let mut poll_fd = [PollFd::new(fd, PollFlags::POLLOUT)];
    let has_room = poll(&mut poll_fd, PollTimeout::ZERO).is_ok()
        && poll_fd[0].revents().is_some_and(|events| events.contains(PollFlags::POLLOUT));
    if has_room && !bytes.is_empty() { nix::unistd::write(fd, bytes).unwrap_or(0) } else { 0 }
}

impl<'a> MakeWriter<'a> for Stderr {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        *self
    }
}

/// A time as one word, no finer than a millisecond: `412ms`, `1.830s`, `1h30m`.
fn short(time: Duration) -> String {
    match time.as_millis() {
        millis @ 0..1_000 => format!("{millis}ms"),
        1_000..60_000 => format!("{:.3}s", time.as_secs_f64()),
        _ => humantime::format_duration(Duration::from_secs(time.as_secs())).to_string().replace(' ', ""),
    }
}

/// One line for each notice.
#[expect(clippy::too_many_lines, reason = "a table: one entry for each notice")]
pub fn notice(notice: &Notice) {
    match notice {
        Notice::Started { worker, slot, pid } => {
            debug!(worker = worker.0, slot = slot.0, pid = pid.raw(), "worker started")
        }
        Notice::Ready { worker, slot, pid, after } => {
            info!(worker = worker.0, slot = slot.0, pid = pid.raw(), after = %short(*after), "worker ready");
        }
        Notice::NotReady { worker, slot, pid, after, awaited } => warn!(
            worker = worker.0,
            slot = slot.0,
            pid = pid.raw(),
            after = %short(*after),
            "worker is not ready in time: {}",
            missed(*awaited)
        ),
        Notice::Died(death) => died(death),
        Notice::SpawnFailed { child: Child::Worker(worker), failure } => {
            error!(worker = worker.0, reason = %failure.reason, "worker cannot be started");
        }
        Notice::SpawnFailed { child: Child::Prestart, failure } => {
            error!(reason = %failure.reason, "PRESTART cannot be run")
        }
        Notice::Resting { slot, delay, failures } => {
            warn!(slot = slot.0, delay = %short(*delay), failures, "slot rests after a failure");
        }
        Notice::PrestartEnded(status) if status.is_success() => info!("PRESTART done"),
        Notice::PrestartEnded(status) => error!(status = %status, "PRESTART failed"),
        Notice::Draining { signal, delay } => {
            let signal = signal.map(tracing::field::display);
            info!(signal, delay = %short(*delay), "stop asked for; serving on");
        }
        Notice::Stopping { reason, workers } => info!(reason = %reason, workers, "stopping"),
        Notice::StoppingDescendants => info!("workers are gone; stopping what they left behind"),
        Notice::Killing { worker, slot, pid } => {
            warn!(worker = worker.0, slot = slot.0, pid = pid.raw(), "worker still there, killing it");
        }
        Notice::Immortal => error!("something survives KILL; leaving it behind"),
        Notice::Forwarded { received, sent, workers } => {
            debug!(received = %received, sent = %sent, workers, "signal forwarded")
        }
        Notice::Ignored(signal) => debug!(signal = %signal, "signal ignored"),
        Notice::Hung { worker, slot, pid, silent } => warn!(
            worker = worker.0,
            slot = slot.0,
            pid = pid.raw(),
            silent = %short(*silent),
            "worker is hung; ABRT now, KILL in 5s"
        ),
        Notice::Available { ready, wanted, after } => {
            info!(ready, wanted, after = %short(*after), "enough workers are ready")
        }
        Notice::Unavailable { ready, wanted } => warn!(ready, wanted, "too few workers are ready"),
        Notice::Reloading { generation, workers } => info!(generation = generation.0, workers, "reloading"),
        Notice::Reloaded { verdict: ReloadVerdict::Done, generation, reason, took } => {
            info!(generation = generation.0, took = %short(*took), reason = %reason, "reload done");
        }
        Notice::Reloaded { verdict, generation, reason, took } => warn!(
            generation = generation.0,
            took = %short(*took),
            reason = %reason,
            "reload {}; the other workers stay",
            verdict.name()
        ),
        Notice::Recycling { slot, limit } => {
            info!(slot = slot.0, limit = limit.name(), "worker came to its limit; replacing it")
        }
        Notice::ReplacementFailed { slot, reason } => {
            warn!(slot = slot.0, reason = %reason, "replacement did not become ready")
        }
        Notice::Scaled { from, to, why } => info!(from, to, why, "number of workers changed"),
        Notice::Refused { what, reason } => warn!(reason = %reason, "{what} refused"),
        Notice::Stalled { slot, waiting } => {
            warn!(slot = slot.0, waiting, "worker does not accept; new connections go to others")
        }
        Notice::Accepting(slot) => info!(slot = slot.0, "worker accepts again"),
        Notice::Changed(path) => info!(path = %path.display(), "path changed"),
        Notice::Stranger(pid) => {
            debug!(pid = pid.map(Pid::raw), "notification from a process that belongs to no worker");
        }
        Notice::MainPid { worker, pid, is_its_own } => info!(
            worker = worker.0,
            main_pid = pid.raw(),
            is_its_own,
            "worker names another main process; signals still go to the one that was started"
        ),
    }
}

/// What a worker was to do, and did not.
fn missed(awaited: Word) -> &'static str {
    match awaited {
        Word::Listening | Word::Any => "no server of its listens, or it is not the process that was started",
        Word::Message => "it has not sent `ready`",
        Word::Notify => "it has not sent READY=1 to NOTIFY_SOCKET",
        Word::Newline => "it has not written a newline to the descriptor of READY",
    }
}

fn died(death: &Death) {
    let (code, signal, core) = match death.status {
        crate::exit::ExitStatus::Code(code) => (Some(code), None, false),
        crate::exit::ExitStatus::Signal { signal, core_dumped } => {
            (None, Some(signal.to_string()), core_dumped)
        }
    };
    macro_rules! line {
        ($level:ident) => {
            $level!(
                worker = death.worker.0,
                slot = death.slot.0,
                pid = death.pid.raw(),
                age = %short(death.age),
                code,
                signal = signal.as_deref().map(tracing::field::display),
                core_dumped = core.then_some(true),
                cause = %death.cause.name(),
                "worker died"
            )
        };
    }
    match death.cause {
        Cause::Crashed | Cause::Oom | Cause::ReadyTimeout | Cause::Watchdog => line!(warn),
        Cause::Exited | Cause::Stopped | Cause::Memory | Cause::Lifetime => line!(info),
    }
}
