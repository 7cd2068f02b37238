//! What the test crates share: programs that are started, listened to, and waited for with a deadline.

#![allow(dead_code, reason = "each crate uses its part")]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// How long anything may take that should be quick, on a machine that is busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Looks again and again, for things that tell nobody when they change. Panics with `what` when it is in vain.
pub fn wait_until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain until {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// The value of ` name=` in a line of the log.
pub fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = line.split_once(&format!(" {name}="))?;
    rest.split(' ').next()
}

/// What a program that ran to its end had to say.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code, or 128 + the signal.
    pub code: i32,
    /// What it wrote to its standard output.
    pub output: String,
    /// Everything that it wrote, standard output first.
    pub text: String,
}

/// Runs a program to its end.
pub fn run(command: &mut Command) -> Ended {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ended { code: code(output.status), output: text.clone(), text: text + &errors }
}

/// Runs a program that has to succeed, and gives its standard output, without the last line end.
pub fn must(command: &mut Command) -> String {
    let ended = run(command);
    assert_eq!(ended.code, 0, "{command:?} failed:\n{}", ended.text);
    ended.output.trim_end().to_owned()
}

fn code(status: std::process::ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

/// The lines that a program has written so far, and a bell that rings for each.
#[derive(Default)]
struct Output {
    written: Mutex<Written>,
    more: Condvar,
}

#[derive(Default)]
struct Written {
    lines: Vec<String>,
    /// Nobody can write any more.
    is_all: bool,
}

/// A program that runs. It is killed when this is dropped.
pub struct Program {
    child: Child,
    output: Arc<Output>,
}

impl Program {
    /// Starts it; its output and its errors become one stream of lines.
    pub fn start(mut command: Command) -> Self {
        let (reader, writer) = std::io::pipe().unwrap();
        command.stdin(Stdio::null()).stdout(writer.try_clone().unwrap()).stderr(writer);
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        // Ours are the last writing ends but the program's own: without them the stream ends when it does.
        drop(command);
        let output = Arc::new(Output::default());
        let heard = Arc::clone(&output);
        thread::spawn(move || {
            for line in BufReader::new(reader).split(b'\n').map_while(Result::ok) {
                heard.written.lock().unwrap().lines.push(String::from_utf8_lossy(&line).into_owned());
                heard.more.notify_all();
            }
            heard.written.lock().unwrap().is_all = true;
            heard.more.notify_all();
        });
        Self { child, output }
    }

    /// The process that we started.
    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// All lines so far.
    pub fn lines(&self) -> Vec<String> {
        self.output.written.lock().unwrap().lines.clone()
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for a line that has all these words in it.
    pub fn wait_for_line(&self, words: &[&str]) -> String {
        let found = |written: &Written| {
            written.lines.iter().find(|line| words.iter().all(|word| line.contains(word))).cloned()
        };
        let written = self.output.written.lock().unwrap();
        let may_come = |written: &mut Written| found(written).is_none() && !written.is_all;
        let (written, _) = self.output.more.wait_timeout_while(written, PATIENCE, may_come).unwrap();
        let (line, text) = (found(&written), written.lines.join("\n"));
        // Whoever is dropped in a panic may want to say what was written.
        drop(written);
        line.unwrap_or_else(|| panic!("no line with {words:?} in:\n{text}"))
    }

    /// Waits for its end, and gives its exit code.
    pub fn wait(&mut self) -> i32 {
        code(wait_until("the program ends", || self.child.try_wait().unwrap()))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
