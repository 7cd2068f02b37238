//! `docker kill --signal`: every signal arrives where section "Signals" of the README says.

use crate::docker::Container;

/// A shell that says which signals it got. Names for people, numbers for the shell, which has none for real-time ones.
fn listener(signals: &[(&str, i32)]) -> String {
    let traps = signals.iter().map(|(name, number)| format!("trap 'echo got {name}.' {number}; "));
    traps.collect::<String>() + "echo set; while :; do sleep 0.1; done"
}

#[test]
fn a_plain_program_gets_the_signals_that_docker_sends() {
    let signals = [("HUP", 1), ("QUIT", 3), ("USR1", 10), ("USR2", 12), ("WINCH", 28), ("RTMIN+3", 37)];
    let container = Container::start("", "", &["sh", "-c", &listener(&signals)]);
    container.wait_for_line(&["set"]);
    for (name, _) in signals {
        container.kill(name);
        assert_eq!(container.wait_for_line(&["got ", " ", name, "."]), format!("got {name}."));
    }
    assert_eq!(container.stop().0, 143);
}

#[test]
fn all_workers_of_a_pool_get_what_is_for_them_and_nothing_else() {
    let signals = [("HUP", 1), ("USR1", 10), ("WINCH", 28), ("RTMIN+3", 37)];
    let container = Container::start("", "-n 2 --first-port 9000", &["sh", "-c", &listener(&signals)]);
    container.wait_for_lines(2, &["set"]);
    for ignored in ["WINCH", "HUP"] {
        container.kill(ignored);
    }
    for forwarded in ["USR1", "RTMIN+3"] {
        container.kill(forwarded);
        container.wait_for_lines(2, &[&format!("got {forwarded}.")]);
    }
    let log = container.log();
    assert!(!log.contains("got WINCH.") && !log.contains("got HUP."), "{log}");

    container.kill("QUIT");
    assert_eq!(container.wait(), 0, "QUIT stops a pool");
}

#[test]
fn the_table_of_signals_can_be_changed() {
    let changes = "--signals WINCH=stop,USR1=RTMIN+3,USR2=ignore";
    let settings = format!("-n 2 --first-port 9000 {changes}");
    let script = listener(&[("USR1", 10), ("USR2", 12), ("RTMIN+3", 37)]);
    let container = Container::start("--stop-signal WINCH", &settings, &["sh", "-c", &script]);
    container.wait_for_lines(2, &["set"]);
    container.kill("USR2");
    container.kill("USR1");
    container.wait_for_lines(2, &["got RTMIN+3."]);
    let log = container.log();
    assert!(!log.contains("got USR"), "{log}");
    assert_eq!(container.stop().0, 0, "an image whose STOPSIGNAL is WINCH");
}

#[test]
fn a_second_request_kills_what_ignores_the_first() {
    let script = "trap '' TERM; echo set; while :; do sleep 0.1; done";
    let container = Container::start("", "-n 2 --first-port 9000 --stop-timeout off", &["sh", "-c", script]);
    container.wait_for_lines(2, &["set"]);
    container.kill("TERM");
    container.wait_for_line(&["stopping"]);
    // The same request within a second counts once.
    let asked = std::time::Instant::now();
    crate::common::wait_until("a second is over", || (asked.elapsed().as_millis() > 1200).then_some(()));
    container.kill("TERM");
    assert_eq!(container.wait(), 137);
}
