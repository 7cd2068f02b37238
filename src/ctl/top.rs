//! The live table: drawn anew every second, until somebody has seen enough.

use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};

use super::client::{self, Answer};
use super::pause::{Pause, Woken};
use crate::config::limits::Control;
use crate::system::signals::Signals;
use crate::system::terminal;

const PERIOD: Duration = Duration::from_secs(1);
/// The other screen, without a cursor; and back.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// Shows until a key, a signal, or nobody to show it to. The error says why there is nothing to show.
pub fn run(control: &Control, signals: Option<&Signals>) -> Result<Woken, String> {
    // Asked once before the screen is taken: who finds nothing reads it on the screen that stays.
    let mut text = fetch(control)?;
    let screen = io::stdout().is_terminal().then(Screen::take);
    let stdin = io::stdin();
    let mut pause = Pause::new(signals, screen.as_ref().and(Some(stdin.as_fd())));
    loop {
        let drawn = match &screen {
            Some(_) => draw(&text),
            None => writeln!(io::stdout(), "{text}"),
        };
        if drawn.is_err() {
            return Ok(Woken::Enough);
        }
        match pause.take(PERIOD) {
            Woken::Rested => {}
            woken @ (Woken::Enough | Woken::Signalled(_)) => return Ok(woken),
        }
        text = fetch(control)?;
    }
}

/// What is shown.
fn fetch(control: &Control) -> Result<String, String> {
    match client::look(control, "/status", client::TEXT)? {
        Answer::Ok(text) => Ok(text),
        Answer::Unavailable(why_not) => Err(why_not.trim_end().to_owned()),
    }
}

/// As much as fits. What was there is overwritten, line by line, so that nothing flickers.
fn draw(text: &str) -> io::Result<()> {
    let (rows, columns) = terminal::size().unwrap_or((24, 80));
    let mut screen = String::from("\x1b[H");
    for (index, line) in text.lines().take(usize::from(rows)).enumerate() {
        let fits: String = line.chars().take(usize::from(columns)).collect();
        screen.push_str(if index == 0 { "" } else { "\n" });
        screen.push_str(&fits);
        screen.push_str("\x1b[K");
    }
    screen.push_str("\x1b[J");
    let mut out = io::stdout();
    out.write_all(screen.as_bytes())?;
    out.flush()
}

/// The terminal, ours until this is dropped.
struct Screen(Option<Termios>);

impl Screen {
    fn take() -> Self {
        let before = tcgetattr(io::stdin()).ok();
        if let Some(mut keys) = before.clone() {
            // Keys come at once, Ctrl-C among them.
            keys.local_flags.remove(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG);
            let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, &keys);
        }
        show(ENTER);
        Self(before)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        show(LEAVE);
        if let Some(before) = &self.0 {
            let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, before);
        }
    }
}

fn show(text: &str) {
    let mut out = io::stdout();
    // A terminal that is gone needs nothing.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
