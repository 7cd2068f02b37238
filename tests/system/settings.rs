//! The settings, the command line, and what is said about mistakes in them.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use crate::harness::{Launch, allcores, allcores_sh};

#[test]
fn all_mistakes_are_reported_at_once_and_nothing_is_bound() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.sock");
    let ended = allcores(&["echo", "worker"])
        .set("WORKERS", "four")
        .set("STOP_TIMEOUT", "soon")
        .set("SIGNALS", "HUP=explode")
        .set("LISTEN", &format!("unix:{}", path.display()))
        .set("USER", "a b")
        .set("LOG", "verbose")
        .end();
    assert_eq!((ended.code, ended.output.as_str()), (Some(78), ""));
    assert!(!path.exists());
    let lines: Vec<&str> = ended.log.lines().collect();
    assert_eq!(lines.len(), 6, "{}", ended.log);
    for (name, value) in [
        ("WORKERS", "four"),
        ("STOP_TIMEOUT", "soon"),
        ("SIGNALS", "explode"),
        ("USER", "a b"),
        ("LOG", "verbose"),
    ] {
        let line = lines.iter().find(|line| line.contains(&format!("ALLCORES_{name}=\"")));
        let line = line.unwrap_or_else(|| panic!("{name}: {}", ended.log));
        assert!(line.contains(value) && line.contains("expected") && line.contains("for example"), "{line}");
    }
}

#[test]
fn modes_that_lack_what_they_need_are_refused() {
    for (mode, named) in
        [("inherit", "LISTEN"), ("reuseport", "LISTEN"), ("ports", "FIRST_PORT"), ("claster", "MODE")]
    {
        let ended = allcores(&["true"]).set("MODE", mode).end();
        assert_eq!(ended.code, Some(78), "{mode}");
        assert!(ended.log.contains(&format!("ALLCORES_{named}=")), "{mode}: {}", ended.log);
    }
    let ended = allcores(&["true"]).set("FIRST_PORT", "65535").set("WORKERS", "2").end();
    assert_eq!(ended.code, Some(78), "{}", ended.log);
}

#[test]
fn an_unknown_variable_is_a_warning_with_the_nearest_name() {
    let ended = allcores(&["true"]).env("ALLCORES_WROKERS", "2").env("ALLCORES_WHATEVER_THIS_IS", "2").end();
    assert_eq!(ended.code, Some(0));
    assert!(
        ended.log.contains("WARN ALLCORES_WROKERS") && ended.log.contains("did you mean ALLCORES_WORKERS?")
    );
    assert!(ended.log.contains("WARN ALLCORES_WHATEVER_THIS_IS"), "{}", ended.log);
}

#[test]
fn kubernetes_service_variables_are_passed_over_in_silence_and_passed_on() {
    let ended = allcores(&["env"])
        .env("ALLCORES_SERVICE_HOST", "10.0.0.1")
        .env("ALLCORES_SERVICE_PORT_HTTP", "80")
        .env("ALLCORES_PORT", "tcp://10.0.0.1:80")
        .env("ALLCORES_PORT_80_TCP_ADDR", "10.0.0.1")
        .env("ALLCORES_FIRST_PORT", "tcp://10.0.0.1:80")
        .end();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert!(!ended.log.contains("WARN"), "{}", ended.log);
    for name in ["SERVICE_HOST", "SERVICE_PORT_HTTP", "PORT", "PORT_80_TCP_ADDR", "FIRST_PORT"] {
        assert!(ended.output.contains(&format!("ALLCORES_{name}=")), "{name}: {}", ended.output);
    }
}

#[test]
fn check_prints_every_setting_with_its_source_and_runs_nothing() {
    let check = |arguments: &[&str]| Launch::new(&[&["--check"], arguments].concat());
    let ended = check(&["--stop-timeout", "3s", "--", "echo", "worker"])
        .set("BACKOFF", "1s..2s")
        .env("WEB_CONCURRENCY", "3")
        .end();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    for line in [
        "ALLCORES_WORKERS=3  # WEB_CONCURRENCY",
        "ALLCORES_STOP_TIMEOUT=3s  # flag --stop-timeout",
        "ALLCORES_BACKOFF=1s..2s  # environment",
        "ALLCORES_STOP_SIGNAL=TERM  # default",
    ] {
        assert!(ended.output.lines().any(|printed| printed == line), "{line}:\n{}", ended.output);
    }
    assert!(!ended.output.contains("\nworker"));
    assert_eq!(check(&["true"]).set("WORKERS", "x").end().code, Some(78));
}

#[test]
fn help_and_version_go_to_stdout_with_0() {
    let help = Launch::new(&["--help"]).end();
    assert_eq!((help.code, help.log.as_str()), (Some(0), ""));
    assert!(help.output.contains("--stop-timeout [8s]") && help.output.lines().all(|line| line.len() < 110));
    let version = Launch::new(&["--version"]).end();
    let words: Vec<&str> = version.output.split(' ').collect();
    assert_eq!((version.code, words[0], words[1]), (Some(0), "allcores", env!("CARGO_PKG_VERSION")));
    assert!(words[2].starts_with('(') && words[2].ends_with(')'), "{}", version.output);
}

#[test]
fn flags_win_over_the_environment_and_that_over_web_concurrency() {
    let started =
        |launch: Launch| launch.set("RESTART", "never").end().log.lines().next().unwrap().to_owned();
    let env =
        |name: &str, value: &str, flags: &[&str]| Launch::new(&[flags, &["true"]].concat()).env(name, value);
    let line = started(env("ALLCORES_WORKERS", "2", &["--workers", "3"]));
    assert!(line.contains(" workers=3 "), "{line}");
    let line = started(env("ALLCORES_WORKERS", "2", &["-n4"]).env("WEB_CONCURRENCY", "5"));
    assert!(line.contains(" workers=4 "), "{line}");
    let line = started(env("ALLCORES_WORKERS", "2", &[]).env("WEB_CONCURRENCY", "5"));
    assert!(line.contains(" workers=2 "), "{line}");
    let line =
        started(env("ALLCORES_LISTEN", "unix:@x", &["-l", "unix:@a", "-lunix:@b", "--listen=unix:@c"]));
    assert!(line.contains("sockets=\"unix:@a unix:@b unix:@c\""), "{line}");
    let line = started(env("WEB_CONCURRENCY", "5", &[]));
    assert!(line.contains(" workers=5 "), "{line}");
    let line = started(env("ALLCORES_WORKERS", "", &[]));
    assert!(line.contains(" workers=1 "), "an empty value is unset: {line}");
}

#[test]
fn a_wrong_web_concurrency_is_a_mistake_unless_workers_is_set() {
    let ended = allcores(&["true"]).env("WEB_CONCURRENCY", "many").end();
    assert_eq!(ended.code, Some(78));
    assert!(ended.log.contains("WEB_CONCURRENCY=\"many\""), "{}", ended.log);
    let ended = allcores(&["true"]).env("WEB_CONCURRENCY", "many").set("WORKERS", "1").end();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
}

#[test]
fn a_setting_that_is_not_utf_8_is_a_mistake_and_other_variables_pass_untouched() {
    let odd = || OsString::from_vec(b"a\xff\xfeb".to_vec());
    let ended = allcores(&["true"]).env("ALLCORES_USER", odd()).end();
    assert_eq!(ended.code, Some(78));
    assert!(ended.log.contains("ALLCORES_USER") && ended.log.contains("UTF-8"), "{}", ended.log);
    let ended = allcores_sh(r#"printf %s "$ODD" | od -An -tx1"#).env("ODD", odd()).end();
    assert_eq!(ended.output, " 61 ff fe 62", "{}", ended.log);
    let ended = allcores(&["env"]).env(OsString::from_vec(b"NAME\xff".to_vec()), "x").end();
    assert!(ended.output.contains("NAME\u{fffd}=x"), "{}", ended.output);
}

#[test]
fn a_program_that_is_called_ctl_runs_behind_two_dashes() {
    let directory = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/bin/echo", directory.path().join("ctl")).unwrap();
    let path = format!("{}:/usr/bin:/bin", directory.path().display());
    let ended = Launch::new(&["--", "ctl", "works"]).env("PATH", path.clone()).end();
    assert_eq!((ended.code, ended.output.as_str()), (Some(0), "works"), "{}", ended.log);
    let ended = Launch::new(&["--workers", "1", "ctl", "works"]).env("PATH", path).end();
    assert_eq!((ended.code, ended.output.as_str()), (Some(64), ""), "{}", ended.log);
}

#[test]
fn the_first_line_says_what_is_going_to_happen() {
    let ended = allcores(&["true"]).set("STOP_TIMEOUT", "5s").set("DRAIN_DELAY", "2s").end();
    let line = ended.log.lines().next().unwrap();
    for part in [
        "INFO starting",
        "mode=plain",
        "workers=1",
        "sockets=none",
        "2s serving on, then TERM, KILL after 5s",
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
}
