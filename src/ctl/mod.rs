//! `allcores ctl`: runs one task, and says by its exit code how that went. It needs nothing but this program, no shell, no file.
//!
//! Decides nothing about workers: it asks who does.

mod client;
mod install;
mod pause;
pub mod task;
mod top;

use std::io::{self, Write};

use crate::config::limits::Control;
use crate::config::value::Value;
use crate::system::signals::{self, Signals};
use client::{Answer, Verdict};
use pause::{Pause, Woken};
use task::{Form, Task};

/// What was asked for did not come about.
pub const FAILED: u8 = 1;

/// Where to look for whom to talk to: as a flag or the variable says, or at the usual places.
pub fn control(text: Option<&str>) -> Result<Control, String> {
    let text = text.filter(|text| !text.is_empty()).unwrap_or("auto");
    Control::read(text).map_err(|_| {
        format!(
            "ALLCORES_CONTROL={text:?}: expected {}; for example ALLCORES_CONTROL={}",
            Control::EXPECTED,
            Control::EXAMPLE
        )
    })
}

/// Runs a task to its end. The error is one line that says why it came to nothing.
pub fn run(task: &Task, control: &Control, signals: io::Result<Signals>) -> Result<u8, String> {
    let signals = match task {
        Task::Sleep(_) | Task::Top => signals.ok(),
        Task::Status(_) | Task::Change(_) | Task::Check(_) | Task::Install(_) => {
            // There is nothing to clear up: a signal may end it as it ends any program.
            signals::release();
            None
        }
    };
    match task {
        Task::Status(Form::Table) => show(control, "/status", client::TEXT),
        Task::Status(Form::Json) => show(control, "/status", "application/json"),
        Task::Check(probe) => show(control, probe.path(), client::TEXT),
        Task::Change(path) => change(control, path),
        Task::Install(path) => {
            let target = install::install(path)?;
            print(&format!("{}\n", target.display()));
            Ok(0)
        }
        Task::Sleep(time) => Ok(end(Pause::new(signals.as_ref(), None).take(*time))),
        Task::Top => top::run(control, signals.as_ref()).map(end),
    }
}

fn show(control: &Control, path: &str, accept: &str) -> Result<u8, String> {
    let (code, body) = match client::look(control, path, accept)? {
        Answer::Ok(body) => (0, body),
        Answer::Unavailable(body) => (FAILED, body),
    };
    print(&body);
    Ok(code)
}

fn change(control: &Control, path: &str) -> Result<u8, String> {
    match client::change(control, path, |line| print(&format!("{line}\n")))? {
        Verdict::Done => Ok(0),
        Verdict::Failed => Ok(FAILED),
        // Who was to stop, and is gone, did stop.
        Verdict::Unsaid if path == "/stop" => Ok(0),
        Verdict::Unsaid => Err("allcores has left without saying how it ended".to_owned()),
    }
}

/// The exit code of what was waiting, as a shell would give it.
fn end(woken: Woken) -> u8 {
    match woken {
        Woken::Rested | Woken::Enough => 0,
        Woken::Signalled(signal) => 128 + signal.number() as u8,
    }
}

fn print(text: &str) {
    // Whoever closed our output does not want to read more.
    let _ = io::stdout().write_all(text.as_bytes());
}
