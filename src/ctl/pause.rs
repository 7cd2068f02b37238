//! Waiting that a key or a signal ends. Signals are heard as the supervisor hears them: as PID 1 of an init container we are sent
//! none that we did not ask for.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::signal::Signal;
use crate::supervisor::time::Time;
use crate::system::clock::Clock;
use crate::system::signals::Signals;

/// Keys that mean that it is enough: q, and what Ctrl-C and Ctrl-D send.
const ENOUGH: [u8; 4] = [b'q', b'Q', 3, 4];
/// Longest that is waited at once.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// What ended a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// Its time.
    Rested,
    /// A key.
    Enough,
    /// A signal.
    Signalled(Signal),
}

/// Waits, and hears who ends it.
pub struct Pause<'a> {
    clock: Clock,
    signals: Option<&'a Signals>,
    keys: Option<BorrowedFd<'a>>,
}

impl<'a> Pause<'a> {
    /// Ended by signals, and by these keys.
    pub fn new(signals: Option<&'a Signals>, keys: Option<BorrowedFd<'a>>) -> Self {
        Self { clock: Clock::start(), signals, keys }
    }

    /// Waits for so long.
    pub fn take(&mut self, time: Duration) -> Woken {
        let end = self.clock.now() + time;
        loop {
            let now = self.clock.now();
            if now >= end {
                return Woken::Rested;
            }
            self.wait(end, now);
            if let Some(signal) = self.signals.and_then(|signals| signals.drain().into_iter().find(ends)) {
                return Woken::Signalled(signal);
            }
            if self.has_enough() {
                return Woken::Enough;
            }
        }
    }

    fn wait(&self, end: Time, now: Time) {
        // Rounded up: nobody is woken a moment too early, only to wait again.
        let left = (end - now).min(LONGEST) + Duration::from_micros(999);
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let source = |fd| PollFd::new(fd, PollFlags::POLLIN);
        let mut sources: Vec<PollFd> =
            self.signals.map(AsFd::as_fd).into_iter().chain(self.keys).map(source).collect();
        // What interrupts it is looked at like everything else.
        let _ = poll(&mut sources, timeout);
    }

    fn has_enough(&mut self) -> bool {
        let Some(keys) = self.keys else { return false };
        let mut ready = [PollFd::new(keys, PollFlags::POLLIN)];
        if poll(&mut ready, PollTimeout::ZERO) != Ok(1) {
            return false;
        }
        let mut typed = [0; 64];
        match nix::unistd::read(keys, &mut typed) {
            Ok(0) | Err(_) => {
                // Nobody will type anything.
                self.keys = None;
                false
            }
            Ok(length) => typed[..length].iter().any(|key| ENOUGH.contains(key)),
        }
    }
}

/// Whether a signal's default action is an end.
fn ends(signal: &Signal) -> bool {
    match *signal {
        Signal::CHLD | Signal::URG | Signal::WINCH | Signal::CONT => false,
        Signal::TSTP | Signal::TTIN | Signal::TTOU => {
            // What the terminal's user asked for; it returns when we are continued.
            let _ = nix::sys::signal::raise(nix::sys::signal::SIGSTOP);
            false
        }
        _ => true,
    }
}
