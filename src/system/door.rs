//! Lets nobody new in at a listening socket, while those who are in its queue stay and can be accepted.
//!
//! Between the last accept and the close somebody might come in, and be cut off. So they are kept out first: where it is TCP, by a
//! filter that drops a connection's first packet, which the client repeats a second later, to be refused; where it is UNIX, by a
//! shutdown, which refuses at once.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use libc::{
    BPF_ABS, BPF_ALU, BPF_AND, BPF_B, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, sock_filter, sock_fprog,
};
use nix::sys::socket::{AddressFamily, Shutdown, SockaddrLike, SockaddrStorage, getsockname, shutdown};

use super::steer::{branch, op, set_option};

/// The first packet says SYN and not ACK, in the byte of the header that has the flags. All others may pass: a client that has
/// our answer believes itself connected.
const NO_FIRST_PACKETS: [sock_filter; 5] = [
    op(BPF_LD | BPF_B | BPF_ABS, 13),
    op(BPF_ALU | BPF_AND | BPF_K, SYN | ACK),
    branch(BPF_JMP | BPF_JEQ | BPF_K, SYN, 0, 1),
    op(BPF_RET | BPF_K, 0),
    op(BPF_RET | BPF_K, u32::MAX),
];
const SYN: u32 = 0x02;
const ACK: u32 = 0x10;

/// Shuts it. The socket must be nobody else's: it is shut for all who have it, and for ever.
pub fn shut(socket: &OwnedFd) -> io::Result<()> {
    let name: SockaddrStorage = getsockname(socket.as_raw_fd())?;
    if name.family() == Some(AddressFamily::Unix) {
        return Ok(shutdown(socket.as_raw_fd(), Shutdown::Read)?);
    }
    // The kernel does not write to it.
    let filter = NO_FIRST_PACKETS.as_ptr().cast_mut();
    let program = sock_fprog { len: NO_FIRST_PACKETS.len() as u16, filter };
    set_option(socket, libc::SO_ATTACH_FILTER, &program)
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::time::Duration;

    use super::*;

    #[test]
    fn who_is_in_can_be_accepted_and_nobody_else_comes_in() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address).unwrap();
            let address = listener.local_addr().unwrap();
            let _inside: Vec<_> = (0..3).map(|_| TcpStream::connect(address).unwrap()).collect();
            let listener = OwnedFd::from(listener);
            shut(&listener).unwrap();
            let listener = TcpListener::from(listener);
            let outside = TcpStream::connect_timeout(&address, Duration::from_millis(100));
            assert_eq!(outside.unwrap_err().kind(), ErrorKind::TimedOut);
            listener.set_nonblocking(true).unwrap();
            assert_eq!(listener.incoming().take_while(Result::is_ok).count(), 3);
        }
    }

    #[test]
    fn a_unix_socket_refuses_and_keeps_who_is_in() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let _inside: Vec<_> = (0..3).map(|_| UnixStream::connect(&path).unwrap()).collect();
        let listener = OwnedFd::from(listener);
        shut(&listener).unwrap();
        let listener = UnixListener::from(listener);
        assert_eq!(UnixStream::connect(&path).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        assert_eq!(listener.incoming().take_while(Result::is_ok).count(), 3);
    }
}
