//! Clients that are slow, silent, rude, many, or gone: none of them delays a signal or keeps a probe from its answer.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use crate::client::{DOOR, ask, connect, exchange, probe, read};
use crate::harness::{Running, allcores_sh};
use crate::kernel::private_network;

/// As many connections as there is room for.
const MOST: usize = 64;

fn running() -> Running {
    private_network();
    let line = "trap 'echo heard' USR1; echo up; while :; do sleep 0.01; done";
    let mut running = allcores_sh(line).set("HTTP", DOOR).start();
    running.output.next("up");
    running
}

/// A probe is answered and a signal is acted upon, both at once.
#[track_caller]
fn assert_unharmed(running: &mut Running) {
    let start = Instant::now();
    assert_eq!(probe("/livez"), (200, "ok".to_owned()));
    running.send(libc::SIGUSR1);
    running.output.next("heard");
    let took = start.elapsed();
    assert!(took < Duration::from_secs(4), "after {took:?}");
}

/// What is left to read, whatever ends it.
fn drain(mut stream: TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    let mut chunk = [0; 4096];
    while let Ok(length @ 1..) = stream.read(&mut chunk) {
        all.extend(&chunk[..length]);
    }
    all
}

#[test]
fn two_hundred_silent_connections() {
    let mut running = running();
    let silent: Vec<TcpStream> = (0..200).map(|_| connect()).collect();
    assert_unharmed(&mut running);
    // The oldest have made room.
    assert!(drain(silent.into_iter().next().unwrap()).is_empty());
}

#[test]
fn headers_that_come_byte_by_byte_in_every_place_there_is() {
    let mut running = running();
    let mut slow: Vec<TcpStream> = (0..MOST).map(|_| connect()).collect();
    for byte in b"GET /livez HTTP/1.1\r\nX: " {
        for stream in &mut slow {
            // Those that had to make room are gone.
            let _ = stream.write_all(&[*byte]);
        }
        assert_eq!(probe("/livez"), (200, "ok".to_owned()));
    }
    assert_unharmed(&mut running);
}

#[test]
fn whoever_says_nothing_is_let_go_after_five_seconds() {
    let mut running = running();
    let start = Instant::now();
    let silent = connect();
    let mut begun = connect();
    begun.write_all(b"GET /livez HT").unwrap();
    assert!(drain(silent).is_empty() && drain(begun).is_empty());
    let took = start.elapsed();
    assert!((Duration::from_secs(4)..Duration::from_secs(20)).contains(&took), "after {took:?}");
    assert_unharmed(&mut running);
}

#[test]
fn a_thousand_requests_at_once_are_a_thousand_answers() {
    let mut running = running();
    let mut stream = connect();
    let mut writer = stream.try_clone().unwrap();
    let sender = std::thread::spawn(move || {
        let many = "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n".repeat(999);
        writer.write_all(many.as_bytes()).unwrap();
        writer.write_all(b"GET /livez HTTP/1.1\r\nConnection: close\r\n\r\n").unwrap();
    });
    let mut answers = String::new();
    stream.read_to_string(&mut answers).unwrap();
    sender.join().unwrap();
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 1000);
    assert_unharmed(&mut running);
}

#[test]
fn whoever_asks_and_does_not_listen() {
    let mut running = running();
    let mut deaf: Vec<TcpStream> = (0..MOST).map(|_| connect()).collect();
    for stream in &mut deaf {
        stream.set_nonblocking(true).unwrap();
        let metrics = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(100);
        loop {
            match stream.write(&metrics) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => break,
            }
        }
    }
    assert_unharmed(&mut running);
}

#[test]
fn too_long_a_header_is_told_so() {
    let mut running = running();
    for text in [
        format!("GET /livez HTTP/1.1\r\nX: {}\r\n\r\n", "a".repeat(100_000)),
        format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(9_000)),
        format!("GET /livez HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(100)),
    ] {
        assert_eq!(exchange(connect(), &text).code(), 431);
    }
    assert_unharmed(&mut running);
}

#[test]
fn what_is_no_request_is_told_so() {
    let mut running = running();
    for text in [
        "\x16\x03\x01\x02\0\x01\0\x01\u{fc}",
        "GET\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "{\"cmd\":1}\n",
    ] {
        assert_eq!(exchange(connect(), text).code(), 400, "{text:?}");
    }
    assert_unharmed(&mut running);
}

#[test]
fn whoever_has_said_all_still_hears_the_answer() {
    let mut running = running();
    let mut half = connect();
    half.write_all(b"GET /livez HTTP/1.1\r\n\r\nGET /livez HTTP/1.1\r\n\r\nGET /li").unwrap();
    half.shutdown(Shutdown::Write).unwrap();
    let answer = read(half);
    assert!(answer.code() == 200 && answer.body.ends_with("\r\n\r\nok\n"), "{}", answer.body);
    // And whoever is gone does not, at no cost.
    for _ in 0..500 {
        let mut gone = connect();
        gone.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
    }
    assert_unharmed(&mut running);
}

#[test]
fn a_body_is_not_waited_for() {
    let mut running = running();
    let text = "GET /livez HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n".to_owned() + &"a".repeat(100_000);
    assert_eq!(exchange(connect(), &text).code(), 200);
    let text = "POST /reload HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
    assert_eq!(exchange(connect(), text).code(), 405);
    assert_unharmed(&mut running);
}

#[test]
fn a_stop_does_not_wait_for_clients() {
    let running = running();
    let _silent: Vec<TcpStream> = (0..MOST).map(|_| connect()).collect();
    let mut kept = connect();
    kept.write_all(b"GET /livez HTTP/1.1\r\n\r\n").unwrap();
    assert_eq!(ask("GET", "/livez").code(), 200);
    let start = Instant::now();
    let ended = running.stop();
    assert!(start.elapsed() < Duration::from_secs(5), "after {:?}: {}", start.elapsed(), ended.log);
}
