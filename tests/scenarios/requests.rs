//! What each signal asks for.

use allcores::config::kinds::Request;
use allcores::signal::Signal;
use allcores::supervisor::requests;

use crate::story::{Story, config};

/// What a signal does: in `plain` with one worker, in `plain` with two, and in a pool.
fn row(name: &str) -> String {
    let signal = Signal::parse(name).unwrap();
    let columns = [config(&[]), config(&[("workers", "2")]), config(&[("listen", "8080")])];
    columns
        .map(|config| match requests::request(signal, &config) {
            Request::Stop => "stop".to_owned(),
            Request::Quit => "quit".to_owned(),
            Request::Forward(sent) if sent == signal => "forward".to_owned(),
            Request::Forward(sent) => sent.to_string(),
            Request::Reload => "reload".to_owned(),
            Request::More => "more".to_owned(),
            Request::Less => "less".to_owned(),
            Request::Ignore => "ignore".to_owned(),
            Request::Suspend => "suspend".to_owned(),
        })
        .join(" ")
}

#[test]
fn the_table_is_the_contracts() {
    for (names, expected) in [
        ("TERM INT", "stop stop stop"),
        ("QUIT", "forward stop stop"),
        ("HUP", "forward forward reload"),
        ("WINCH", "forward forward ignore"),
        ("TSTP", "suspend ignore ignore"),
        ("USR1 USR2 CONT RTMIN RTMIN+3 RTMAX", "forward forward forward"),
        ("TTIN", "ignore ignore more"),
        ("TTOU", "ignore ignore less"),
        ("CHLD PIPE ALRM URG IO", "ignore ignore ignore"),
    ] {
        for name in names.split(' ') {
            assert_eq!(row(name), expected, "{name}");
        }
    }
}

#[test]
fn a_changed_row_does_what_it_says() {
    let mut story =
        Story::pool(&[("signals", "HUP=forward,USR1=ignore,USR2=WINCH,QUIT=forward,USR2=RTMIN+1")]);
    story.chapter();
    for name in ["HUP", "USR1", "USR2", "QUIT"] {
        story.signal(name);
    }
    story.went(
        "
             0 HUP
               - HUP to 2
               - HUP to 3
             0 USR1
               - USR1 means nothing
             0 USR2
               - RTMIN+1 to 2
               - RTMIN+1 to 3
             0 QUIT
               - QUIT to 2
               - QUIT to 3",
    );
}

#[test]
fn only_workers_that_live_are_sent_anything() {
    let mut story = Story::pool(&[("ready", "alive:1h"), ("forward", "group")]);
    story.exits(2, 1);
    story.chapter();
    story.signal("USR1");
    story.went(
        "
             0 USR1
               - USR1 to group 3",
    );
}
