//! Mode `reuseport`: new connections come to those who accept them, and nobody waits for somebody who does not.

use std::collections::BTreeSet;
use std::fs;
use std::io::{ErrorKind, Read};
use std::net::{TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use crate::harness::{Running, allcores_with, field, until};
use crate::kernel::{private_network, send};
use crate::sockets::{answer, ask};

const ADDRESS: &str = "127.0.0.1:8080";

/// Two workers that serve; their pids out here by slot.
fn start(settings: &[(&str, &str)]) -> (Running, [i32; 2]) {
    let launch = allcores_with("serve.py", &[]).set("LISTEN", ADDRESS).set("MODE", "reuseport");
    let launch = launch.set("WORKERS", "2").set("READY", "alive:10ms");
    let mut running = settings.iter().fold(launch, |launch, (name, value)| launch.set(name, value)).start();
    running.output.next_of(2, "up");
    let ready = running.log.next_of(2, "worker ready");
    // A turn of the loop later, new connections come to both.
    running.send(libc::SIGWINCH);
    running.log.next("signal ignored");
    let pid = |slot: &str| {
        let line = ready.iter().find(|line| field(line, "slot") == slot).unwrap();
        running.outer(field(line, "pid").parse().unwrap())
    };
    let pids = [pid("0"), pid("1")];
    (running, pids)
}

/// Kills a worker, and waits until others get what is new.
fn kill(running: &mut Running, pid: i32) {
    send(pid, libc::SIGKILL);
    running.log.next("slot rests");
    running.log.next("new connections are steered slots=1 of=2");
}

fn connect() -> TcpStream {
    TcpStream::connect(ADDRESS).unwrap()
}

/// The slots that answer connections now.
fn slots() -> BTreeSet<String> {
    (0..40).map(|_| ask(ADDRESS).split(' ').next().unwrap().to_owned()).collect()
}

#[test]
fn nobody_waits_for_a_replacement() {
    private_network();
    let (mut running, pids) = start(&[("BACKOFF", "5s..5s"), ("MAX_FAILURES", "0")]);
    kill(&mut running, pids[0]);
    let began = Instant::now();
    assert_eq!(slots(), BTreeSet::from(["1".to_owned()]));
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    running.log.next("new connections are steered slots=2 of=2");
    assert_eq!(slots().len(), 2);
    assert_eq!(running.stop().code, Some(0));
}

#[test]
fn datagrams_of_the_dead_are_answered_by_the_living() {
    private_network();
    let (mut running, pids) =
        start(&[("LISTEN", "udp://127.0.0.1:8080"), ("BACKOFF", "5s..5s"), ("MAX_FAILURES", "0")]);
    let clients: Vec<UdpSocket> = (0..20).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
    let ask_all = || -> Vec<String> {
        let ask = |client: &UdpSocket| {
            client.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
            client.send_to(b"?", ADDRESS).unwrap();
            let mut answer = [0; 64];
            let length = client.recv(&mut answer).unwrap();
            String::from_utf8_lossy(&answer[..length]).split(' ').next().unwrap().to_owned()
        };
        clients.iter().map(ask).collect()
    };
    let before = ask_all();
    assert!(before.iter().any(|slot| slot == "0") && before == ask_all(), "{before:?}");
    kill(&mut running, pids[0]);
    assert!(ask_all().iter().all(|slot| slot == "1"));
    running.log.next("worker ready");
    until("everybody is back where they were", || (ask_all() == before).then_some(()));
}

#[test]
fn a_worker_that_does_not_accept_gets_nothing_new_until_it_does() {
    private_network();
    let (mut running, pids) = start(&[]);
    send(pids[1], libc::SIGSTOP);
    // So many that some wait for it.
    let early: Vec<TcpStream> = (0..30).map(|_| connect()).collect();
    let line = running.log.next("worker does not accept");
    assert_eq!(field(&line, "slot"), "1");
    running.log.next("new connections are steered slots=1 of=2");
    assert_eq!(slots(), BTreeSet::from(["0".to_owned()]));

    send(pids[1], libc::SIGCONT);
    running.log.next("worker accepts again");
    running.log.next("new connections are steered slots=2 of=2");
    let answers: BTreeSet<String> = early.into_iter().map(answer).collect();
    assert_eq!(answers.len(), 2, "{answers:?}");
    assert_eq!(slots().len(), 2);
    assert_eq!(running.stop().code, Some(0));
}

/// What became of a connection: its answer, or that it was refused after all.
fn end_of(mut connection: TcpStream) -> Result<String, ErrorKind> {
    connection.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).map_err(|error| error.kind())?;
    Ok(answer)
}

/// A pool loses a worker that has not accepted what waits for it, and never will.
fn shrink() -> Vec<Result<String, ErrorKind>> {
    let (mut running, pids) = start(&[("STOP_TIMEOUT", "1s")]);
    send(pids[1], libc::SIGSTOP);
    let early: Vec<TcpStream> = (0..30).map(|_| connect()).collect();
    running.send(libc::SIGTTOU);
    running.log.next("new connections are steered slots=1 of=2");
    assert_eq!(slots(), BTreeSet::from(["0".to_owned()]));
    running.log.next("worker died");
    let ends = early.into_iter().map(end_of).collect();
    // A new worker in the same slot has a socket again.
    running.send(libc::SIGTTIN);
    until("the new worker serves", || (slots().len() == 2).then_some(()));
    assert_eq!(running.stop().code, Some(0));
    ends
}

#[test]
fn what_a_slot_leaves_behind_is_refused_and_does_not_hang() {
    private_network();
    let ends = shrink();
    let refused = |end: &&Result<String, ErrorKind>| **end == Err(ErrorKind::ConnectionReset);
    let served =
        ends.iter().filter(|end| end.as_deref().is_ok_and(|answer| answer.starts_with("0 "))).count();
    assert_eq!(served + ends.iter().filter(refused).count(), 30, "{ends:?}");
}

#[test]
fn what_a_slot_leaves_behind_goes_to_others_where_the_kernel_is_told_so() {
    private_network();
    fs::write("/proc/sys/net/ipv4/tcp_migrate_req", "1").unwrap();
    let ends = shrink();
    assert!(ends.iter().all(|end| end.as_deref().is_ok_and(|answer| answer.starts_with("0 "))), "{ends:?}");
}

#[test]
fn a_worker_that_leaves_a_pool_takes_what_is_on_its_way() {
    private_network();
    let (mut running, _) = start(&[]);
    let early: Vec<TcpStream> = (0..30).map(|_| connect()).collect();
    running.send(libc::SIGTTOU);
    running.log.next("number of workers changed");
    assert!(early.into_iter().all(|connection| end_of(connection).is_ok()));
    running.log.next("worker died");
    assert_eq!(running.stop().code, Some(0));
}
