//! Signals that we are sent: what each asks for, and to whom it is passed on.

use super::Supervisor;
use super::action::{Action, Notice};
use super::event::Scale;
use super::requests;
use super::shutdown::Phase;
use super::time::Time;
use crate::config::kinds::{Request, Target};
use crate::ids::Pid;
use crate::signal::Signal;

impl Supervisor {
    pub(super) fn signalled(&mut self, now: Time, signal: Signal) {
        *self.past.signals.entry(signal).or_default() += 1;
        match requests::request(signal, &self.config) {
            Request::Stop => self.asked_to_stop(now, Some(signal)),
            Request::Quit => self.asked_to_quit(now),
            Request::Forward(sent) => self.forward(signal, sent),
            Request::Suspend if self.config.terminal => self.forward(signal, signal),
            Request::Reload => self.asked_to_reload(now),
            Request::More => self.asked_to_scale(now, Scale::More(1)),
            Request::Less => self.asked_to_scale(now, Scale::Less(1)),
            Request::Suspend | Request::Ignore => self.report(Notice::Ignored(signal)),
        }
    }

    pub(super) fn asked_to_reload(&mut self, now: Time) {
        if let Err(reason) = self.begin_reload(now, None) {
            self.report(Notice::Refused { what: "reload", reason: reason.to_owned() });
        }
    }

    fn asked_to_scale(&mut self, now: Time, scale: Scale) {
        if let Err(reason) = self.scale(now, scale) {
            self.report(Notice::Refused { what: "scale", reason });
        }
    }

    fn forward(&mut self, received: Signal, sent: Signal) {
        if let Some(pid) = self.suspended.take_if(|_| sent == Signal::CONT) {
            self.act(Action::GiveTerminal(pid));
            return self.act(Action::Signal { pid, signal: sent, target: Target::Group });
        }
        // What suspends or ends a job does so to the whole of it, as the terminal's own keys do.
        let target = if sent == Signal::TSTP { Target::Group } else { self.config.settings.forward };
        let pids: Vec<Pid> = self
            .workers
            .iter()
            .filter_map(|worker| worker.state.process())
            .map(|process| process.pid)
            .collect();
        self.report(Notice::Forwarded { received, sent, workers: pids.len() });
        for pid in pids {
            self.act(Action::Signal { pid, signal: sent, target });
        }
    }

    pub(super) fn suspended(&mut self, pid: Pid) {
        if self.index_of_pid(pid).is_none() || !self.config.terminal {
            return;
        }
        if matches!(self.phase, Phase::Stopping(_)) {
            // What it was sent waits for as long as it is suspended.
            return self.act(Action::Signal { pid, signal: Signal::CONT, target: Target::Group });
        }
        self.suspended = Some(pid);
        self.act(Action::Suspend);
    }
}
