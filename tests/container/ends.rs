//! How containers end: what Docker is told, and what it makes of it.

use std::time::Duration;

use crate::common::{field, wait_until};
use crate::docker::{Container, run_to_end};

/// Long enough for a busy machine, and less than the 8 s after which we kill.
const QUICK: Duration = Duration::from_secs(7);

#[test]
fn docker_sees_the_exit_code_that_tells_the_truth() {
    let cases: [(&str, &[&str], i32); 8] = [
        ("", &["sh", "-c", "exit 3"], 3),
        ("", &["true"], 0),
        ("", &["sh", "-c", "kill -SEGV $$"], 139),
        ("", &["no-such-program"], 127),
        ("", &["/not-executable"], 126),
        ("-n many", &["true"], 78),
        ("--no-such-flag", &["true"], 64),
        ("-n 2 --first-port 9000 --restart never", &["sh", "-c", "exit $ALLCORES_SLOT"], 1),
    ];
    for (settings, command, code) in cases {
        let ended = run_to_end("", settings, command);
        assert_eq!(ended.code, code, "{settings} {command:?}: {}", ended.text);
    }
}

#[test]
fn docker_stop_of_a_pool_ends_with_0() {
    let container = Container::start("", "-n 2 -l 8080", &["/app", "serve"]);
    container.wait_for_lines(2, &["worker ready"]);
    let (code, time) = container.stop();
    assert_eq!(code, 0, "{}", container.log());
    assert!(time < QUICK, "{time:?}");
}

#[test]
fn docker_stop_of_a_pool_does_not_ask_for_the_workers_own_codes() {
    let script = "trap 'exit 3' TERM; echo set; while :; do sleep 0.1; done";
    let container = Container::start("", "-n 2 --first-port 9000", &["sh", "-c", script]);
    container.wait_for_lines(2, &["set"]);
    let (code, time) = container.stop();
    assert_eq!(code, 0, "{}", container.log());
    assert!(time < QUICK, "{time:?}");
    assert_eq!(container.wait_for_lines(2, &["worker died"]).len(), 2);
}

#[test]
fn docker_stop_of_a_plain_program_ends_with_its_own_code() {
    let script = "trap 'exit 3' TERM; echo set; while :; do sleep 0.1; done";
    let container = Container::start("", "", &["sh", "-c", script]);
    container.wait_for_line(&["set"]);
    assert_eq!(container.stop().0, 3);

    let unprepared = Container::start("", "", &["sleep", "1000"]);
    unprepared.wait_for_line(&["worker ready"]);
    assert_eq!(unprepared.stop().0, 143, "what TERM does to a program that does not handle it");
}

#[test]
fn docker_stop_of_a_worker_that_ignores_term_ends_with_137() {
    let script = "trap '' TERM; echo set; while :; do sleep 0.1; done";
    let container = Container::start("", "-n 2 --first-port 9000 --stop-timeout 1s", &["sh", "-c", script]);
    container.wait_for_lines(2, &["set"]);
    let (code, time) = container.stop();
    assert_eq!(code, 137);
    assert!(Duration::from_secs(1) <= time && time < QUICK, "{time:?}");
    assert_eq!(container.wait_for_lines(2, &["worker still there, killing it"]).len(), 2);
}

#[test]
fn docker_restarts_us_when_we_give_up() {
    let settings = "-n 2 --first-port 9000 --backoff 10ms..50ms --max-failures 2";
    let container = Container::start("--restart on-failure:2", settings, &["sh", "-c", "exit 7"]);
    wait_until("Docker gives up as well", || {
        (container.inspect(".RestartCount") == "2" && container.inspect(".State.Running") == "false")
            .then_some(())
    });
    assert_eq!(container.inspect(".State.ExitCode"), "7");
    assert_eq!(container.wait_for_lines(3, &["leaving", "gave up"]).len(), 3);
}

#[test]
fn docker_does_not_restart_us_when_all_work_is_done() {
    let settings = "-n 2 --first-port 9000 --restart on-failure";
    let container = Container::start("--restart on-failure", settings, &["true"]);
    container.wait_for_line(&["leaving", "all work finished"]);
    assert_eq!(container.wait(), 0);
    assert_eq!(container.inspect(".RestartCount"), "0");
}

#[test]
fn a_pool_that_cannot_start_yet_is_stopped_at_once() {
    let settings = "-n 2 --first-port 9000 --backoff 25s..30s --max-failures 0";
    let container = Container::start("", settings, &["sh", "-c", "exit 1"]);
    container.wait_for_lines(2, &["slot rests"]);
    let (code, time) = container.stop();
    assert_eq!(code, 0);
    assert!(time < QUICK, "{time:?}");
}

#[test]
fn the_reason_of_the_end_is_where_kubernetes_looks_for_it() {
    use std::os::unix::fs::PermissionsExt;
    let file = tempfile::NamedTempFile::new().unwrap();
    // As the kubelet leaves it for containers of any user.
    file.as_file().set_permissions(std::fs::Permissions::from_mode(0o666)).unwrap();
    let options = format!("--user 65534 --read-only --volume {}:/dev/termination-log", file.path().display());
    let reason = || std::fs::read_to_string(file.path()).unwrap();

    run_to_end(&options, "", &["sh", "-c", "exit 3"]);
    assert_eq!(reason(), "the program ended: exit 3\n");
    run_to_end(&options, "-n many", &["true"]);
    assert!(reason().contains("ALLCORES_WORKERS"), "{}", reason());
    run_to_end(&options, "--no-such-flag", &["true"]);
    assert!(reason().contains("--no-such-flag"), "{}", reason());
    run_to_end(&options, "", &["no-such-program"]);
    assert!(reason().contains("no-such-program"), "{}", reason());
}

#[test]
fn in_the_hosts_pid_name_space_a_pool_works_and_leaves_nobody_behind() {
    let container = Container::start("--pid host", "-n 2 --first-port 9000", &["sleep", "1000"]);
    let ready = container.wait_for_lines(2, &["worker ready"]);
    let pids: Vec<&str> = ready.iter().map(|line| field(line, "pid").unwrap()).collect();
    let lives = |pid: &&&str| {
        let command = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        command.starts_with("sleep")
    };
    assert_eq!(pids.iter().filter(lives).count(), 2);
    let (code, time) = container.stop();
    assert_eq!(code, 0, "{}", container.log());
    assert!(time < QUICK, "{time:?}");
    assert_eq!(pids.iter().filter(lives).count(), 0);
}

#[test]
fn below_dockers_own_init_everything_works_and_orphans_are_ours() {
    // The orphan outlives its parent, a child of the worker in slot 0.
    let script = "[ $ALLCORES_SLOT = 1 ] || (sleep 1000 & echo the orphan is pid=$!); exec sleep 2000";
    let container = Container::start("--init", "-n 2 --first-port 9000", &["sh", "-c", script]);
    let line = container.wait_for_line(&["the orphan is pid="]);
    let orphan = field(&line, "pid").unwrap();
    container.wait_for_lines(2, &["worker ready"]);

    let parent = |pid: &str| {
        let stat = container.exec(&["cat", &format!("/proc/{pid}/stat")]);
        stat.split(' ').nth(3).unwrap().to_owned()
    };
    let ours = parent(orphan);
    assert_ne!(ours, "1", "we are not PID 1 here");
    assert_eq!(container.exec(&["cat", &format!("/proc/{ours}/comm")]), "allcores");

    let (code, time) = container.stop();
    assert_eq!(code, 0, "{}", container.log());
    assert!(time < QUICK, "{time:?}");
    container.wait_for_line(&["stopping what they left behind"]);
}
