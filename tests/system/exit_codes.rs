//! The exit code and the one line of the termination log tell the truth about the end.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use crate::harness::{Launch, allcores, allcores_sh};

/// The kernel's numbers of the real-time signals that programs may use.
const REAL_TIME: std::ops::RangeInclusive<i32> = 34..=64;

#[test]
fn every_code_of_a_program_in_plain_is_ours() {
    for code in 0..=255 {
        let ended = allcores_sh(&format!("exit {code}")).without_namespaces().set("LOG", "off").end();
        assert_eq!(ended.code, Some(code));
    }
}

#[test]
fn pid_1_has_its_programs_code() {
    for code in [0, 1, 42, 255] {
        assert_eq!(allcores_sh(&format!("exit {code}")).end().code, Some(code));
    }
}

#[test]
fn a_death_by_any_signal_is_128_more_than_its_number() {
    let unharmful = [
        libc::SIGCHLD,
        libc::SIGCONT,
        libc::SIGURG,
        libc::SIGWINCH,
        libc::SIGSTOP,
        libc::SIGTSTP,
        libc::SIGTTIN,
    ]
    .into_iter()
    .chain([libc::SIGTTOU, 32, 33]);
    let unharmful: Vec<i32> = unharmful.collect();
    for signal in (1..=*REAL_TIME.end()).filter(|signal| !unharmful.contains(signal)) {
        let ended = allcores_sh(&format!("kill -{signal} $$")).without_namespaces().end();
        assert_eq!(ended.code, Some(128 + signal), "{}", ended.log);
        assert!(ended.log.contains("worker died") && ended.log.contains("cause=crashed"), "{}", ended.log);
    }
}

#[test]
fn pid_1_tells_a_death_by_a_real_time_signal() {
    for signal in [*REAL_TIME.start(), *REAL_TIME.end()] {
        let ended = allcores_sh(&format!("kill -{signal} $$")).end();
        assert_eq!(ended.code, Some(128 + signal), "{}", ended.log);
    }
}

#[test]
fn a_wrong_command_line_is_64_in_one_line() {
    for (arguments, word) in [
        (&["--wrokers", "2", "true"][..], "--workers"),
        (&["-x", "true"], "-x"),
        (&["--workers"], "--workers"),
        (&[], "COMMAND"),
        (&["ctl"], "ctl"),
        (&["ctl", "explode"], "ctl"),
    ] {
        let ended = Launch::new(arguments).end();
        assert_eq!(ended.code, Some(64), "{arguments:?}");
        assert!(ended.log.contains(word) && ended.log.lines().count() == 1, "{arguments:?}: {}", ended.log);
    }
}

#[test]
fn a_command_that_is_not_there_is_127_and_one_that_cannot_be_executed_126() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str, mode: u32| {
        let path = directory.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    for (command, code) in [
        ("no-such-program".to_owned(), 127),
        ("/no/such/program".to_owned(), 127),
        (String::new(), 127),
        (file("no-interpreter", "#!/no/such/shell\n", 0o755), 127),
        (file("no-x-bit", "#!/bin/sh\n", 0o644), 126),
        (file("no-program", "neither ELF nor script", 0o755), 126),
        (directory.path().to_str().unwrap().to_owned(), 126),
    ] {
        for workers in ["1", "3"] {
            let ended = allcores(&[&command]).set("WORKERS", workers).end();
            assert_eq!(ended.code, Some(code), "{command}: {}", ended.log);
            assert!(ended.log.contains(&command), "{command}: {}", ended.log);
        }
    }
}

#[test]
fn a_wrong_setting_is_78_and_an_address_that_is_not_ours_71() {
    assert_eq!(allcores(&["true"]).set("WORKERS", "none").end().code, Some(78));
    let ended = allcores(&["true"]).set("LISTEN", "192.0.2.1:80").end();
    assert_eq!(ended.code, Some(71));
    assert!(ended.log.contains("192.0.2.1:80"), "{}", ended.log);
}

#[test]
fn giving_up_has_the_last_workers_code() {
    let ended = allcores_sh("exit 3").set("WORKERS", "2").set("BACKOFF", "0..10ms").end();
    assert_eq!(ended.code, Some(3));
    assert!(ended.log.contains("gave up"), "{}", ended.log);
}

#[test]
fn a_program_that_cannot_stay_up_has_not_succeeded_even_with_code_0() {
    let ended = allcores(&["true"]).set("WORKERS", "2").set("BACKOFF", "0..10ms").end();
    assert_eq!(ended.code, Some(1), "{}", ended.log);
}

#[test]
fn restart_never_ends_with_the_first_failure_or_0() {
    let line = "sleep 0.$ALLCORES_SLOT; exit $ALLCORES_SLOT";
    let ended = allcores_sh(line).set("WORKERS", "3").set("RESTART", "never").end();
    assert_eq!(ended.code, Some(1), "{}", ended.log);
    let ended = allcores(&["true"]).set("WORKERS", "3").set("RESTART", "never").end();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
}

#[test]
fn restart_on_failure_ends_with_0_when_all_work_is_done() {
    let directory = tempfile::tempdir().unwrap();
    let tried = directory.path().join("tried");
    let line =
        format!("[ $ALLCORES_SLOT = 0 ] && exit 0; [ -e {0} ] || {{ : >{0}; exit 9; }}", tried.display());
    let ended =
        allcores_sh(&line).set("WORKERS", "2").set("RESTART", "on-failure").set("BACKOFF", "1ms..1ms").end();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert!(tried.exists() && ended.log.contains("code=9"), "{}", ended.log);
}

#[test]
fn a_failed_prestart_is_our_end_and_no_worker_is_started() {
    let ended = allcores_sh("echo worker").set("PRESTART", "exit 5").end();
    assert_eq!((ended.code, ended.output.as_str()), (Some(5), ""), "{}", ended.log);
    let ended = allcores_sh("echo worker").set("PRESTART", "kill -9 $$").end();
    assert_eq!((ended.code, ended.output.as_str()), (Some(137), ""), "{}", ended.log);
}

#[test]
fn prestart_has_ended_before_the_first_worker_begins() {
    let ended = allcores_sh("echo worker").set("PRESTART", "sleep 0.2; echo before").end();
    assert_eq!((ended.code, ended.output.as_str()), (Some(0), "before\nworker"));
    assert!(ended.after >= Duration::from_millis(200));
}

#[test]
fn the_reason_of_every_end_is_one_line_of_at_most_4096_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("reason");
    let log = path.to_str().unwrap();
    let reason = |launch: Launch, code: i32| {
        let ended = launch.set("TERMINATION_LOG", log).end();
        assert_eq!(ended.code, Some(code), "{}", ended.log);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.ends_with('\n') && text.lines().count() == 1 && text.len() <= 4096, "{text}");
        text
    };
    assert!(reason(allcores_sh("exit 3"), 3).contains("exit 3"));
    assert!(reason(allcores_sh("kill -11 $$"), 139).contains("SEGV"));
    assert!(reason(allcores(&["/no/such"]), 127).contains("/no/such"));
    assert!(reason(allcores(&[&format!("/{}", "é/".repeat(4000))]), 126).len() > 4000);
    let wrong = allcores(&["true"]).set("WORKERS", "none").set("BACKLOG", "-1");
    let text = reason(wrong, 78);
    assert!(text.contains("ALLCORES_WORKERS") && text.contains("ALLCORES_BACKLOG"), "{text}");
    assert!(reason(allcores(&["true"]).set("LISTEN", "192.0.2.1:80"), 71).contains("192.0.2.1:80"));
    assert!(reason(Launch::new(&["--wrokers", "2", "true"]), 64).contains("--wrokers"));
}

#[test]
fn the_usual_termination_log_is_written_where_it_exists_and_not_made() {
    for (make, expected) in
        [("touch /dev/termination-log", "the program ended: exit 3\n"), ("true", "none\n")]
    {
        let line = format!(
            "mount -t tmpfs none /dev && {make}; \"$@\"; cat /dev/termination-log 2>&1 | sed s/.*No.such.*/none/"
        );
        let ended = allcores_sh("exit 3").through(&["sh", "-c", &line, "sh"]).end();
        assert_eq!(ended.output, expected.trim_end(), "{}", ended.log);
    }
}

#[test]
fn a_termination_log_that_cannot_be_written_changes_no_code() {
    let ended = allcores_sh("exit 3").set("TERMINATION_LOG", "/no/such/directory/reason").end();
    assert_eq!(ended.code, Some(3));
    assert!(ended.log.contains("termination log could not be written"), "{}", ended.log);
}
