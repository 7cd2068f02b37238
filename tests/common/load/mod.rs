//! Clients that ask one question after the other, remember how each went, and count failures by their kind.

#![allow(dead_code, reason = "each crate uses its part")]

mod client;
mod fastcgi;

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

pub use client::{Client, Outcome, Protocol, Request};

use crate::common::wait_until;

/// How many ask at the same time, each one question at a time.
pub const CLIENTS: usize = 4;
/// No client asks more often than this, so that a test of minutes has a bounded number of connections.
const MOST_REQUESTS: usize = 50_000;
const BETWEEN: Duration = Duration::from_millis(1);

/// Clients at work.
pub struct Load {
    stop: Arc<AtomicBool>,
    requests: Arc<Mutex<Vec<Request>>>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    /// Sends the clients off.
    pub fn start(address: SocketAddr, protocol: Protocol) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let client = |_| {
            let (stop, requests) = (Arc::clone(&stop), Arc::clone(&requests));
            thread::spawn(move || {
                let mut client = Client::new(address, protocol);
                for _ in 0..MOST_REQUESTS {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let request = client.ask("/");
                    requests.lock().unwrap().push(request);
                    thread::sleep(BETWEEN);
                }
            })
        };
        let clients = (0..CLIENTS).map(client).collect();
        Self { stop, requests, clients }
    }

    /// The workers that have answered so far.
    pub fn served(&self) -> BTreeSet<u64> {
        self.requests.lock().unwrap().iter().filter_map(answered_by).collect()
    }

    /// Waits until anybody has answered.
    pub fn wait_for_answer(&self) {
        self.wait_for_more(1);
    }

    /// Waits until so many more were answered.
    pub fn wait_for_more(&self, count: usize) {
        let answered = || self.requests.lock().unwrap().iter().filter(|request| request.is_ok()).count();
        let before = answered();
        wait_until("more are answered", || (answered() >= before + count).then_some(()));
    }

    /// Waits until this worker has answered.
    pub fn wait_for_answer_of(&self, worker: u64) {
        wait_until("a worker serves", || self.served().contains(&worker).then_some(()));
    }

    /// Calls the clients back; each ends the request that it is at.
    pub fn finish(mut self) -> Vec<Request> {
        let at_work = self.clients.iter().filter(|client| !client.is_finished()).count();
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients.drain(..) {
            client.join().unwrap();
        }
        assert_eq!(
            at_work, CLIENTS,
            "some had asked {MOST_REQUESTS} times, and there was less load than meant"
        );
        std::mem::take(&mut *self.requests.lock().unwrap())
    }

    /// Calls the clients back: nobody has been harmed. What they met is printed, and given.
    pub fn finish_unharmed(self, what: &str) -> Tally {
        let requests = self.finish();
        let tally = Tally::of(&requests);
        println!("{what}: {tally}");
        let failed: Vec<_> = requests.iter().filter(|request| !request.is_ok()).take(10).collect();
        assert!(failed.is_empty() && tally.ended_early == 0, "{what}: {tally}\n{failed:#?}");
        tally
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn answered_by(request: &Request) -> Option<u64> {
    match request.outcome {
        Outcome::Answered(worker) => Some(worker),
        Outcome::Refused | Outcome::Cut | Outcome::TimedOut | Outcome::Strange(_) => None,
    }
}

/// How often what happened.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub answered: usize,
    pub refused: usize,
    pub cut: usize,
    pub timed_out: usize,
    pub strange: usize,
    /// Kept connections that were found closed.
    pub closed: usize,
    /// Kept connections that were reset as a request was on its way, unread.
    pub reset: usize,
    /// Kept connections that ended as a request was on its way, perhaps read.
    pub ended_early: usize,
    /// The longest that anybody waited.
    pub slowest: Duration,
}

impl Tally {
    /// Counts.
    pub fn of(requests: &[Request]) -> Self {
        let mut tally = Self::default();
        for request in requests {
            *match request.outcome {
                Outcome::Answered(_) => &mut tally.answered,
                Outcome::Refused => &mut tally.refused,
                Outcome::Cut => &mut tally.cut,
                Outcome::TimedOut => &mut tally.timed_out,
                Outcome::Strange(_) => &mut tally.strange,
            } += 1;
            tally.closed += request.closed;
            tally.reset += request.reset;
            tally.ended_early += request.ended_early;
            tally.slowest = tally.slowest.max(request.ended - request.begun);
        }
        tally
    }

    /// How many were not answered.
    pub fn failed(&self) -> usize {
        self.refused + self.cut + self.timed_out + self.strange
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { answered, refused, cut, timed_out, strange, closed, reset, ended_early, slowest } = self;
        write!(
            f,
            "{answered} answered within {slowest:?}, {refused} refused, {cut} cut, {timed_out} timed out, {strange} strange; kept connections: \
             {closed} closed while idle, {reset} reset at reuse, {ended_early} ended at reuse"
        )
    }
}
