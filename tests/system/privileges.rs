//! Nothing is needed: no root, no capability, no writable directory, no user database, no new system call.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::harness::{BINARY, Launch, allcores, allcores_sh, allcores_with, fixture};
use crate::kernel::{private_network, send};
use crate::sockets::ask;

/// A user without a name, a capability, or a way to either.
const NOBODY: [&str; 8] = [
    "setpriv",
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
    "--inh-caps=-all",
    "--bounding-set=-all",
    "--no-new-privs",
    "--",
];

/// Makes every mount read-only.
const READ_ONLY: [&str; 4] = [
    "sh",
    "-c",
    r#"for mount in $(cut -d' ' -f5 /proc/self/mountinfo | sort -u); do
           mount -o remount,bind,ro "$mount" 2>/dev/null
       done
       exec "$@""#,
    "sh",
];

/// Hides the user database.
const NO_USERS: [&str; 4] = ["sh", "-c", r#"mount -t tmpfs none /etc && exec "$@""#, "sh"];

/// Hides /proc, for good.
const NO_PROC: [&str; 4] = ["sh", "-c", r#"mount -t tmpfs none /proc && exec "$@""#, "sh"];

/// Lets a system call of ours, not of our children, fail, as a seccomp profile that does not know it would.
fn refuse(fault: &str) -> [&str; 6] {
    ["strace", "-qq", "-o", "/dev/null", "-e", fault]
}

/// Does all that there is to do: a pool that serves, has a worker killed, has an orphan, and is stopped.
fn live_a_whole_life(wrapper: &[&str], change: impl Fn(Launch) -> Launch) -> String {
    // Copies, where any user can reach them.
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let [binary, script] = ["allcores", "serve.py"].map(|name| directory.path().join(name));
    fs::copy(BINARY, &binary).unwrap();
    fs::copy(fixture("serve.py"), &script).unwrap();
    private_network();
    let line = format!("(setsid sleep 1000 &); exec python3 {}", script.display());
    let launch = allcores_sh(&line).binary(&binary).through(wrapper);
    // Not that of the container in which the tests may run, which is writable or not.
    let launch = change(launch).set("TERMINATION_LOG", "/dev/null");
    let mut running = launch.set("LISTEN", "127.0.0.1:8080").set("WORKERS", "2").start();
    running.output.next_of(2, "up");
    assert!(ask("127.0.0.1:8080").ends_with(" unknown"));
    send(running.worker().1, libc::SIGKILL);
    running.output.next("up");
    assert!(ask("127.0.0.1:8080").ends_with(" unknown"));
    let ended = running.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert!(ended.log.contains("stopped as asked") && !ended.log.contains("could not"), "{}", ended.log);
    ended.log
}

#[test]
fn nobody_without_capabilities_can_run_us() {
    let ended = allcores(&["cat", "/proc/self/status"]).without_namespaces().through(&NOBODY);
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let binary = directory.path().join("allcores");
    fs::copy(BINARY, &binary).unwrap();
    let printed = ended.binary(binary).end().output;
    for line in ["Uid:\t65534\t65534\t65534\t65534", "CapEff:\t0000000000000000", "NoNewPrivs:\t1"] {
        assert!(printed.contains(line), "{line}:\n{printed}");
    }
    live_a_whole_life(&NOBODY, |launch| launch);
}

#[test]
fn nothing_has_to_be_writable() {
    let line = "for directory in / /tmp /run /dev/shm /var/tmp; do
                    touch $directory/allcores-test 2>/dev/null && echo $directory is writable
                done; echo done";
    assert_eq!(allcores_sh(line).through(&READ_ONLY).end().output, "done");
    live_a_whole_life(&READ_ONLY, |launch| launch);
    live_a_whole_life(&[&READ_ONLY[..], &NOBODY].concat(), |launch| launch);
}

#[test]
fn numbers_need_no_user_database() {
    let ended = allcores(&["id", "-u"]).through(&NO_USERS).set("USER", "1234:4321").end();
    assert_eq!((ended.code, ended.output.as_str()), (Some(0), "1234"), "{}", ended.log);
    let named = allcores(&["id", "-u"]).through(&NO_USERS).set("USER", "daemon").end();
    assert_eq!(named.code, Some(78), "{}", named.log);
    live_a_whole_life(&NO_USERS, |launch| launch.set("USER", "1234"));
}

#[test]
fn somebody_who_is_not_root_cannot_become_another_and_is_told_so() {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let binary = directory.path().join("allcores");
    fs::copy(BINARY, &binary).unwrap();
    let as_nobody = |user: &str| allcores(&["true"]).binary(&binary).through(&NOBODY).set("USER", user).end();
    let ended = as_nobody("1234");
    assert_eq!(ended.code, Some(78));
    assert!(ended.log.contains("only root"), "{}", ended.log);
    assert_eq!(as_nobody("65534:65534").code, Some(0));
}

#[test]
fn proc_is_not_needed_and_what_workers_leave_behind_is_still_ended() {
    let log = live_a_whole_life(&NO_PROC, |launch| launch.set("STOP_TIMEOUT", "60s"));
    assert!(log.contains("stopping what they left behind"), "{log}");
}

#[test]
fn descriptors_do_not_leak_where_close_range_is_refused() {
    for error in ["EPERM", "ENOSYS", "EINVAL"] {
        let fault = format!("inject=close_range:error={error}");
        let ended = allcores_with("descriptors.py", &[])
            .through(&[&refuse(&fault)[..], &["python3", &fixture("odd_parent.py")]].concat())
            .end();
        assert_eq!(ended.output.lines().count(), 3, "{error}: {}\n{}", ended.output, ended.log);
    }
    live_a_whole_life(&refuse("inject=close_range:error=EPERM"), |launch| launch);
}

#[test]
fn orphans_that_cannot_be_adopted_are_a_warning_and_no_more() {
    for error in ["EPERM", "ENOSYS"] {
        let fault = format!("inject=prctl:error={error}");
        let ended = allcores_sh("exit 3").through(&refuse(&fault)).end();
        assert_eq!(ended.code, Some(3), "{}", ended.log);
        assert!(ended.log.contains("orphans cannot be adopted"), "{}", ended.log);
    }
}

#[test]
fn a_signal_that_cannot_be_heard_is_71() {
    let ended = allcores(&["echo", "worker"]).through(&refuse("inject=signalfd4:error=EMFILE")).end();
    assert_eq!((ended.code, ended.output.as_str()), (Some(71), ""));
    assert!(ended.log.contains("signals cannot be heard"), "{}", ended.log);
}
