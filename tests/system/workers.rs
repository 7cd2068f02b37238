//! What a worker finds: its environment, descriptors, signals, limits and rights.

use std::io::Write;
use std::process::Stdio;

use crate::harness::{Running, allcores, allcores_sh, allcores_with, field, fixture, until};
use crate::kernel::{self, private_network, send};

/// The value of a line `NAME:\tvalue` of /proc/PID/status, which the worker printed.
fn status<'a>(printed: &'a str, name: &str) -> &'a str {
    let line = printed.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {name} in:\n{printed}")).trim()
}

#[test]
fn the_environment_is_ours_without_settings_and_with_its_own_names() {
    private_network();
    let mut ended = allcores(&["env"])
        .set("LISTEN", "http=127.0.0.1:8080,unix:@app")
        .set("RESTART", "never")
        .set("WORKERS", "1")
        .env("NODE_APP_INSTANCE", "7")
        .env("ALLCORES_SLOT", "7")
        .env("LISTEN_FDS", "7")
        .env("LISTEN_FDNAMES", "a:b")
        .env("NOTIFY_SOCKET", "/run/notify")
        .env("WATCHDOG_USEC", "1")
        .env("WATCHDOG_PID", "1")
        .env("KEPT", "a=b c")
        .env("EMPTY", "")
        .end()
        .output;
    let path = ended.lines().position(|line| line.starts_with("PATH=")).unwrap();
    ended = ended
        .lines()
        .enumerate()
        .filter(|(index, _)| *index != path)
        .map(|(_, line)| format!("{line}\n"))
        .collect();
    let mut lines: Vec<&str> = ended.lines().filter(|line| !line.starts_with("NOTIFY_SOCKET=@")).collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "ALLCORES_GENERATION=1",
            "ALLCORES_SLOT=0",
            "ALLCORES_WORKER=1",
            "EMPTY=",
            "KEPT=a=b c",
            "LISTEN_FDNAMES=http:unknown",
            "LISTEN_FDS=2",
            "LISTEN_PID=2",
            "NODE_APP_INSTANCE=0",
        ]
    );
}

#[test]
fn without_sockets_there_is_no_word_of_them() {
    let ended = allcores(&["env"]).end();
    assert!(!ended.output.contains("LISTEN"), "{}", ended.output);
}

#[test]
fn web_concurrency_is_not_for_workers_when_we_have_followed_it() {
    let output = |launch: crate::harness::Launch| launch.env("WEB_CONCURRENCY", "2").end().output;
    assert!(!output(allcores(&["env"]).set("RESTART", "never")).contains("WEB_CONCURRENCY"));
    assert!(output(allcores(&["env"]).set("WORKERS", "1")).contains("WEB_CONCURRENCY=2"));
}

#[test]
fn listen_pid_is_each_workers_own_and_can_be_left_out() {
    private_network();
    let line = "echo $$ ${LISTEN_PID-none}";
    let pool =
        || allcores_sh(line).set("LISTEN", "127.0.0.1:8080").set("RESTART", "never").set("WORKERS", "12");
    let ended = pool().end();
    assert_eq!(ended.output.lines().count(), 12);
    for line in ended.output.lines() {
        let (own, told) = line.split_once(' ').unwrap();
        assert_eq!(own, told);
    }
    assert!(pool().set("LISTEN_PID", "off").end().output.lines().all(|line| line.ends_with(" none")));
}

#[test]
fn every_slot_has_its_number_and_in_mode_ports_its_port() {
    let ended = allcores_sh("echo $ALLCORES_SLOT $NODE_APP_INSTANCE $ALLCORES_WORKER $PORT")
        .set("FIRST_PORT", "9000")
        .set("RESTART", "never")
        .set("WORKERS", "3")
        .env("PORT", "80")
        .end();
    let mut lines: Vec<&str> = ended.output.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["0 0 1 9000", "1 1 2 9001", "2 2 3 9002"], "{}", ended.log);
}

#[test]
fn there_are_no_descriptors_but_0_1_2_and_the_sockets() {
    private_network();
    for (listen, sockets) in [("", 0), ("127.0.0.1:8080,unix:@a,udp://127.0.0.1:53", 3), ("unix:@b", 1)] {
        // Wherever the descriptor of readiness is, it is nobody else's: our own numbers are of that size.
        for ready in ["auto", "fd:6", "fd:7", "fd:8", "fd:11", "fd:15", "fd:17", "fd:1023"] {
            let ended = allcores_with("descriptors.py", &[])
                .through(&["python3", &fixture("odd_parent.py")])
                .set("LISTEN", listen)
                .set("WORKERS", "1")
                .set("READY", ready)
                .set("RELOAD_ON_CHANGE", "/etc/hostname")
                .set("RESTART", "never")
                .end();
            let mut found: Vec<&str> = ended.output.lines().collect();
            if let Some(number) = ready.strip_prefix("fd:") {
                let pipe = found.pop().unwrap();
                assert!(pipe.starts_with(&format!("{number} pipe:")), "{}\n{}", ended.output, ended.log);
            }
            assert_eq!(found.len(), 3 + sockets, "{ready}: {}\n{}", ended.output, ended.log);
            let mut numbers = 3..;
            let is_socket = |line: &&str| line.starts_with(&format!("{} socket:", numbers.next().unwrap()));
            assert!(found.iter().skip(3).all(is_socket), "{}", ended.output);
        }
    }
}

#[test]
fn standard_input_and_output_are_ours() {
    let mut command = allcores(&["cat"]).command();
    command.stdin(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"hello\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), &b"hello\n"[..]));
}

#[test]
fn arguments_directory_and_umask_are_passed_on_untouched() {
    let directory = tempfile::tempdir().unwrap();
    let listen = format!("unix:{}/app.sock?mode=0600", directory.path().display());
    let line = r#"echo "$#" "$2" "$(umask)" "$(pwd)""#;
    let mut command = allcores(&["sh", "-c", line, "sh", "", "a  b", "--workers"])
        .through(&["sh", "-c", "umask 027; exec \"$@\"", "sh"])
        .set("LISTEN", &listen)
        .set("RESTART", "never")
        .set("WORKERS", "1")
        .command();
    command.current_dir(directory.path());
    let ended = Running::watch(command).end();
    assert_eq!(ended.output, format!("3 a  b 0027 {}", directory.path().display()), "{}", ended.log);
}

#[test]
fn no_signal_is_blocked_or_ignored_whatever_we_were_started_with() {
    for wrapper in [&["env"][..], &["python3", &fixture("odd_parent.py")]] {
        let printed = allcores(&["cat", "/proc/self/status"]).through(wrapper).end().output;
        assert_eq!(status(&printed, "SigBlk"), "0000000000000000");
        assert_eq!(status(&printed, "SigIgn"), "0000000000000000");
        assert_eq!(status(&printed, "ShdPnd"), "0000000000000000");
    }
}

#[test]
fn a_worker_leads_a_process_group_of_its_own() {
    let ended = allcores(&["cat", "/proc/self/stat"]).set("WORKERS", "3").set("RESTART", "never").end();
    assert_eq!(ended.output.lines().count(), 3);
    for line in ended.output.lines() {
        // pid (name) state ppid pgrp
        let words: Vec<&str> = line.split(' ').collect();
        assert_eq!((words[3], words[4]), ("1", words[0]), "{line}");
    }
}

#[test]
fn workers_die_with_a_supervisor_that_is_not_pid_1() {
    for user in ["", "65534"] {
        // The init lives on, so that only the supervisor's own death can end the workers.
        let mut running = allcores_sh("echo up; exec sleep 1000")
            .through(&["sh", "-c", "\"$@\"; exec sleep 1000", "sh"])
            .set("WORKERS", "2")
            .set("USER", user)
            .start();
        running.output.next_of(2, "up");
        let workers = [running.worker().1, running.worker().1];
        running.send(libc::SIGKILL);
        until("no worker lives", || workers.iter().all(|pid| !kernel::is_alive(*pid)).then_some(()));
        assert!(running.is_running());
    }
}

#[test]
fn nofile_is_the_limit_of_open_files() {
    let ended = allcores_sh("ulimit -Sn").set("NOFILE", "77").end();
    assert_eq!(ended.output, "77", "{}", ended.log);
    let unchanged = allcores_sh("ulimit -Sn; ulimit -Hn").through(&["prlimit", "--nofile=50:60"]).end();
    assert_eq!(unchanged.output, "50\n60");
    let beyond = allcores(&["true"])
        .through(&["setpriv", "--bounding-set", "-sys_resource", "--inh-caps", "-sys_resource"])
        .through(&["prlimit", "--nofile=50:60"])
        .set("NOFILE", "70")
        .end();
    assert_eq!(beyond.code, Some(78), "{}", beyond.log);
    assert!(beyond.log.contains("ALLCORES_NOFILE") && beyond.log.contains("60"), "{}", beyond.log);
}

#[test]
fn user_is_who_the_workers_run_as_with_no_other_group() {
    for (user, uid, gid) in
        [("1234:4321", 1234, 4321), ("1234", 1234, 1234), ("daemon:sys", 1, 3), ("daemon", 1, 1)]
    {
        let printed = allcores(&["cat", "/proc/self/status"]).set("USER", user).end().output;
        let all_four = |id: i32| format!("{id}\t{id}\t{id}\t{id}");
        assert_eq!(status(&printed, "Uid"), all_four(uid), "{user}");
        assert_eq!(status(&printed, "Gid"), all_four(gid), "{user}");
        assert_eq!(status(&printed, "Groups"), gid.to_string(), "{user}");
        assert_eq!(status(&printed, "CapEff"), "0000000000000000", "{user}");
        assert_eq!(status(&printed, "NoNewPrivs"), "1", "{user}");
    }
    let ended = allcores(&["true"]).set("USER", "nobody-knows").end();
    assert_eq!(ended.code, Some(78));
    assert!(ended.log.contains("nobody-knows"), "{}", ended.log);
}

#[test]
fn sockets_are_bound_before_the_user_changes() {
    private_network();
    let mut running = allcores(&["/bin/sh", "-c", "id -u; echo $LISTEN_FDS; exec sleep 1000"])
        .set("LISTEN", "127.0.0.1:80")
        .set("USER", "65534")
        .set("WORKERS", "1")
        .start();
    running.output.next("65534");
    running.output.next("1");
    drop(std::net::TcpStream::connect("127.0.0.1:80").unwrap());
}

#[test]
fn prestart_runs_as_ourselves() {
    let ended = allcores(&["id", "-u"]).set("PRESTART", "id -u").set("USER", "65534").end();
    assert_eq!(ended.output, "0\n65534", "{}", ended.log);
}

#[test]
fn no_new_privs_is_as_it_was_asked_for() {
    for (user, asked, found) in [("", "on", "1"), ("", "off", "0"), ("", "", "0"), ("1234", "off", "0")] {
        let printed =
            allcores(&["cat", "/proc/self/status"]).set("USER", user).set("NO_NEW_PRIVS", asked).end().output;
        assert_eq!(status(&printed, "NoNewPrivs"), found, "{user} {asked}");
    }
}

#[test]
fn affinity_pins_the_worker_in_slot_i_to_the_ith_allowed_core() {
    let own = nix::sched::sched_getaffinity(nix::unistd::Pid::from_raw(0)).unwrap();
    let cores: Vec<usize> =
        (0..nix::sched::CpuSet::count()).filter(|core| own.is_set(*core).unwrap()).collect();
    let line = "echo $ALLCORES_SLOT $(grep -o 'Cpus_allowed_list:.*' /proc/self/status)";
    let count = cores.len() + 1;
    let ended = allcores_sh(line)
        .set("AFFINITY", "on")
        .set("WORKERS", &count.to_string())
        .set("RESTART", "never")
        .end();
    for slot in 0..count {
        let expected = format!("{slot} Cpus_allowed_list: {}", cores[slot % cores.len()]);
        assert!(ended.output.lines().any(|line| line == expected), "{expected}:\n{}", ended.output);
    }
}

#[test]
fn a_replacement_takes_over_the_slot_with_a_new_number() {
    let mut running = allcores_sh("echo up $ALLCORES_SLOT $ALLCORES_WORKER; exec sleep 1000")
        .set("WORKERS", "2")
        .set("BACKOFF", "0..10ms")
        .start();
    running.output.next_of(2, "up");
    let (line, pid) = running.worker();
    send(pid, libc::SIGKILL);
    let replaced = running.output.next("up");
    assert_eq!(replaced, format!("up {} 3", field(&line, "slot")));
}
