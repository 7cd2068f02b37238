//! What has happened, handed over event by event: signals, deaths, what workers say, what has changed, who asks.

use mio::Events;
use tracing::trace;

use super::process::{self, Wait};
use super::server::Server;
use super::source::Source;
use super::window::{Look, Scene};
use super::{System, find_groups, primary};
use crate::ids::Pid;
use crate::observe::routes;
use crate::signal::Signal;
use crate::supervisor::event::{Event, Notification};

/// Most children that are reaped before signals are heard again.
const REAP_BATCH: usize = 512;

impl System {
    /// Hears the signals that came.
    pub(super) fn hear_signals(&mut self) {
        for signal in self.signals.drain() {
            // What it says is that there is somebody to reap; nobody is told before they are reaped.
            if signal == Signal::CHLD {
                self.reap = true;
            } else {
                self.reap_children();
                self.turn(Event::Signalled(signal));
            }
        }
    }

    /// Reaps what there is. Each death is dealt with before the next is looked for, so that no action names a pid that
    /// is free again.
    pub(super) fn reap_children(&mut self) {
        for _ in 0..REAP_BATCH {
            if !std::mem::take(&mut self.reap) {
                return;
            }
            let event = match process::wait(self.and_suspended) {
                Wait::Exited(pid, status) => {
                    self.reap = true;
                    let killed = status.code() == 128 + Signal::KILL.number() as u8;
                    trace!(pid = pid.raw(), status = %status, "reaped");
                    if self.supervisor.is_worker(pid) {
                        self.hear_last_words(pid);
                    }
                    let out_of_memory = killed && self.ran_out_of_memory();
                    Event::Exited { pid, status, out_of_memory }
                }
                Wait::Suspended(pid) => {
                    self.reap = true;
                    Event::Suspended { pid }
                }
                Wait::Nothing => Event::Reaped { children_left: true },
                Wait::NoChildren => Event::Reaped { children_left: false },
            };
            self.turn(event);
        }
    }

    /// What a worker said before it died counts, and comes before its death.
    fn hear_last_words(&mut self, pid: Pid) {
        let mut heard = Vec::new();
        self.notify.read(&mut heard);
        for event in &mut heard {
            // Whoever is dead is not hung any more, and no signal may go to its pid.
            if let Event::Notified { lineage, words } = event
                && lineage.first() == Some(&pid)
            {
                words.retain(|word| *word != Notification::Hung);
            }
        }
        self.newlines.died(pid, &mut heard);
        if let Some(primary) = &mut self.primary {
            let mut inputs = Vec::new();
            primary.reaped(pid, &mut inputs);
            heard.extend(inputs.into_iter().map(Event::Cluster));
        }
        self.hear(heard);
    }

    /// Hears what was written to the notification socket.
    pub(super) fn hear_notifications(&mut self) {
        let mut heard = Vec::new();
        self.notify.read(&mut heard);
        self.hear(heard);
    }

    /// Hears what workers say, who connects, and what has changed.
    pub(super) fn hear_workers(&mut self, events: &Events) {
        let (mut heard, mut inputs) = (Vec::new(), Vec::new());
        self.newlines.read_on(&mut heard);
        if let Some(primary) = &mut self.primary {
            primary.read_on(&mut inputs);
        }
        if let Some(changes) = self.changes.as_mut().filter(|changes| changes.has_unread()) {
            changes.read(self.clock.now());
        }
        for event in events {
            match Source::of(event.token()) {
                Source::Newline(worker) => self.newlines.read(worker, &mut heard),
                Source::Changes => {
                    if let Some(changes) = &mut self.changes {
                        changes.read(self.clock.now());
                    }
                }
                Source::Cluster(token) => {
                    if let Some(primary) = &mut self.primary {
                        primary.is_ready(&primary::Source::of(token), &mut inputs);
                    }
                }
                Source::Signals | Source::Notifications | Source::Client(_) => {}
            }
        }
        heard.extend(inputs.into_iter().map(Event::Cluster));
        self.hear(heard);
    }

    /// Hears who asks something of us, and answers what is no more than a look.
    pub(super) fn hear_clients(&mut self, events: &Events) {
        let mut heard = Vec::new();
        for event in events {
            if let Source::Client(number) = Source::of(event.token()) {
                self.server.note(number, event, &mut heard);
            }
        }
        if self.server.is_idle() {
            return self.hear(heard);
        }
        let (mut look, server) = self.look();
        let now = look.now();
        server.turn(now, &mut |request, door| routes::reply(request, door, &mut look), &mut heard);
        if look.has_read() {
            heard.push(Event::Looked);
        }
        self.hear(heard);
    }

    /// The object of `/status`.
    pub(super) fn shown(&mut self) -> String {
        routes::status(&mut self.look().0)
    }

    /// Everything that can be seen now, and who serves those who want to see it.
    fn look(&mut self) -> (Look<'_>, &mut Server) {
        let scene = Scene {
            supervisor: &self.supervisor,
            groups: self.groups.get_or_init(find_groups),
            sockets: &self.performer.sockets,
            primary: self.primary.as_ref(),
        };
        (self.window.look(scene, self.clock.now()), &mut self.server)
    }

    fn hear(&mut self, heard: Vec<Event>) {
        for event in heard {
            self.turn(event);
        }
    }
}
