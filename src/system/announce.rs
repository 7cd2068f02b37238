//! Tells our own supervisor how we are, if there is one that wants to know (`sd_notify(3)`). Never waits for it.

use std::ffi::OsString;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;

use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, sendto, socket};
use nix::time::ClockId;
use tracing::{debug, warn};

use crate::supervisor::action::Announcement;

/// Where it listens.
pub struct Announcer {
    socket: Option<OsString>,
    /// It is said once that nobody hears us.
    has_failed: bool,
}

impl Announcer {
    /// Speaks to this socket, or to nobody.
    pub fn new(socket: Option<OsString>) -> Self {
        Self { socket, has_failed: false }
    }

    /// Says it. What cannot be said is no reason to do anything else.
    pub fn tell(&mut self, announcement: &Announcement) {
        let Some(to) = &self.socket else { return };
        let result = text(announcement).and_then(|text| send(to.as_bytes(), text.as_bytes()));
        match result {
            Ok(()) => debug!(?announcement, "announced"),
            Err(error) if self.has_failed => debug!(?announcement, error = %error, "cannot be announced"),
            Err(error) => {
                warn!(socket = ?to, error = %error, "NOTIFY_SOCKET cannot be told how we are");
                self.has_failed = true;
            }
        }
    }
}

fn text(announcement: &Announcement) -> io::Result<String> {
    Ok(match announcement {
        Announcement::Ready => "READY=1".to_owned(),
        Announcement::Reloading => {
            let now = ClockId::CLOCK_MONOTONIC.now()?;
            format!("RELOADING=1\nMONOTONIC_USEC={}", now.tv_sec() * 1_000_000 + now.tv_nsec() / 1000)
        }
        Announcement::Stopping => "STOPPING=1".to_owned(),
        // A second line would be another word.
        Announcement::Status(status) => format!("STATUS={}", status.replace('\n', " ")),
    })
}

/// A socket for each message: they are rare, and between them there is no descriptor.
fn send(to: &[u8], text: &[u8]) -> io::Result<()> {
    let address = match to {
        [b'@', name @ ..] => UnixAddr::new_abstract(name)?,
        path => UnixAddr::new(path)?,
    };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(AddressFamily::Unix, SockType::Datagram, flags, None)?;
    sendto(fd.as_raw_fd(), text, &address, MsgFlags::MSG_NOSIGNAL)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_said_is_what_systemd_reads() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut announcer = Announcer::new(Some(path.into()));
        let mut said = |announcement| {
            announcer.tell(&announcement);
            let mut buffer = [0; 100];
            let read = socket.recv(&mut buffer).unwrap();
            String::from_utf8_lossy(&buffer[..read]).into_owned()
        };
        assert_eq!(said(Announcement::Ready), "READY=1");
        assert_eq!(said(Announcement::Stopping), "STOPPING=1");
        assert_eq!(said(Announcement::Status("a\nREADY=1".to_owned())), "STATUS=a READY=1");
        let reloading = said(Announcement::Reloading);
        let time = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").map(str::parse::<u64>);
        assert!(time.is_some_and(|time| time.is_ok_and(|time| time > 0)), "{reloading}");
    }

    #[test]
    fn nobody_who_hears_us_is_no_harm() {
        for socket in ["/nonexistent/notify", "@nobody is called like this", "vsock:2:1", ""] {
            let mut announcer = Announcer::new(Some(socket.into()));
            announcer.tell(&Announcement::Ready);
            assert!(announcer.has_failed, "{socket}");
        }
    }

    #[test]
    fn somebody_who_does_not_read_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let _socket = UnixDatagram::bind(&path).unwrap();
        let mut announcer = Announcer::new(Some(path.into()));
        for _ in 0..10_000 {
            announcer.tell(&Announcement::Ready);
        }
        assert!(announcer.has_failed);
    }
}
