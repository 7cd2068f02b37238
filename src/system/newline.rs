//! Readiness as s6 has it: a worker writes a newline to a descriptor that was agreed on (`READY=fd:N`).
//!
//! What it writes later is read and dropped for as long as it lives. To close our end would kill one that writes once more
//! (SIGPIPE), and not to read would halt it as soon as the pipe is full.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use mio::unix::SourceFd;
use mio::{Interest, Registry};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::{pipe2, read};
use tracing::warn;

use super::source::Source;
use crate::ids::{Pid, WorkerId};
use crate::supervisor::event::Event;

/// Bytes that are read at once.
const CHUNK: usize = 512;
/// Most reads from one pipe in a turn: as much as a pipe holds.
const MOST_READS: usize = 128;

/// The pipes of the workers that hold their ends open.
#[derive(Default)]
pub struct Newlines {
    pipes: BTreeMap<WorkerId, Pipe>,
    /// Who wrote more than was read: nobody tells us of it a second time.
    unread: BTreeSet<WorkerId>,
}

struct Pipe {
    end: OwnedFd,
    pid: Pid,
    has_said: bool,
}

/// What reading on has come to.
enum Rest {
    Nothing,
    More,
    End,
}

/// Our end, and the worker's.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) = pipe2(OFlag::O_CLOEXEC)?;
    // Ours alone: each end has an open description of its own.
    fcntl(&ours, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok((ours, theirs))
}

impl Newlines {
    /// A worker has the other end.
    pub fn join(&mut self, worker: WorkerId, pid: Pid, end: OwnedFd, registry: &Registry) {
        let token = Source::Newline(worker).token();
        if let Err(error) = registry.register(&mut SourceFd(&end.as_raw_fd()), token, Interest::READABLE) {
            warn!(worker = worker.0, error = %error, "the descriptor of READY cannot be watched");
        }
        self.pipes.insert(worker, Pipe { end, pid, has_said: false });
    }

    /// Whether somebody wrote more than was read.
    pub fn has_unread(&self) -> bool {
        !self.unread.is_empty()
    }

    /// Reads on where there was more.
    pub fn read_on(&mut self, events: &mut Vec<Event>) {
        for worker in std::mem::take(&mut self.unread) {
            self.read(worker, events);
        }
    }

    /// Reads what a worker wrote. The first newline counts.
    pub fn read(&mut self, worker: WorkerId, events: &mut Vec<Event>) {
        let Some(pipe) = self.pipes.get_mut(&worker) else { return };
        let (rest, has_newline) = pipe.read();
        if has_newline && !std::mem::replace(&mut pipe.has_said, true) {
            events.push(Event::WroteNewline(worker));
        }
        match rest {
            Rest::Nothing => {}
            Rest::More => {
                self.unread.insert(worker);
            }
            Rest::End => {
                self.pipes.remove(&worker);
            }
        }
    }

    /// A worker is dead: what it wrote last is read, and that is the end of its pipe, whoever else holds it.
    pub fn died(&mut self, pid: Pid, events: &mut Vec<Event>) {
        let dead = self.pipes.iter().find(|(_, pipe)| pipe.pid == pid).map(|(worker, _)| *worker);
        if let Some(worker) = dead {
            self.read(worker, events);
            self.unread.remove(&worker);
            self.pipes.remove(&worker);
        }
    }
}

impl Pipe {
    /// Reads and drops what there is, and says whether there was a newline.
    fn read(&self) -> (Rest, bool) {
        let mut buffer = [0; CHUNK];
        let mut has_newline = false;
        for _ in 0..MOST_READS {
            match read(&self.end, &mut buffer) {
                Ok(0) => return (Rest::End, has_newline),
                Ok(size) => has_newline |= buffer[..size].contains(&b'\n'),
                Err(Errno::EAGAIN) => return (Rest::Nothing, has_newline),
                Err(_) => return (Rest::End, has_newline),
            }
        }
        (Rest::More, has_newline)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write;

    use super::*;

    const WORKER: WorkerId = WorkerId(3);

    fn joined() -> (Newlines, File, mio::Poll) {
        let (ours, theirs) = pair().unwrap();
        let (mut newlines, poll) = (Newlines::default(), mio::Poll::new().unwrap());
        newlines.join(WORKER, Pid::new(42).unwrap(), ours, poll.registry());
        (newlines, theirs.into(), poll)
    }

    fn read(newlines: &mut Newlines) -> Vec<Event> {
        let mut events = Vec::new();
        newlines.read(WORKER, &mut events);
        events
    }

    #[test]
    fn the_first_newline_counts_and_what_follows_does_no_harm() {
        let (mut newlines, mut worker, _poll) = joined();
        assert_eq!(read(&mut newlines), []);
        worker.write_all(b"not yet").unwrap();
        assert_eq!(read(&mut newlines), []);
        worker.write_all(b" but now\n\n").unwrap();
        assert_eq!(read(&mut newlines), [Event::WroteNewline(WORKER)]);
        worker.write_all(b"and again\n").unwrap();
        assert_eq!(read(&mut newlines), []);
        drop(worker);
        assert_eq!(read(&mut newlines), []);
        assert!(newlines.pipes.is_empty());
    }

    #[test]
    fn an_end_without_a_newline_is_only_an_end() {
        let (mut newlines, mut worker, _poll) = joined();
        worker.write_all(b"x").unwrap();
        drop(worker);
        assert_eq!(read(&mut newlines), []);
        assert!(newlines.pipes.is_empty());
    }

    #[test]
    fn last_words_count_and_a_dead_workers_pipe_is_closed_whoever_holds_it() {
        let (mut newlines, mut worker, _poll) = joined();
        worker.write_all(b"\n").unwrap();
        let mut events = Vec::new();
        newlines.died(Pid::new(43).unwrap(), &mut events);
        assert_eq!(events, []);
        newlines.died(Pid::new(42).unwrap(), &mut events);
        assert_eq!(events, [Event::WroteNewline(WORKER)]);
        assert!(newlines.pipes.is_empty() && !newlines.has_unread());
    }
}
