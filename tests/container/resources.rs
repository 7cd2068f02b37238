//! Limits that Docker sets: what we make of them, and what becomes of us when workers run into them.

use crate::common::field;
use crate::docker::{Container, run_to_end};

#[test]
fn workers_are_as_many_as_the_cores_that_docker_gives() {
    let cores = std::thread::available_parallelism().unwrap().get();
    assert!(cores >= 2, "this test needs two cores, and here is one");
    let cases = [
        ("--cpus 1.5", 2, "quota of 1.50 cores"),
        ("--cpus 0.5", 1, "quota of 0.50 cores"),
        ("--cpus 0.5 --cgroupns private", 1, "quota of 0.50 cores"),
        ("--cpuset-cpus 0", 1, "1 core allowed"),
    ];
    for (options, workers, why) in cases {
        let checked = run_to_end(options, "--check -l 8080", &["/app", "serve"]).text;
        assert!(
            checked.contains(&format!("# mode: inherit; workers: {workers} ({why}")),
            "{options}: {checked}"
        );

        let container = Container::start(options, "-l 8080", &["/app", "serve"]);
        container.wait_for_lines(workers, &["worker ready"]);
        container.wait_for_line(&["starting", &format!("workers={workers} "), why]);
        assert_eq!(container.stop().0, 0);
        assert_eq!(container.wait_for_lines(workers, &["worker died"]).len(), workers, "{options}");
    }
}

#[test]
fn a_pool_follows_the_cores_that_docker_gives_while_it_runs() {
    let container = Container::start("--cpus 0.5", "-l 8080", &["/app", "serve"]);
    container.wait_for_line(&["worker ready", "slot=0 "]);
    container.docker("update --cpus 1.5");
    container.wait_for_line(&["number of workers changed", "from=1 to=2"]);
    container.wait_for_line(&["worker ready", "slot=1 "]);
    container.docker("update --cpus 1");
    container.wait_for_line(&["number of workers changed", "from=2 to=1"]);
    container.wait_for_line(&["worker died", "slot=1 ", "cause=stopped"]);
    assert_eq!(container.stop().0, 0);
}

#[test]
fn a_worker_that_takes_all_memory_dies_of_oom_and_we_live_on() {
    let script = "[ $ALLCORES_WORKER = 1 ] && exec /app eat; exec sleep 1000";
    let options = "--memory 64m --memory-swap 64m";
    let container = Container::start(options, "-n 2 --first-port 9000", &["sh", "-c", script]);
    container.wait_for_line(&["worker died", "worker=1 ", "signal=KILL", "cause=oom"]);
    container.wait_for_line(&["worker ready", "worker=3 ", "slot=0 "]);
    assert_eq!(container.inspect(".State.Running"), "true");

    // A kill that has nothing to do with memory is not mistaken for one that has.
    let ready = container.wait_for_line(&["worker ready", "slot=1 "]);
    container.exec(&["kill", "-9", field(&ready, "pid").unwrap()]);
    container.wait_for_line(&["worker died", "slot=1 ", "signal=KILL", "cause=crashed"]);
    assert_eq!(container.stop().0, 0);
}

#[test]
fn a_pool_without_room_for_processes_serves_with_what_it_has() {
    let settings = "-n 6 -l 8080 --backoff 100ms..500ms";
    let options = "--pids-limit 4 --publish 127.0.0.1::8080";
    let container = Container::start(options, settings, &["/app", "serve"]);
    container.wait_for_lines(3, &["worker ready"]);
    // The three others fail more often than makes a pool give up, but not all of it does.
    container.wait_for_lines(3 * 6, &["worker cannot be started", "Resource temporarily unavailable"]);
    assert!(container.ask().starts_with("HTTP/1.0 200 OK"));

    container.docker("update --pids-limit 20");
    let ready = container.wait_for_lines(6, &["worker ready"]);
    for slot in 0..6 {
        assert!(ready.iter().any(|line| line.contains(&format!(" slot={slot} "))), "{slot}: {ready:?}");
    }
    assert_eq!(container.stop().0, 0);
}
