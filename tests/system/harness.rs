//! Starts allcores as PID 1 of fresh namespaces, listens to it, and ends it with all that it started.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::kernel;

/// Long enough for the slowest machine; nobody waits for it unless the test fails.
const PATIENCE: Duration = Duration::from_secs(40);
/// What the tests need is installed where distributions put it; a wrapper in somebody's home is not meant.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The program under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_allcores");

/// The path of a file in `fixtures/`.
pub fn fixture(name: &str) -> String {
    format!("{}/tests/system/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// What is to be started.
pub struct Launch {
    binary: OsString,
    outside: Vec<OsString>,
    inside: Vec<OsString>,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
}

/// allcores with this command, as PID 1 of namespaces of its own.
pub fn allcores(command: &[&str]) -> Launch {
    Launch::new(&[&["--"], command].concat())
}

/// allcores with a Python script from `fixtures/`.
pub fn allcores_with(script: &str, arguments: &[&str]) -> Launch {
    allcores(&[&["python3", &fixture(script)], arguments].concat())
}

/// allcores with a line for the shell.
pub fn allcores_sh(line: &str) -> Launch {
    allcores(&["sh", "-c", line])
}

impl Launch {
    /// allcores with these arguments of its own.
    pub fn new(arguments: &[&str]) -> Self {
        let mut launch = Self {
            binary: BINARY.into(),
            outside: Vec::new(),
            inside: Vec::new(),
            arguments: arguments.iter().map(OsString::from).collect(),
            environment: vec![("PATH".into(), PATH.into())],
        };
        launch.outside = words(&["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", "--"]);
        // The usual places are the machine's, which all tests share.
        launch.set("LOG", "debug").set("CONTROL", "off")
    }

    /// A setting, as a variable.
    pub fn set(self, name: &str, value: &str) -> Self {
        self.env(format!("ALLCORES_{name}"), value)
    }

    /// Any variable; a later value replaces an earlier one.
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        let name = name.into();
        self.environment.retain(|(known, _)| *known != name);
        self.environment.push((name, value.into()));
        self
    }

    /// Starts through another program, inside the namespaces.
    pub fn through(mut self, wrapper: &[&str]) -> Self {
        self.inside.splice(0..0, words(wrapper));
        self
    }

    /// Not as PID 1: a shell is, and our exit code is its own.
    pub fn below_an_init(self) -> Self {
        self.through(&["sh", "-c", r#""$@"; exit "$?""#, "sh"])
    }

    /// Without namespaces, for what is about many short runs.
    pub fn without_namespaces(mut self) -> Self {
        self.outside.clear();
        self
    }

    /// Another file of the same program.
    pub fn binary(mut self, path: impl Into<OsString>) -> Self {
        self.binary = path.into();
        self
    }

    /// The whole command line, not yet started. Tests may change its descriptors.
    pub fn command(self) -> Command {
        let mut words = [self.outside, self.inside, vec![self.binary], self.arguments].concat();
        let mut command = Command::new(words.remove(0));
        command.args(words).env_clear().envs(self.environment);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Starts it.
    pub fn start(self) -> Running {
        Running::watch(self.command())
    }

    /// Starts it, and waits for its end.
    pub fn end(self) -> Ended {
        self.start().end()
    }
}

fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

/// What is running. Dropping it kills it and everything below it.
pub struct Running {
    child: Child,
    ended: Receiver<()>,
    started: Instant,
    /// allcores' own log.
    pub log: Lines,
    /// What the workers write.
    pub output: Lines,
}

/// What is left of it.
pub struct Ended {
    /// `None` when a signal ended it.
    pub code: Option<i32>,
    pub log: String,
    pub output: String,
    /// How long it ran.
    pub after: Duration,
}

impl Running {
    /// Starts a command and listens to whatever of it is piped.
    pub fn watch(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let (end, ended) = channel();
        let pid = child.id();
        thread::spawn(move || {
            kernel::wait_for_end_of(pid);
            end.send(())
        });
        let log = Lines::of("log", child.stderr.take());
        let output = Lines::of("output", child.stdout.take());
        Self { child, ended, started: Instant::now(), log, output }
    }

    /// The pid of allcores, out here.
    pub fn pid(&self) -> i32 {
        let own = self.child.id() as i32;
        let is_ours = |pid: &i32| {
            let program = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
            program.file_name().is_some_and(|name| name == "allcores")
        };
        until("allcores runs", || [vec![own], kernel::descendants(own)].concat().into_iter().find(is_ours))
    }

    /// The pid out here of a process that is called `inner` in there.
    pub fn outer(&self, inner: i32) -> i32 {
        let below = kernel::descendants(self.child.id() as i32);
        let found = below.into_iter().find(|pid| kernel::inner_pid(*pid) == Some(inner));
        found.unwrap_or_else(|| panic!("no process is called {inner}"))
    }

    /// Everything that lives below allcores.
    pub fn below(&self) -> Vec<i32> {
        kernel::descendants(self.pid())
    }

    /// Waits until a worker was started and gives its log line and its pid out here.
    pub fn worker(&mut self) -> (String, i32) {
        let line = self.log.next("worker started");
        let pid = self.outer(field(&line, "pid").parse().unwrap());
        (line, pid)
    }

    /// Sends a signal to allcores.
    pub fn send(&self, signal: i32) {
        kernel::send(self.pid(), signal);
    }

    /// Whether it has not ended.
    pub fn is_running(&self) -> bool {
        kernel::is_alive(self.child.id() as i32)
    }

    /// Runs a program where allcores runs, to its end: exit code, output and errors.
    pub fn inside(&self, words: &[&str]) -> (Option<i32>, String, String) {
        let target = self.pid().to_string();
        let enter = ["--target", &target, "--mount", "--pid", "--net", "--"];
        let mut command = Command::new("nsenter");
        command.args(enter).args(words).env_clear().env("PATH", PATH).stdin(Stdio::null());
        let output = command.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    }

    /// Sends TERM, and waits for the end.
    pub fn stop(self) -> Ended {
        self.send(libc::SIGTERM);
        self.end()
    }

    /// Waits for the end.
    pub fn end(mut self) -> Ended {
        if self.ended.recv_timeout(PATIENCE).is_err() {
            panic!("no end; log:\n{}\noutput:\n{}", self.log.text(), self.output.text());
        }
        let after = self.started.elapsed();
        let code = self.child.wait().unwrap().code();
        self.log.finish();
        self.output.finish();
        Ended { code, log: self.log.text(), output: self.output.text(), after }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Its pid is its own until it is reaped, here or in `end`; unshare's end is the end of all below it.
        if let Ok(None) = self.child.try_wait() {
            kernel::kill_if_there(self.child.id() as i32);
            let _ = self.child.wait();
        }
    }
}

/// Lines of a stream, as they come.
pub struct Lines {
    name: &'static str,
    incoming: Receiver<String>,
    seen: Vec<String>,
    next: usize,
}

impl Lines {
    pub fn of(name: &'static str, stream: Option<impl Read + Send + 'static>) -> Self {
        let (sender, incoming) = channel();
        if let Some(stream) = stream {
            thread::spawn(move || {
                for line in BufReader::new(stream).split(b'\n') {
                    let Ok(line) = line else { return };
                    let text = String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned();
                    if sender.send(text).is_err() {
                        return;
                    }
                }
            });
        }
        Self { name, incoming, seen: Vec::new(), next: 0 }
    }

    /// Waits for the next line with this in it. What comes before it is passed over, and stays in `text`.
    pub fn next(&mut self, part: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            while self.next < self.seen.len() {
                self.next += 1;
                if self.seen[self.next - 1].contains(part) {
                    return self.seen[self.next - 1].clone();
                }
            }
            match self.incoming.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => self.seen.push(line),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    let text = self.text();
                    panic!("no line '{part}' in the {}:\n{text}", self.name)
                }
            }
        }
    }

    /// Waits for so many lines with this in it.
    pub fn next_of(&mut self, count: usize, part: &str) -> Vec<String> {
        (0..count).map(|_| self.next(part)).collect()
    }

    /// All that came so far.
    pub fn text(&mut self) -> String {
        self.seen.extend(self.incoming.try_iter());
        self.seen.join("\n")
    }

    /// Reads on to the end of the stream.
    fn finish(&mut self) {
        // A stray process that holds the stream open must not hold the test up for ever.
        while let Ok(line) = self.incoming.recv_timeout(PATIENCE) {
            self.seen.push(line);
        }
    }
}

/// A field of a log line.
pub fn field<'a>(line: &'a str, name: &str) -> &'a str {
    let start = format!(" {name}=");
    let (_, rest) = line.split_once(&start).unwrap_or_else(|| panic!("no {name} in: {line}"));
    rest.split(' ').next().unwrap()
}

/// Looks again and again until there is something, for what nobody tells of.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "never: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}
