//! Arbitrary bytes, as a client may send them: does the parser panic, change its mind when more comes, want more than the limit, or
//! does a request without the right to it change anything?

#![no_main]

use std::collections::BTreeMap;

use allcores::config::Mode;
use allcores::ids::Generation;
use allcores::observe::figures::{About, Figures, View};
use allcores::observe::http::{Afterwards, Beginning, MOST_HEADER, Method, parse};
use allcores::observe::routes::{Door, Reply, Sight, reply};
use allcores::supervisor::status::{PhaseStatus, Status};
use libfuzzer_sys::fuzz_target;

/// Nothing to see.
struct Nothing;

impl Sight for Nothing {
    fn status(&self) -> Status {
        Status {
            phase: PhaseStatus::Running,
            ready: false,
            was_ready: false,
            wanted: 1,
            min_ready: 1,
            follows_cores: false,
            generation: Generation(1),
            workers: Vec::new(),
            reloading: None,
            last_reload: None,
            reloads: BTreeMap::new(),
            deaths: BTreeMap::new(),
            recent_deaths: Vec::new(),
            signals: BTreeMap::new(),
            orphans: 0,
        }
    }
    fn figures(&mut self, _: &Status) -> Figures {
        Figures::default()
    }
    fn view<'a>(&self, status: &'a Status, figures: &'a Figures) -> View<'a> {
        View { about: About { pid: 1, mode: Mode::Plain }, uptime: std::time::Duration::ZERO, status, figures }
    }
}

/// What clients begin with: by chance alone few would get any further.
const BEGINNINGS: [&str; 6] = [
    "",
    "GET ",
    "POST /",
    "HEAD /metrics HTTP/1.1\r\n",
    "GET /status HTTP/1.1\r\nAccept: ",
    "POST /scale/",
];

fuzz_target!(|bytes: &[u8]| {
    // As if it came in two pieces, cut where the first byte says.
    let [cut, beginning, rest @ ..] = bytes else { return };
    let bytes = &[BEGINNINGS[usize::from(*beginning) % BEGINNINGS.len()].as_bytes(), rest].concat();
    let (first, all) = (parse(&bytes[..bytes.len() * usize::from(*cut) / 256]), parse(bytes));
    let stays = match first {
        Beginning::Incomplete => true,
        Beginning::Request(..) => first == all,
        // What is wrong with it may be more than one thing.
        Beginning::Bad(_) => matches!(all, Beginning::Bad(_)),
    };
    assert!(stays, "{first:?} became {all:?}");
    match all {
        Beginning::Incomplete => assert!(bytes.len() < MOST_HEADER),
        Beginning::Bad(_) => {}
        Beginning::Request(request, length) => {
            assert!((1..=bytes.len().min(MOST_HEADER)).contains(&length));
            for door in [Door::Public, Door::Control] {
                match reply(&request, door, &mut Nothing) {
                    Reply::Demand(_) => assert!(door == Door::Control && request.method == Method::Post),
                    Reply::Response(response) => {
                        let bytes = response.bytes(request.method, Afterwards::Keep);
                        let text = std::str::from_utf8(&bytes).expect("an answer is text");
                        let (_, body) = text.split_once("\r\n\r\n").expect("an answer has a head");
                        assert!(request.method != Method::Head || body.is_empty());
                    }
                }
            }
        }
    }
});
