//! Our own log: one event a line, in two forms, and never a reason to wait.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::process::Stdio;

use crate::harness::{Ended, Lines, Running, allcores, allcores_sh, allcores_with, field, fixture, until};
use crate::kernel::private_network;

/// Starts it with its log going into a pipe of ours, and gives our end.
fn with_log_in_a_pipe(launch: crate::harness::Launch) -> (OwnedFd, Running) {
    let (reader, writer) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).unwrap();
    let mut command = launch.command();
    command.stderr(Stdio::from(writer));
    (reader, Running::watch(command))
}

#[test]
fn a_text_line_has_time_level_message_and_fields() {
    let ended = allcores_sh("exit 3").end();
    let line = ended.log.lines().find(|line| line.contains("worker died")).unwrap();
    let words: Vec<&str> = line.split(' ').collect();
    assert!(words[0].len() == "2026-11-23T04:05:06.789Z".len() && words[0].ends_with('Z'), "{line}");
    assert_eq!(words[1..4], ["WARN", "worker", "died"]);
    for (name, value) in [("worker", "1"), ("slot", "0"), ("pid", "2"), ("code", "3"), ("cause", "crashed")] {
        assert_eq!(field(line, name), value, "{line}");
    }
}

#[test]
fn every_json_line_parses_and_has_the_fields_of_the_text() {
    let directory = tempfile::tempdir().unwrap();
    let run = |format: &str| {
        let ended = allcores_sh("[ $ALLCORES_SLOT = 0 ] && kill -9 $$; exit 3")
            .set("LOG_FORMAT", format)
            .set("WORKERS", "2")
            .set("BACKOFF", "1ms..5ms")
            .env("ALLCORES_ODD", "\"quoted\"\\")
            .end();
        let path = directory.path().join(format);
        std::fs::write(&path, ended.log).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (text, json) = (run("text"), run("json"));
    let mut command = std::process::Command::new("python3");
    command.args([&fixture("same_fields.py"), &text, &json]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let compared: Ended = Running::watch(command).end();
    assert_eq!(compared.code, Some(0), "{}", compared.log);
}

#[test]
fn a_name_with_a_line_end_does_not_break_the_line() {
    let ended = allcores(&["/no/such\nprogram", "x"]).end();
    assert_eq!(ended.code, Some(127));
    assert!(ended.log.lines().all(|line| line.starts_with("20")), "{}", ended.log);
}

#[test]
fn no_value_of_the_environment_is_logged() {
    let ended = allcores_sh("exit 1").set("LOG", "trace").env("PASSWORD", "hunter2").end();
    assert!(!ended.log.contains("hunter2"), "{}", ended.log);
    assert!(ended.log.contains("TRACE"), "{}", ended.log);
}

#[test]
fn log_says_how_much_is_said() {
    let lines = |level: &str| allcores_sh("exit 0").set("LOG", level).end().log;
    assert_eq!(lines("off"), "");
    assert_eq!(lines("error"), "");
    assert!(lines("info").contains("INFO starting") && !lines("info").contains("DEBUG"));
    assert!(lines("info,allcores::observe=debug").contains("DEBUG worker started"));
}

#[test]
fn a_full_pipe_that_nobody_reads_never_blocks_and_the_lost_lines_are_counted() {
    let launch = allcores_with("signals.py", &["keep"]).set("STOP_TIMEOUT", "500ms").set("LOG", "trace");
    let (reader, mut running) = with_log_in_a_pipe(launch);
    running.output.next("up");
    // Each is a line of some 100 bytes; the pipe holds 64 KiB.
    for _ in 0..2000 {
        running.send(40);
    }
    running.output.next_of(2000, "got 40");
    running.log = Lines::of("log", Some(File::from(reader)));
    running.log.next("INFO starting");
    // A line that finds room again comes with the count of those before it that found none.
    running.send(41);
    running.output.next("got 41");
    running.send(42);
    let line = running.log.next("log lines dropped");
    assert!(field(&line, "count").parse::<u32>().unwrap() > 100, "{line}");
    running.log.next("received=RTMIN+8");
    let ended = running.stop();
    assert_eq!(ended.code, Some(137));
    // What was written was written whole.
    assert!(ended.log.lines().all(|line| line.starts_with("20") && line.contains('Z')), "{}", ended.log);
}

#[test]
fn a_full_pipe_does_not_hold_up_the_end() {
    let (reader, mut running) = with_log_in_a_pipe(allcores_with("signals.py", &[]).set("LOG", "trace"));
    running.output.next("up");
    for _ in 0..2000 {
        running.send(40);
    }
    running.output.next_of(2000, "got 40");
    assert_eq!(running.stop().code, Some(0));
    drop(reader);
}

#[test]
fn a_terminal_that_nobody_reads_never_blocks_either() {
    let pty = nix::pty::openpty(None, None).unwrap();
    let launch = allcores_with("signals.py", &["keep"]).set("STOP_TIMEOUT", "500ms").set("LOG", "trace");
    let mut command = launch.command();
    command.stderr(Stdio::from(pty.slave));
    let mut running = Running::watch(command);
    running.output.next("up");
    for _ in 0..2000 {
        running.send(40);
    }
    running.output.next_of(2000, "got 40");
    running.log = Lines::of("log", Some(File::from(pty.master)));
    running.log.next("INFO starting");
    until("there is room for a count", || {
        running.send(41);
        running.output.next("got 41");
        running.log.text().contains("log lines dropped").then_some(())
    });
    let ended = running.stop();
    assert_eq!(ended.code, Some(137));
    // A line that the terminal had taken in part was finished before the next.
    assert!(ended.log.lines().all(|line| line.starts_with("20") && line.contains("Z ")), "{}", ended.log);
}

#[test]
fn a_line_that_is_too_long_is_cut_and_keeps_its_form() {
    let command = format!("/{}", "é\"/".repeat(3000));
    let ended = allcores(&[&command]).end();
    assert!(ended.log.lines().any(|line| line.len() > 4000), "{}", ended.log);
    assert!(ended.log.lines().all(|line| line.len() < 4096 && !line.contains('\u{fffd}')), "{}", ended.log);
    let ended = allcores(&[&command]).set("LOG_FORMAT", "json").end();
    assert!(ended.log.contains("log line cut"), "{}", ended.log);
    let path = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(path.path(), ended.log).unwrap();
    let mut command = std::process::Command::new("python3");
    command
        .args(["-c", "import json, sys; [json.loads(line) for line in open(sys.argv[1])]"])
        .arg(path.path());
    assert_eq!(Running::watch(command).end().code, Some(0));
}

#[test]
fn a_reader_that_went_away_is_no_harm() {
    let (reader, mut running) = with_log_in_a_pipe(allcores_with("signals.py", &[]));
    running.output.next("up");
    drop(reader);
    running.send(libc::SIGUSR1);
    running.output.next("got 10");
    assert_eq!(running.stop().code, Some(0));
}

#[test]
fn closed_standard_descriptors_are_no_harm_and_never_become_sockets() {
    private_network();
    let line = "readlink /proc/$$/fd/3 >/proc/1/root$OUT; exit 9";
    for close in ["2>&-", "<&- >&- 2>&-"] {
        let directory = tempfile::tempdir().unwrap();
        let out = directory.path().join("out");
        let ended = allcores_sh(line)
            .through(&["sh", "-c", &format!("exec {close}; exec \"$@\""), "sh"])
            .set("LISTEN", "127.0.0.1:8080")
            .set("WORKERS", "1")
            .set("RESTART", "never")
            .env("OUT", &out)
            .end();
        assert_eq!((ended.code, ended.log.as_str()), (Some(9), ""), "{close}");
        assert!(std::fs::read_to_string(&out).unwrap().starts_with("socket:"), "{close}");
    }
}

#[test]
fn the_workers_standard_error_still_blocks_as_it_did() {
    let printed = allcores(&["cat", "/proc/self/fdinfo/2"]).end().output;
    let flags = printed.lines().find_map(|line| line.strip_prefix("flags:")).unwrap();
    let flags = i32::from_str_radix(flags.trim(), 8).unwrap();
    assert_eq!(flags & libc::O_NONBLOCK, 0, "{printed}");
}
