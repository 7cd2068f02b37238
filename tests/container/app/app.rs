//! A program for the inside of a container. `app serve` answers every request on descriptor 3 with its worker's number,
//! its generation and /proc/self/status; `app eat` takes memory until somebody stops it.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::fd::FromRawFd;

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("serve") => serve(),
        Some("eat") => eat(),
        other => panic!("serve or eat, not {other:?}"),
    }
}

fn serve() {
    // SAFETY: descriptor 3 was passed to us, and nobody else here knows it.
    let listener = unsafe { TcpListener::from_raw_fd(3) };
    let named = |name: &str| std::env::var(name).unwrap_or_default();
    let (worker, generation) = (named("ALLCORES_WORKER"), named("ALLCORES_GENERATION"));
    for stream in listener.incoming() {
        let Ok(mut stream) = stream else { continue };
        let _ = stream.read(&mut [0; 4096]);
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let _ = write!(stream, "HTTP/1.0 200 OK\r\n\r\nWorker:\t{worker}\nGeneration:\t{generation}\n{status}");
    }
}

fn eat() {
    let mut eaten = Vec::new();
    loop {
        // Every page is written to: memory that is only asked for costs nothing.
        eaten.push(vec![1_u8; 1 << 20]);
        std::hint::black_box(&eaten);
    }
}
