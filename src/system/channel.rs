//! A worker's channel: bytes and descriptors, both ways, without ever waiting.
//!
//! Knows nothing of what is said. What cannot be written now is kept, in order, up to a limit; a descriptor goes with the first byte of
//! its line, as libuv expects it (`src/unix/stream.c`).

#![allow(unsafe_code)]

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::rc::Rc;

use nix::errno::Errno;
use nix::sys::socket::sockopt::PassCred;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr, recvmsg,
    sendmsg, setsockopt, socketpair,
};

/// Most bytes that wait for a worker that does not read.
const MOST_QUEUED: usize = 8 * 1024 * 1024;
/// Most letters that do.
const MOST_MAIL: usize = 1024;
/// Bytes that are read at once.
const CHUNK: usize = 64 * 1024;
/// Descriptors that are taken with one read; Node sends one a message. More are dropped by the kernel.
const MOST_DESCRIPTORS: usize = 4;

/// Our end.
pub struct Channel {
    fd: OwnedFd,
    queue: VecDeque<Outgoing>,
    queued: usize,
    /// Bytes and number of what is mail.
    mail: (usize, usize),
    dropped: u64,
    /// A question was written, and nothing is written behind it.
    is_paused: bool,
    /// Who wrote first, until somebody asks.
    first_writer: FirstWriter,
}

/// Whether the process that writes is the one that was started. The kernel says who writes; it is asked once.
enum FirstWriter {
    Unknown,
    Is(i32),
    Told,
}

struct Outgoing {
    bytes: Vec<u8>,
    written: usize,
    descriptor: Option<Rc<OwnedFd>>,
    kind: Kind,
}

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// It waits for room.
    Message,
    /// The same, but when too much of it waits, the oldest is dropped.
    Mail,
    /// Nothing is written behind it until it is answered.
    Question,
}

/// Where what comes is read to: one for all channels, made once.
pub struct Buffers {
    bytes: Vec<u8>,
    control: Vec<u8>,
}

impl Buffers {
    /// Takes the memory.
    pub fn new() -> Self {
        Self { bytes: vec![0; CHUNK], control: nix::cmsg_space!([RawFd; MOST_DESCRIPTORS], libc::ucred) }
    }
}

/// What came.
pub enum Incoming {
    /// These bytes and descriptors, and perhaps more.
    Data(Vec<u8>, Vec<OwnedFd>),
    /// These bytes, and nothing more for now.
    Last(Vec<u8>),
    /// Nothing more for now.
    Nothing,
    /// Nothing more for ever.
    End,
}

impl Channel {
    /// A pair: our end, and the worker's.
    pub fn pair() -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC)?;
        setsockopt(&ours, PassCred, &true)?;
        // Ours alone: each end has an open description of its own.
        nix::fcntl::fcntl(&ours, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK))?;
        Ok((
            Self {
                fd: ours,
                queue: VecDeque::new(),
                queued: 0,
                mail: (0, 0),
                dropped: 0,
                is_paused: false,
                first_writer: FirstWriter::Unknown,
            },
            theirs,
        ))
    }

    /// Writes a line, now or as soon as there is room. An error means that the worker takes nothing any more; what it wrote
    /// can still be read.
    pub fn send(&mut self, line: String, descriptor: Option<Rc<OwnedFd>>) -> io::Result<()> {
        self.send_as(Kind::Message, line, descriptor)
    }

    /// The same, and then nothing is written until [`Channel::resume`]. A question says that a descriptor comes along, and none
    /// does: the kernel joins it to what is behind it, whose descriptor it would get.
    pub fn ask(&mut self, line: String) -> io::Result<()> {
        self.send_as(Kind::Question, line, None)
    }

    /// The question is answered.
    pub fn resume(&mut self) -> io::Result<()> {
        self.is_paused = false;
        self.flush()
    }

    fn send_as(&mut self, kind: Kind, line: String, descriptor: Option<Rc<OwnedFd>>) -> io::Result<()> {
        if self.queued - self.mail.0 + line.len() > MOST_QUEUED {
            return Err(io::Error::other("the worker does not read"));
        }
        self.push(Outgoing { bytes: line.into_bytes(), written: 0, descriptor, kind })
    }

    /// The same for mail: when too much of it waits, the oldest is dropped.
    pub fn deliver(&mut self, line: String) -> io::Result<()> {
        while self.mail.0 + line.len() > MOST_QUEUED || self.mail.1 >= MOST_MAIL {
            // What has begun must be finished.
            let Some(oldest) =
                self.queue.iter().position(|queued| queued.kind == Kind::Mail && queued.written == 0)
            else {
                break;
            };
            let bytes = self.queue.remove(oldest).map_or(0, |dropped| dropped.bytes.len());
            self.queued -= bytes;
            self.mail = (self.mail.0 - bytes, self.mail.1 - 1);
            self.dropped += 1;
        }
        self.mail = (self.mail.0 + line.len(), self.mail.1 + 1);
        self.push(Outgoing { bytes: line.into_bytes(), written: 0, descriptor: None, kind: Kind::Mail })
    }

    /// Mail that was dropped since the channel is open.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    fn push(&mut self, outgoing: Outgoing) -> io::Result<()> {
        self.queued += outgoing.bytes.len();
        self.queue.push_back(outgoing);
        if self.queue.len() == 1 { self.flush() } else { Ok(()) }
    }

    /// Writes what waits.
    pub fn flush(&mut self) -> io::Result<()> {
        while !self.is_paused
            && let Some(next) = self.queue.front_mut()
        {
            let bytes = [IoSlice::new(&next.bytes[next.written..])];
            let raw = next.descriptor.as_ref().map(|fd| [fd.as_raw_fd()]);
            let rights = raw.as_ref().map(|raw| ControlMessage::ScmRights(raw));
            let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
            match sendmsg::<UnixAddr>(self.fd.as_raw_fd(), &bytes, rights.as_slice(), flags, None) {
                Ok(written) => {
                    next.written += written;
                    // It went with the first byte.
                    next.descriptor = None;
                    self.queued -= written;
                    if next.kind == Kind::Mail {
                        self.mail.0 -= written;
                    }
                    if next.written == next.bytes.len() {
                        self.mail.1 -= usize::from(next.kind == Kind::Mail);
                        self.is_paused = next.kind == Kind::Question;
                        self.queue.pop_front();
                    }
                }
                // The last is a want of room for descriptors under way, which passes as they arrive.
                Err(Errno::EAGAIN | Errno::ENOBUFS | Errno::ETOOMANYREFS) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// The process that wrote first, once it has.
    pub fn take_first_writer(&mut self) -> Option<i32> {
        let FirstWriter::Is(pid) = self.first_writer else { return None };
        self.first_writer = FirstWriter::Told;
        // If it cannot be switched off, every read is told again, and that is all.
        let _ = setsockopt(&self.fd, PassCred, &false);
        Some(pid)
    }

    /// Whether something waits for room.
    pub fn is_stuck(&self) -> bool {
        !self.is_paused && !self.queue.is_empty()
    }

    /// Reads once. A reset is an end.
    pub fn receive(&mut self, Buffers { bytes: buffer, control: space }: &mut Buffers) -> Incoming {
        let mut slices = [IoSliceMut::new(buffer)];
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
        let message = match recvmsg::<UnixAddr>(self.fd.as_raw_fd(), &mut slices, Some(space), flags) {
            Ok(message) => message,
            Err(Errno::EAGAIN | Errno::EINTR) => return Incoming::Nothing,
            Err(_) => return Incoming::End,
        };
        let mut descriptors = Vec::new();
        for control in message.cmsgs().into_iter().flatten() {
            if let ControlMessageOwned::ScmRights(rights) = control {
                descriptors.extend(own(rights));
            } else if let (ControlMessageOwned::ScmCredentials(writer), FirstWriter::Unknown) =
                (control, &self.first_writer)
            {
                self.first_writer = FirstWriter::Is(writer.pid());
            }
        }
        let read = message.bytes;
        if read == 0 {
            return Incoming::End;
        }
        // The kernel joins what waits, and stops only behind descriptors or where the buffer ends (`unix_stream_read_generic` in
        // net/unix/af_unix.c): who got less than fits, and no descriptor, got everything.
        let is_all =
            read < buffer.len() && descriptors.is_empty() && matches!(self.first_writer, FirstWriter::Told);
        let bytes = buffer[..read].to_vec();
        if is_all { Incoming::Last(bytes) } else { Incoming::Data(bytes, descriptors) }
    }
}

/// The descriptors that came.
fn own(descriptors: Vec<RawFd>) -> Vec<OwnedFd> {
    // SAFETY: the kernel has just made them for us, and nobody else knows them.
    descriptors.into_iter().map(|descriptor| unsafe { OwnedFd::from_raw_fd(descriptor) }).collect()
}

impl AsRawFd for Channel {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn nothing_is_written_behind_a_question_until_it_is_answered() {
        let (mut ours, theirs) = Channel::pair().unwrap();
        let mut theirs = UnixStream::from(theirs);
        let mut said = move || {
            let mut bytes = [0; 64];
            let read = theirs.read(&mut bytes).unwrap();
            String::from_utf8(bytes[..read].to_vec()).unwrap()
        };
        ours.send("1\n".to_owned(), None).unwrap();
        ours.ask("2?\n".to_owned()).unwrap();
        ours.send("3\n".to_owned(), None).unwrap();
        ours.deliver("4\n".to_owned()).unwrap();
        assert!(!ours.is_stuck(), "it is not room that is waited for");
        assert_eq!(said(), "1\n2?\n");
        ours.resume().unwrap();
        assert_eq!(said(), "3\n4\n");
        ours.send("5\n".to_owned(), None).unwrap();
        assert_eq!(said(), "5\n");
    }
}
