//! Probes, metrics, the status and the page, as whoever asks by HTTP sees them.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};

use crate::client::{DOOR, ask, connect, probe};
use crate::harness::{Launch, allcores_sh, allcores_with, until};
use crate::kernel::private_network;

/// A pool of two with a door.
fn pool(line: &str) -> Launch {
    private_network();
    allcores_sh(line).set("HTTP", DOOR).set("WORKERS", "2").set("RESTART", "always")
}

#[test]
fn the_probes_tell_each_phase_of_a_life() {
    let mut running = pool("exec sleep 1000").set("READY", "alive:2s").set("DRAIN_DELAY", "30s").start();
    running.log.next_of(2, "worker started");
    let waiting = "not ready: 0 of 2 workers ready (2 starting)".to_owned();
    assert_eq!(probe("/livez"), (200, "ok".to_owned()));
    assert_eq!(probe("/readyz"), (503, waiting.clone()));
    assert_eq!(probe("/startupz"), (503, waiting));
    running.log.next("worker ready");
    for path in ["/livez", "/readyz", "/startupz"] {
        assert_eq!(probe(path), (200, "ok".to_owned()), "{path}");
    }
    running.send(libc::SIGTERM);
    running.log.next("serving on");
    assert_eq!(probe("/readyz"), (503, "draining".to_owned()));
    for path in ["/livez", "/startupz"] {
        assert_eq!(probe(path), (200, "ok".to_owned()), "{path}");
    }
}

#[test]
fn the_probes_tell_the_time_before_the_first_worker() {
    let mut running = pool("exec sleep 1000").set("PRESTART", "echo preparing; exec sleep 1000").start();
    running.output.next("preparing");
    assert_eq!(probe("/livez"), (200, "ok".to_owned()));
    assert_eq!(probe("/readyz"), (503, "not ready: 0 of 2 workers ready".to_owned()));
}

#[test]
fn a_probe_tells_who_died_and_of_what() {
    for (line, end) in [("exit 7", "exit 7"), ("kill -SEGV $$", "killed by SEGV")] {
        let mut running = pool(line).set("BACKOFF", "60s..60s").set("MAX_FAILURES", "0").start();
        running.log.next_of(2, "slot rests");
        let (code, text) = probe("/readyz");
        assert_eq!(code, 503);
        let start = "not ready: 0 of 2 workers ready (2 resting; last death: worker ";
        assert!(
            text.starts_with(start) && text.contains(&format!(", {end}")) && text.ends_with(')'),
            "{text}"
        );
    }
}

#[test]
fn who_gave_up_is_not_alive() {
    // What is left behind keeps us from leaving for a while.
    let line = "(trap '' TERM; exec setsid sleep 1000) & exit 3";
    let mut running = pool(line).set("MAX_FAILURES", "1").set("STOP_TIMEOUT", "60s").start();
    running.log.next("stopping");
    let (code, text) = probe("/livez");
    assert!(code == 503 && text.starts_with("gave up: 0 of 2 workers ready"), "{code} {text}");
}

#[test]
fn min_ready_says_how_many_it_takes() {
    // Only slot 0 becomes ready.
    let line = "[ $ALLCORES_SLOT = 0 ] || exit 1; exec sleep 1000";
    let launch = || pool(line).set("BACKOFF", "60s..60s");
    for (least, code) in [("1", 200), ("50%", 200), ("2", 503), ("100%", 503)] {
        let mut running = launch().set("MIN_READY", least).start();
        running.log.next("slot rests");
        running.log.next("worker ready");
        assert_eq!(probe("/readyz").0, code, "{least}");
    }
}

#[test]
fn head_has_no_body_and_nothing_else_is_allowed() {
    let _running = pool("exec sleep 1000").start();
    for path in ["/livez", "/readyz", "/startupz", "/metrics", "/status", "/"] {
        let (get, head) = (ask("GET", path), ask("HEAD", path));
        assert_eq!((head.code(), head.body.as_str()), (get.code(), ""), "{path}");
        assert_eq!(get.header("Content-Length"), Some(get.body.len().to_string().as_str()), "{path}");
        assert!(head.header("Content-Length").is_some());
        assert_eq!(head.header("Content-Type"), get.header("Content-Type"), "{path}");
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"] {
            let answer = ask(method, path);
            assert_eq!((answer.code(), answer.header("Allow")), (405, Some("GET, HEAD")), "{method} {path}");
        }
    }
    assert_eq!(ask("GET", "/livez?verbose=1").code(), 200);
    for path in ["/nothing", "/livez/", "//livez", "/reload", "/stop", "/../livez"] {
        assert_eq!(ask("GET", path).code(), 404, "{path}");
        assert_eq!(ask("POST", path).code(), 405, "{path}");
    }
}

#[test]
fn a_connection_serves_again_and_again() {
    let _running = pool("exec sleep 1000").start();
    let mut stream = BufReader::new(connect());
    for _ in 0..100 {
        stream.get_mut().write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut line = String::new();
        while line != "ok\n" {
            line.clear();
            assert_ne!(stream.read_line(&mut line).unwrap(), 0);
        }
    }
}

#[test]
fn metrics_come_in_both_forms() {
    let mut running = pool("exec sleep 1000").set("READY", "alive:100ms").start();
    running.log.next_of(2, "worker ready");
    let text = ask("GET", "/metrics");
    assert_eq!(text.header("Content-Type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    for line in [
        r#"allcores_workers{state="ready"} 2"#,
        "allcores_workers_wanted 2",
        "allcores_ready 1",
        r#"allcores_restarts_total{cause="crashed"} 0"#,
        r#"allcores_reloads_total{verdict="failed"} 0"#,
    ] {
        assert!(text.body.lines().any(|written| written == line), "{line} is not in\n{}", text.body);
    }
    for start in [
        r#"allcores_worker_uptime_seconds{slot="1"} "#,
        r#"allcores_worker_cpu_seconds_total{slot="0"} "#,
        r#"allcores_worker_memory_bytes{slot="0"} "#,
        r#"allcores_worker_open_fds{slot="0"} "#,
        "allcores_cores ",
        "allcores_build_info{",
    ] {
        assert!(
            text.body.lines().any(|written| written.starts_with(start)),
            "{start} is not in\n{}",
            text.body
        );
    }
    let request = "GET /metrics HTTP/1.1\r\nAccept: application/openmetrics-text;version=1.0.0,*/*;q=0.1\r\nConnection: close\r\n\r\n";
    let open = crate::client::exchange(connect(), request);
    assert_eq!(
        open.header("Content-Type"),
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    assert!(open.body.ends_with("# EOF\n") && open.body.contains("# TYPE allcores_restarts counter\n"));
}

#[test]
fn a_killed_worker_is_counted_and_shown() {
    let mut running = pool("exec sleep 1000").set("READY", "alive:100ms").start();
    let (_, pid) = running.worker();
    running.log.next_of(2, "worker ready");
    crate::kernel::send(pid, libc::SIGKILL);
    running.log.next("worker died");
    running.log.next("worker ready");
    let metrics = ask("GET", "/metrics").body;
    assert!(metrics.contains("allcores_restarts_total{cause=\"crashed\"} 1\n"), "{metrics}");
    let status: serde_json::Value = serde_json::from_str(&ask("GET", "/status").body).unwrap();
    assert_eq!(status["deaths"][0]["status"], "killed by KILL", "{status}");
    assert_eq!(status["workers"][0]["restarts"], 1, "{status}");
    assert_eq!(status["workers"][0]["last_death"], "killed by KILL", "{status}");
}

#[test]
fn the_queue_of_a_socket_is_seen() {
    let launch = pool("exec sleep 1000").set("LISTEN", "web=127.0.0.1:8080").set("MODE", "inherit");
    let _running = launch.start();
    let _waiting: Vec<_> =
        (0..3).map(|_| until("connected", || std::net::TcpStream::connect("127.0.0.1:8080").ok())).collect();
    until("three wait", || {
        ask("GET", "/metrics")
            .body
            .contains("allcores_accept_queue_depth{listener=\"web\"} 3\n")
            .then_some(())
    });
}

#[test]
fn the_page_runs_nothing_but_its_own() {
    let _running = pool("exec sleep 1000").start();
    let page = ask("GET", "/");
    let policy = page.header("Content-Security-Policy").unwrap();
    let hashes = "import base64, hashlib, re, sys
page = sys.stdin.read()
for tag in 'script', 'style':
    digest = hashlib.sha256(re.search(f'<{tag}>(.*?)</{tag}>', page, re.S)[1].encode()).digest()
    print(f\"{tag}-src 'sha256-{base64.b64encode(digest).decode()}'\")";
    let mut python = Command::new("python3");
    let mut python =
        python.args(["-c", hashes]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    python.stdin.take().unwrap().write_all(page.body.as_bytes()).unwrap();
    let expected = String::from_utf8(python.wait_with_output().unwrap().stdout).unwrap();
    assert_eq!(expected.lines().count(), 2);
    for hash in expected.lines() {
        assert!(policy.contains(hash), "{hash} is not in {policy}");
    }
    assert!(
        policy.starts_with("default-src 'none'") && !page.body.contains("http"),
        "something from outside"
    );
}

#[test]
fn a_door_that_cannot_be_had_is_71_and_named() {
    private_network();
    let _other = TcpListener::bind(DOOR).unwrap();
    let ended = allcores_sh("echo worker").set("HTTP", DOOR).end();
    assert_eq!((ended.code, ended.output.as_str()), (Some(71), ""));
    assert!(ended.log.contains("ALLCORES_HTTP") && ended.log.contains(DOOR), "{}", ended.log);
}

#[test]
fn no_worker_inherits_a_door_or_a_client() {
    private_network();
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("control.sock");
    let launch = allcores_with("descriptors.py", &[]).set("HTTP", DOOR).set("PRESTART", "sleep 2");
    let running = launch.set("CONTROL", socket.to_str().unwrap()).start();
    let _client = connect();
    let ended = running.end();
    assert_eq!(ended.output.lines().count(), 3, "{}", ended.output);
}

#[test]
fn without_a_door_nobody_listens() {
    private_network();
    let mut running = allcores_sh("exec sleep 1000").start();
    running.log.next("worker started");
    let sockets = running.inside(&["cat", "/proc/net/tcp", "/proc/net/tcp6"]).1;
    assert_eq!(sockets.lines().filter(|line| !line.contains("sl ")).count(), 0, "{sockets}");
}
