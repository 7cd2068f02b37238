//! What Kubernetes and Docker ask: do we live, are we ready, have we started? Each answer is one line.

use std::fmt::Write;

use super::http::{Code, Response};
use crate::supervisor::status::{PhaseStatus, RoleStatus, Status, WorkerStatus};

/// The states of a worker, by their words, in the order of a worker's life.
pub const STATES: [&str; 6] = ["starting", "ready", "draining", "stopping", "resting", "finished"];

/// One of the questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Does the supervisor work?
    Live,
    /// Can requests be served?
    Ready,
    /// Could they ever be?
    Startup,
}

impl Probe {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Live, Self::Ready, Self::Startup];

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Ready => "ready",
            Self::Startup => "startup",
        }
    }

    /// Where it is asked.
    pub fn path(self) -> &'static str {
        match self {
            Self::Live => "/livez",
            Self::Ready => "/readyz",
            Self::Startup => "/startupz",
        }
    }

    /// The answer.
    pub fn answer(self, status: &Status) -> Response {
        let is_so = match self {
            Self::Live => status.phase != PhaseStatus::GaveUp,
            Self::Ready => status.ready,
            Self::Startup => status.was_ready,
        };
        if is_so {
            Response::text(Code::Ok, "ok")
        } else {
            Response::text(Code::Unavailable, why_not(status))
        }
    }
}

/// The slots' own workers. Others come or go beside them.
pub fn current(status: &Status) -> impl Iterator<Item = &WorkerStatus> {
    status.workers.iter().filter(|worker| worker.role == RoleStatus::Current)
}

/// How many slots have a ready worker.
pub fn ready(status: &Status) -> u16 {
    count(status, "ready")
}

/// How many slots are in the state of this word.
pub fn count(status: &Status, state: &str) -> u16 {
    current(status).filter(|worker| worker.state == state).count().try_into().unwrap_or(u16::MAX)
}

fn why_not(status: &Status) -> String {
    let word = match status.phase {
        PhaseStatus::Draining | PhaseStatus::Stopping | PhaseStatus::Over => return "draining".to_owned(),
        PhaseStatus::GaveUp => "gave up",
        PhaseStatus::Preparing | PhaseStatus::Running => "not ready",
    };
    let mut text = format!("{word}: {} of {} workers ready", ready(status), status.wanted);
    let others = STATES.into_iter().filter(|state| *state != "ready");
    let others: Vec<String> = others
        .map(|state| (count(status, state), state))
        .filter(|(count, _)| *count > 0)
        .map(|(count, state)| format!("{count} {state}"))
        .collect();
    let last = status.recent_deaths.first();
    let last = last.map(|(_, death)| format!("last death: worker {}, {}", death.worker, death.status));
    let parts: Vec<String> =
        [others.join(", ")].into_iter().filter(|part| !part.is_empty()).chain(last).collect();
    if !parts.is_empty() {
        let _ = write!(text, " ({})", parts.join("; "));
    }
    text
}
