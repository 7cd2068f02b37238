//! What passes is counted, and shown to whoever asks: by HTTP, and over the channel.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::client::get;
use crate::common::wait_until;
use crate::pool::{Launch, Primary, own_address};

fn metrics(door: SocketAddr) -> String {
    let mut stream = TcpStream::connect(door).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// The sum over all samples whose line begins with this.
fn sum(metrics: &str, name: &str) -> f64 {
    let samples = metrics.lines().filter(|line| line.starts_with(name));
    samples.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum()
}

#[test]
fn connections_are_counted_and_loops_are_asked() {
    let (address, door) = (own_address(), own_address());
    let pool = Launch::new("http.js", 2).at(address).set("http", &door.to_string()).serve(Primary::Ours);
    for _ in 0..10 {
        get(address).unwrap();
    }
    let shown = wait_until("all are taken, and loops have answered", || {
        let shown = metrics(door);
        let lags = shown.matches("\nallcores_worker_event_loop_lag_seconds{").count();
        (sum(&shown, "allcores_handoffs_total{") == 10.0 && lags == 2).then_some(shown)
    });
    assert_eq!(sum(&shown, "allcores_handoff_seconds_count "), 10.0, "{shown}");
    assert_eq!(sum(&shown, "allcores_handoff_seconds_bucket{le=\"+Inf\"} "), 10.0, "{shown}");
    assert_eq!(sum(&shown, "allcores_handoffs_pending "), 0.0, "{shown}");
    assert!(sum(&shown, "allcores_worker_event_loop_lag_seconds{") < 10.0, "{shown}");
    drop(pool);
}

#[test]
fn a_program_gets_the_status_that_it_asks_for() {
    let pool = Launch::new("status.js", 2).at(own_address()).serve(Primary::Ours);
    for said in pool.seen_all("status", 2) {
        let status = &said["status"];
        assert_eq!(status["mode"], "cluster", "{said}");
        assert_eq!(status["workers"].as_array().unwrap().len(), 2, "{said}");
    }
}
