//! Which members of a `SO_REUSEPORT` group new connections go to: a small program that the kernel asks for each.
//!
//! Makes programs of classic BPF, which need no privilege, and attaches them. Knows members by their index, which is the
//! order in which they came to the group; it does not know why one is left out.

#![allow(unsafe_code)]

use std::collections::BTreeSet;
use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, OwnedFd};

use libc::{
    BPF_A, BPF_ABS, BPF_ADD, BPF_ALU, BPF_B, BPF_DIV, BPF_H, BPF_JA, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_K,
    BPF_LD, BPF_MEM, BPF_MISC, BPF_MOD, BPF_MUL, BPF_RET, BPF_RSH, BPF_ST, BPF_TAX, BPF_W, BPF_X, BPF_XOR,
    SKF_AD_OFF, SKF_AD_RANDOM, SKF_NET_OFF, sock_filter, sock_fprog,
};
use nix::sys::socket::{SockType, getsockopt, sockopt};

/// Not among libc's constants for Linux.
const SO_ATTACH_REUSEPORT_CBPF: libc::c_int = 51;
const SO_DETACH_REUSEPORT_BPF: libc::c_int = 68;

/// Lets new connections come to these members only. `socket` is any of the group. More `members` than there are may be
/// named: who is still to come is then left out until it is named among those `included`.
///
/// Connections go anywhere by chance. Datagrams come back to the member that had the earlier ones of their sender, as far as it
/// may be had: with one member left out, only its own senders go elsewhere.
pub fn steer(socket: &OwnedFd, members: usize, included: &BTreeSet<usize>) -> io::Result<()> {
    let runs = runs(included);
    if getsockopt(socket, sockopt::SockType)? == SockType::Datagram {
        attach(socket, &by_sender(members, &runs))
    } else if included.len() < members || detach(socket).is_err() {
        attach(socket, &by_chance(&runs))
    } else {
        Ok(())
    }
}

fn attach(socket: &OwnedFd, program: &[sock_filter]) -> io::Result<()> {
    // The kernel does not write to it.
    let program = sock_fprog { len: program.len() as u16, filter: program.as_ptr().cast_mut() };
    set_option(socket, SO_ATTACH_REUSEPORT_CBPF, &program)
}

/// Lets the kernel choose, which is fair as well, and includes whoever else shares the address.
fn detach(socket: &OwnedFd) -> io::Result<()> {
    match set_option(socket, SO_DETACH_REUSEPORT_BPF, &0) {
        // There is none.
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        result => result,
    }
}

pub(super) fn set_option<T>(socket: &OwnedFd, option: libc::c_int, value: &T) -> io::Result<()> {
    // SAFETY: the kernel reads as many bytes as the value has, and of a program the instructions that it points to, which
    // live as long as the caller's slice.
    let result = unsafe {
        let size = size_of::<T>() as libc::socklen_t;
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, (&raw const *value).cast(), size)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Neighbours, as ranges: nearly all members are included nearly always.
fn runs(included: &BTreeSet<usize>) -> Vec<Range<u32>> {
    let mut runs: Vec<Range<u32>> = Vec::new();
    for index in included.iter().map(|index| *index as u32) {
        match runs.last_mut() {
            Some(run) if run.end == index => run.end += 1,
            Some(_) | None => runs.push(index..index + 1),
        }
    }
    runs
}

fn count(runs: &[Range<u32>]) -> u32 {
    runs.iter().map(|run| run.end - run.start).sum()
}

pub(super) const fn op(code: u32, k: u32) -> sock_filter {
    branch(code, k, 0, 0)
}

/// Skips so many instructions if it is so, or is not.
pub(super) const fn branch(code: u32, k: u32, if_so: u8, if_not: u8) -> sock_filter {
    sock_filter { code: code as u16, jt: if_so, jf: if_not, k }
}

const RETURN: sock_filter = op(BPF_RET | BPF_A, 0);
/// No member has this number; the kernel chooses then.
const RETURN_NOBODY: sock_filter = op(BPF_RET | BPF_K, u32::MAX);

/// Any of those included.
fn by_chance(runs: &[Range<u32>]) -> Vec<sock_filter> {
    let mut program = vec![op(BPF_LD | BPF_W | BPF_ABS, (SKF_AD_OFF + SKF_AD_RANDOM) as u32)];
    program.push(op(BPF_ALU | BPF_MOD | BPF_K, count(runs)));
    choose(&mut program, runs);
    program
}

/// Makes the number that is there, counted from 0 among those included, an index.
fn choose(program: &mut Vec<sock_filter>, runs: &[Range<u32>]) {
    let mut counted = 0;
    for run in runs {
        let shift = run.start - counted;
        counted += run.end - run.start;
        program.push(branch(BPF_JMP | BPF_JGE | BPF_K, counted, 2, 0));
        program.push(op(BPF_ALU | BPF_ADD | BPF_K, shift));
        program.push(RETURN);
    }
    program.push(RETURN_NOBODY);
}

const fn header(offset: i32) -> u32 {
    (SKF_NET_OFF + offset) as u32
}

/// A hash of the sender's address (of IPv6 its end) and port: where they are depends on the version in the header's first bits.
/// Behind options of IP it is something else of the packet that counts, which is no worse than chance.
const HASH_OF_SENDER: [sock_filter; 16] = [
    op(BPF_LD | BPF_B | BPF_ABS, header(0)),
    op(BPF_ALU | BPF_RSH | BPF_K, 4),
    branch(BPF_JMP | BPF_JEQ | BPF_K, 6, 4, 0),
    op(BPF_LD | BPF_W | BPF_ABS, header(12)),
    op(BPF_MISC | BPF_TAX, 0),
    op(BPF_LD | BPF_H | BPF_ABS, header(20)),
    op(BPF_JMP | BPF_JA, 3),
    op(BPF_LD | BPF_W | BPF_ABS, header(20)),
    op(BPF_MISC | BPF_TAX, 0),
    op(BPF_LD | BPF_H | BPF_ABS, header(40)),
    op(BPF_ALU | BPF_ADD | BPF_X, 0),
    // Ports in a row, and addresses, go everywhere: a multiplication mixes the upper bits, which then mix the lower.
    op(BPF_ALU | BPF_MUL | BPF_K, 0x9e37_79b1),
    op(BPF_MISC | BPF_TAX, 0),
    op(BPF_ALU | BPF_RSH | BPF_K, 15),
    op(BPF_ALU | BPF_XOR | BPF_X, 0),
    op(BPF_ST, 0),
];

/// Always the same for one sender, whoever else is left out.
fn by_sender(members: usize, runs: &[Range<u32>]) -> Vec<sock_filter> {
    let members = members as u32;
    let mut program = HASH_OF_SENDER.to_vec();
    program.push(op(BPF_ALU | BPF_MOD | BPF_K, members));
    for run in runs {
        program.push(branch(BPF_JMP | BPF_JGE | BPF_K, run.end, 2, 0));
        program.push(branch(BPF_JMP | BPF_JGE | BPF_K, run.start, 0, 1));
        program.push(RETURN);
    }
    // Its member is left out: another part of the hash says who stands in.
    program.push(op(BPF_LD | BPF_MEM, 0));
    program.push(op(BPF_ALU | BPF_DIV | BPF_K, members));
    program.push(op(BPF_ALU | BPF_MOD | BPF_K, count(runs)));
    choose(&mut program, runs);
    program
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};

    use super::*;
    use crate::system::queue;
    use crate::system::socket::{Internet, bind_internet};

    /// The kernel's machine, as far as the programs need it.
    fn run(program: &[sock_filter], random: u32, packet: &[u8]) -> Option<u32> {
        let (mut a, mut x, mut memory, mut next) = (0u32, 0u32, 0u32, 0usize);
        loop {
            let sock_filter { code, jt, jf, k } = program[next];
            let code = u32::from(code);
            let at = k.wrapping_sub(header(0)) as usize;
            let mut jump = |so: bool| next += usize::from(if so { jt } else { jf });
            match code {
                _ if code == BPF_LD | BPF_ABS && k == (SKF_AD_OFF + SKF_AD_RANDOM) as u32 => a = random,
                _ if code == BPF_LD | BPF_ABS => {
                    a = u32::from_be_bytes(packet[at..at + 4].try_into().unwrap())
                }
                _ if code == BPF_LD | BPF_H | BPF_ABS => {
                    a = u16::from_be_bytes(packet[at..at + 2].try_into().unwrap()).into();
                }
                _ if code == BPF_LD | BPF_B | BPF_ABS => a = packet[at].into(),
                _ if code == BPF_LD | BPF_MEM => a = memory,
                _ if code == BPF_ST => memory = a,
                _ if code == BPF_MISC | BPF_TAX => x = a,
                _ if code == BPF_ALU | BPF_ADD => a += k,
                _ if code == BPF_ALU | BPF_ADD | BPF_X => a = a.wrapping_add(x),
                _ if code == BPF_ALU | BPF_XOR | BPF_X => a ^= x,
                _ if code == BPF_ALU | BPF_MUL => a = a.wrapping_mul(k),
                _ if code == BPF_ALU | BPF_DIV => a /= k,
                _ if code == BPF_ALU | BPF_MOD => a %= k,
                _ if code == BPF_ALU | BPF_RSH => a >>= k,
                _ if code == BPF_JMP | BPF_JA => next += k as usize,
                _ if code == BPF_JMP | BPF_JEQ => jump(a == k),
                _ if code == BPF_JMP | BPF_JGE => jump(a >= k),
                _ if code == BPF_RET | BPF_A => return Some(a),
                _ if code == BPF_RET | BPF_K => return None,
                _ => panic!("no such instruction: {code:#x}"),
            }
            next += 1;
        }
    }

    /// An IPv4 or IPv6 packet from this sender.
    fn packet(is_v6: bool, host: u8, port: u16) -> Vec<u8> {
        let mut packet = vec![0; 64];
        let (version, address, at) = if is_v6 { (0x60, 23, 40) } else { (0x45, 15, 20) };
        packet[0] = version;
        packet[address] = host;
        packet[at..at + 2].copy_from_slice(&port.to_be_bytes());
        packet
    }

    /// Sets worth a look: all, one out of the middle, one alone, every other one.
    fn cases() -> Vec<(usize, BTreeSet<usize>)> {
        vec![
            (1, BTreeSet::from([0])),
            (4, (0..4).collect()),
            (4, BTreeSet::from([0, 2, 3])),
            (4, BTreeSet::from([3])),
            (1024, (0..1024).filter(|index| *index != 700).collect()),
            (1024, (0..1024).step_by(2).collect()),
        ]
    }

    #[test]
    fn chance_chooses_evenly_among_those_included() {
        for (members, included) in cases() {
            let program = by_chance(&runs(&included));
            let chosen: Vec<usize> = (0..included.len() as u32)
                .map(|random| run(&program, random, &[]).unwrap() as usize)
                .collect();
            assert_eq!(chosen.into_iter().collect::<BTreeSet<_>>(), included, "of {members}");
            assert!(run(&program, u32::MAX, &[]).is_some());
        }
    }

    #[test]
    fn a_sender_stays_with_its_member_while_that_is_included() {
        for (members, included) in cases() {
            let whole = by_sender(members, &runs(&(0..members).collect()));
            let program = by_sender(members, &runs(&included));
            let mut loads = vec![0; members];
            let senders = (0..40 * members).map(|n| packet(n % 2 == 0, (n % 7) as u8, (n / 2) as u16));
            for packet in senders {
                let home = run(&whole, 0, &packet).unwrap() as usize;
                let now = run(&program, 0, &packet).unwrap() as usize;
                assert!(included.contains(&now));
                assert!(now == home || !included.contains(&home), "{home} {now}");
                loads[now] += 1;
            }
            let fair = 40 * members / included.len();
            let is_fair = |index: &usize| (fair / 2..fair * 2).contains(&loads[*index]);
            assert!(members > 4 || included.iter().all(is_fair), "{fair}: {loads:?}");
        }
    }

    #[test]
    fn no_program_is_longer_than_the_kernel_takes() {
        let worst: BTreeSet<usize> = (0..1024).step_by(2).collect();
        assert!(by_sender(1024, &runs(&worst)).len() < 4096);
    }

    /// So many sockets that share an address.
    fn group(kind: SockType, count: usize) -> Vec<OwnedFd> {
        let mut addr = "127.0.0.1:0".parse().unwrap();
        let mut sockets = Vec::new();
        for _ in 0..count {
            let wanted =
                Internet { kind, addr, dual_stack: false, backlog: 1024, reuseport: true, reuseaddr: false };
            let socket = bind_internet(wanted).unwrap();
            let copy = socket.try_clone().unwrap();
            addr = if kind == SockType::Stream {
                TcpListener::from(copy).local_addr().unwrap()
            } else {
                UdpSocket::from(copy).local_addr().unwrap()
            };
            sockets.push(socket);
        }
        sockets
    }

    #[test]
    fn the_kernel_sends_connections_where_they_are_to_go() {
        let mut sockets = group(SockType::Stream, 4);
        let addr = TcpListener::from(sockets[0].try_clone().unwrap()).local_addr().unwrap();
        let mut waiting = Vec::new();
        let mut connect = |sockets: &[OwnedFd]| {
            waiting.extend((0..60).map(|_| TcpStream::connect(addr).unwrap()));
            sockets.iter().map(|socket| queue::depth(socket).unwrap()).collect::<Vec<_>>()
        };
        steer(&sockets[0], 4, &BTreeSet::from([1, 3])).unwrap();
        let first = connect(&sockets);
        assert!(first[0] == 0 && first[1] > 0 && first[2] == 0 && first[3] > 0, "{first:?}");
        // Whoever is still to come gets nothing either.
        steer(&sockets[0], 5, &BTreeSet::from([0, 1, 2, 3])).unwrap();
        let late = Internet {
            kind: SockType::Stream,
            addr,
            dual_stack: false,
            backlog: 1024,
            reuseport: true,
            reuseaddr: false,
        };
        sockets.push(bind_internet(late).unwrap());
        let second = connect(&sockets);
        assert!(second[..4].iter().zip(&first).all(|(now, before)| now > before), "{first:?} {second:?}");
        assert_eq!(second[4], 0);
        steer(&sockets[2], 5, &(0..5).collect()).unwrap();
        assert!(connect(&sockets)[4] > 0);
        assert!(detach(&sockets[0]).is_ok(), "it is no error that there is none");
    }

    #[test]
    fn the_kernel_sends_datagrams_of_one_sender_to_one_member() {
        let sockets: Vec<UdpSocket> = group(SockType::Datagram, 3).into_iter().map(UdpSocket::from).collect();
        let addr = sockets[0].local_addr().unwrap();
        let senders: Vec<UdpSocket> = (0..30).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
        let homes = |included: &[usize]| -> Vec<usize> {
            let first = OwnedFd::from(sockets[0].try_clone().unwrap());
            steer(&first, 3, &included.iter().copied().collect()).unwrap();
            let home = |sender: &UdpSocket| {
                sender.send_to(b"?", addr).unwrap();
                // Between sockets of one machine a datagram is there when it was sent.
                let has_it = |socket: &&UdpSocket| socket.recv(&mut [0]).is_ok();
                sockets.iter().position(|socket| has_it(&socket)).unwrap()
            };
            senders.iter().map(home).collect()
        };
        for socket in &sockets {
            socket.set_nonblocking(true).unwrap();
        }
        let all = homes(&[0, 1, 2]);
        assert_eq!(all, homes(&[0, 1, 2]));
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 3, "{all:?}");
        let some = homes(&[0, 2]);
        for (before, now) in all.iter().zip(&some) {
            assert!(if *before == 1 { *now != 1 } else { now == before }, "{all:?} {some:?}");
        }
    }
}
