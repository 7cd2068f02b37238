//! What each signal asks for: the table of section "Signals" in the README, and its changes by `SIGNALS`.

use crate::config::kinds::Request;
use crate::config::{Config, Mode};
use crate::signal::Signal;

/// Which column of the table applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// `plain` with one worker: a better tini.
    Single,
    /// `plain` with several workers.
    Plain,
    /// A pool behind sockets or ports.
    Pool,
    /// A pool of Node programs.
    Cluster,
}

impl Column {
    /// The column for this configuration.
    pub fn of(config: &Config) -> Self {
        match config.mode {
            Mode::Plain if config.workers == 1 => Self::Single,
            Mode::Plain => Self::Plain,
            Mode::Cluster => Self::Cluster,
            Mode::Inherit | Mode::Reuseport | Mode::Ports => Self::Pool,
        }
    }
}

/// The table: what a signal asks for, before `SIGNALS`.
pub fn default(signal: Signal, column: Column) -> Request {
    match signal {
        Signal::TERM | Signal::INT => Request::Stop,
        Signal::QUIT => match column {
            Column::Single => Request::Forward(signal),
            Column::Plain | Column::Pool | Column::Cluster => Request::Stop,
        },
        Signal::HUP => match column {
            Column::Single | Column::Plain => Request::Forward(signal),
            Column::Pool | Column::Cluster => Request::Reload,
        },
        // A terminal's resize must not stop Apache.
        Signal::WINCH => match column {
            Column::Single | Column::Plain => Request::Forward(signal),
            Column::Pool | Column::Cluster => Request::Ignore,
        },
        Signal::TTIN | Signal::TTOU => match column {
            Column::Single | Column::Plain => Request::Ignore,
            Column::Pool | Column::Cluster if signal == Signal::TTIN => Request::More,
            Column::Pool | Column::Cluster => Request::Less,
        },
        Signal::TSTP => match column {
            Column::Single => Request::Suspend,
            Column::Plain | Column::Pool | Column::Cluster => Request::Ignore,
        },
        // It opens Node's debugger.
        Signal::USR1 if column == Column::Cluster => Request::Ignore,
        // About our own children, pipes, timers and the terminal's other jobs: none of a worker's business.
        Signal::CHLD | Signal::PIPE | Signal::ALRM | Signal::URG | Signal::IO => Request::Ignore,
        other => Request::Forward(other),
    }
}

/// The table with the operator's changes; the last change of a row counts.
pub fn request(signal: Signal, config: &Config) -> Request {
    let changes = config.settings.signals.iter().flat_map(|changes| &changes.0);
    let changed = changes.rev().find(|(changed, _)| *changed == signal);
    changed.map_or_else(|| default(signal, Column::of(config)), |(_, request)| *request)
}
