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
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr, recvmsg,
    sendmsg, socketpair,
};

/// Most bytes that wait for a worker that does not read.
const MOST_QUEUED: usize = 8 * 1024 * 1024;
/// Bytes that are read at once.
const CHUNK: usize = 64 * 1024;
/// Descriptors that are taken with one read; Node sends one a message. More are dropped by the kernel.
const MOST_DESCRIPTORS: usize = 4;

/// Our end.
pub struct Channel {
    fd: OwnedFd,
    queue: VecDeque<Outgoing>,
    queued: usize,
}

struct Outgoing {
    bytes: Vec<u8>,
    written: usize,
    descriptor: Option<Rc<OwnedFd>>,
}

/// What came.
pub enum Incoming {
    /// These bytes, and so many descriptors.
    Data(Vec<u8>, u32),
    /// Nothing more for now.
    Nothing,
    /// Nothing more for ever.
    End,
}

impl Channel {
    /// A pair: our end, and the worker's.
    pub fn pair() -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC)?;
        // Ours alone: each end has an open description of its own.
        nix::fcntl::fcntl(&ours, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK))?;
        Ok((Self { fd: ours, queue: VecDeque::new(), queued: 0 }, theirs))
    }

    /// Writes a line, now or as soon as there is room. An error means that the worker takes nothing any more; what it wrote
    /// can still be read.
    pub fn send(&mut self, line: String, descriptor: Option<Rc<OwnedFd>>) -> io::Result<()> {
        if self.queued + line.len() > MOST_QUEUED {
            return Err(io::Error::other("the worker does not read"));
        }
        self.queued += line.len();
        self.queue.push_back(Outgoing { bytes: line.into_bytes(), written: 0, descriptor });
        if self.queue.len() == 1 { self.flush() } else { Ok(()) }
    }

    /// Writes what waits.
    pub fn flush(&mut self) -> io::Result<()> {
        while let Some(next) = self.queue.front_mut() {
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
                    if next.written == next.bytes.len() {
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

    /// Reads once. A reset is an end.
    pub fn receive(&mut self) -> Incoming {
        let mut buffer = vec![0; CHUNK];
        let mut space = nix::cmsg_space!([RawFd; MOST_DESCRIPTORS]);
        let mut slices = [IoSliceMut::new(&mut buffer)];
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
        let (read, descriptors) =
            match recvmsg::<UnixAddr>(self.fd.as_raw_fd(), &mut slices, Some(&mut space), flags) {
                Ok(message) => {
                    (message.bytes, message.cmsgs().map(|messages| messages.map(close).sum()).unwrap_or(0))
                }
                Err(Errno::EAGAIN | Errno::EINTR) => return Incoming::Nothing,
                Err(_) => return Incoming::End,
            };
        if read == 0 {
            return Incoming::End;
        }
        buffer.truncate(read);
        Incoming::Data(buffer, descriptors)
    }
}

/// Counts the descriptors that came, and closes them: nobody here has a use for them.
fn close(message: ControlMessageOwned) -> u32 {
    let ControlMessageOwned::ScmRights(descriptors) = message else { return 0 };
    let count = descriptors.len() as u32;
    for descriptor in descriptors {
        // SAFETY: the kernel has just made it for us, and nobody else knows it.
        drop(unsafe { OwnedFd::from_raw_fd(descriptor) });
    }
    count
}

impl AsRawFd for Channel {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}
