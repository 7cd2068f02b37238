//! The control socket and `allcores ctl`: who may, where it is, and how each task ends.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::client::demand;
use crate::harness::{BINARY, Ended, Launch, Running, allcores_sh, until};
use crate::kernel::send;

/// A control socket in a folder of its own, and a pool that has it.
pub struct Controlled {
    pub running: Running,
    pub socket: PathBuf,
    pub _directory: tempfile::TempDir,
}

pub fn controlled(launch: Launch) -> Controlled {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let socket = directory.path().join("control.sock");
    let mut running = launch.set("CONTROL", socket.to_str().unwrap()).start();
    running.log.next("worker started");
    Controlled { running, socket, _directory: directory }
}

/// Two workers that are ready soon.
pub fn pool() -> Launch {
    allcores_sh("exec sleep 1000").set("WORKERS", "2").set("RESTART", "always").set("READY", "alive:100ms")
}

/// Runs a task out here: exit code, output and errors.
pub fn ctl(socket: &Path, words: &[&str]) -> (i32, String, String) {
    run(Command::new(BINARY).env("ALLCORES_CONTROL", socket).arg("ctl").args(words))
}

fn run(command: &mut Command) -> (i32, String, String) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

#[test]
fn the_socket_is_for_its_owner_and_goes_with_us() {
    let Controlled { running, socket, _directory } = controlled(pool());
    let meta = fs::symlink_metadata(&socket).unwrap();
    assert!(meta.file_type().is_socket());
    assert_eq!(meta.permissions().mode() & 0o777, 0o600);
    assert_eq!(demand(&socket, "GET", "/livez").body, "ok\n");
    assert!(running.stop().log.contains("stopped as asked"));
    assert!(!socket.exists());
}

#[test]
fn another_user_is_refused_even_where_the_file_lets_them_in() {
    let Controlled { running: _running, socket, _directory } = controlled(pool());
    let binary = socket.with_file_name("allcores");
    fs::copy(BINARY, &binary).unwrap();
    let nobody = || {
        let become_nobody = ["--reuid=65534", "--regid=65534", "--clear-groups"];
        let mut command = Command::new("setpriv");
        command.args(become_nobody).arg(&binary).env("ALLCORES_CONTROL", &socket).args(["ctl", "status"]);
        run(&mut command)
    };
    let (code, _, told) = nobody();
    assert!(code == 1 && told.contains("only root and the user of allcores"), "{code} {told}");
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).unwrap();
    let (code, _, told) = nobody();
    assert!(code == 1 && told.contains("only root and uid 0"), "{code} {told}");
}

#[test]
fn what_nobody_listens_on_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("control.sock");
    drop(UnixListener::bind(&socket).unwrap());
    let _running = pool().set("CONTROL", socket.to_str().unwrap()).start();
    until("it is ours", || std::os::unix::net::UnixStream::connect(&socket).ok());
    assert_eq!(demand(&socket, "GET", "/livez").code(), 200);
}

#[test]
fn what_is_somebody_elses_is_left_alone_with_a_warning() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let _alive = UnixListener::bind(path("alive")).unwrap();
    fs::write(path("file"), "text").unwrap();
    for name in ["alive", "file", "no/such/folder"] {
        let ended = allcores_sh("exit 3").set("CONTROL", &path(name)).end();
        assert_eq!(ended.code, Some(3), "{}", ended.log);
        assert!(ended.log.contains("WARN CONTROL: no control socket"), "{}", ended.log);
    }
    assert_eq!(fs::read_to_string(path("file")).unwrap(), "text");
    assert!(fs::symlink_metadata(path("alive")).unwrap().file_type().is_socket());
}

/// Gives a run usual places of its own, all empty.
const OWN_PLACES: [&str; 4] = [
    "sh",
    "-c",
    r#"for place in /run /dev/shm /tmp; do mount -t tmpfs -o mode=1777 none $place; done; exec "$@""#,
    "sh",
];

/// The same, all but one of them read-only, as is everything else.
const READ_ONLY: [&str; 4] = [
    "sh",
    "-c",
    r#"for place in /run /dev/shm /tmp; do mount -t tmpfs -o mode=1777 none $place; done
       for mount in $(cut -d' ' -f5 /proc/self/mountinfo | sort -u | grep -v '^/dev/shm$'); do
           mount -o remount,bind,ro "$mount" 2>/dev/null
       done
       exec "$@""#,
    "sh",
];

const NOBODY: [&str; 5] = ["setpriv", "--reuid=4321", "--regid=4321", "--clear-groups", "--"];

/// What a worker sees that looks for the socket, and asks it.
fn looks(through: &[&str], binary: &Path) -> Ended {
    let line = format!(
        "for place in /run /tmp /dev/shm; do [ -S $place/allcores.sock ] && echo $place; done; {} ctl check live",
        binary.display()
    );
    allcores_sh(&line).binary(binary).through(through).set("CONTROL", "auto").end()
}

#[test]
fn the_usual_places_are_tried_one_after_the_other() {
    // Below no mount of a test's own, and for everybody to run.
    let directory = tempfile::tempdir_in("/var/tmp").unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let binary = directory.path().join("allcores");
    fs::copy(BINARY, &binary).unwrap();
    let both = |first: &[&'static str], second: &[&'static str]| [first, second].concat();
    let blocked = ["sh", "-c", r#"echo text >/run/allcores.sock; exec "$@""#, "sh"];
    for (through, place) in [
        (OWN_PLACES.to_vec(), "/run"),
        (both(&OWN_PLACES, &blocked), "/tmp"),
        (READ_ONLY.to_vec(), "/dev/shm"),
        (both(&READ_ONLY, &NOBODY), "/dev/shm"),
        (both(&OWN_PLACES, &NOBODY), "/run"),
    ] {
        let ended = looks(&through, &binary);
        assert_eq!(
            (ended.code, ended.output),
            (Some(0), format!("{place}\nok")),
            "{through:?}\n{}",
            ended.log
        );
        assert!(!ended.log.contains("WARN"), "{}", ended.log);
    }
}

#[test]
fn without_a_place_there_is_none_and_nobody_is_bothered() {
    let nowhere = [
        "sh",
        "-c",
        r#"for place in /run /dev/shm /tmp; do mount -t tmpfs -o ro none $place; done; exec "$@""#,
        "sh",
    ];
    let directory = tempfile::tempdir_in("/var/tmp").unwrap();
    let binary = directory.path().join("allcores");
    fs::copy(BINARY, &binary).unwrap();
    let ended = looks(&nowhere, &binary);
    assert_eq!(ended.code, Some(1), "{}", ended.log);
    assert!(!ended.log.contains("WARN CONTROL"), "{}", ended.log);
    let told = "no allcores is found at /run/allcores.sock, /tmp/allcores.sock, /dev/shm/allcores.sock";
    assert!(ended.log.contains(told), "{}", ended.log);
}

#[test]
fn one_below_another_takes_the_next_place_and_gives_it_back() {
    let directory = tempfile::tempdir_in("/var/tmp").unwrap();
    let binary = directory.path().join("allcores");
    fs::copy(BINARY, &binary).unwrap();
    let line = format!(
        "ls /run/allcores.sock /tmp/allcores.sock; {} sh -c 'ls /run/allcores.sock /tmp/allcores.sock'; ls /run/allcores.sock /tmp/allcores.sock; true",
        binary.display()
    );
    let ended = allcores_sh(&line).binary(&binary).through(&OWN_PLACES).set("CONTROL", "auto").end();
    let expected = "/run/allcores.sock\n/run/allcores.sock\n/tmp/allcores.sock\n/run/allcores.sock";
    assert_eq!((ended.code, ended.output.as_str()), (Some(0), expected), "{}", ended.log);
}

#[test]
fn root_controls_workers_of_another_user() {
    let Controlled { mut running, socket, _directory } = controlled(pool().set("USER", "1234"));
    running.log.next_of(2, "worker ready");
    let (code, table, _) = ctl(&socket, &["status"]);
    assert!(code == 0 && table.contains("ready: 2 of 2 workers"), "{table}");
}

#[test]
fn the_status_is_a_table_and_an_object() {
    let Controlled { mut running, socket, _directory } = controlled(pool());
    running.log.next_of(2, "worker ready");
    let (code, table, _) = ctl(&socket, &["status"]);
    assert_eq!(code, 0);
    let rows: Vec<&str> = table.lines().skip_while(|line| !line.starts_with("SLOT")).collect();
    assert!(rows.len() == 3 && rows[1].contains(" ready "), "{table}");
    let (code, json, _) = ctl(&socket, &["status", "--json"]);
    assert_eq!(code, 0);
    let status: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&status["workers_ready"], &status["mode"]), (&2.into(), &"plain".into()), "{json}");
}

#[test]
fn a_check_is_a_probe() {
    let Controlled { mut running, socket, _directory } = controlled(pool().set("READY", "alive:2s"));
    let (code, text, _) = ctl(&socket, &["check"]);
    assert!(code == 1 && text.starts_with("not ready: 0 of 2 workers ready"), "{code} {text}");
    assert_eq!(ctl(&socket, &["check", "live"]), (0, "ok\n".to_owned(), String::new()));
    running.log.next("worker ready");
    for probe in ["live", "ready", "startup"] {
        assert_eq!(ctl(&socket, &["check", probe]), (0, "ok\n".to_owned(), String::new()));
    }
}

#[test]
fn top_shows_again_and_again_until_a_signal() {
    let Controlled { running: _running, socket, _directory } = controlled(pool());
    let mut command = Command::new(BINARY);
    command.env("ALLCORES_CONTROL", &socket).args(["ctl", "top"]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut top = command.spawn().unwrap();
    let lines = BufReader::new(top.stdout.take().unwrap()).lines();
    let heads = lines.map(Result::unwrap).filter(|line| line.starts_with("SLOT"));
    assert_eq!(heads.take(3).count(), 3);
    send(top.id() as i32, libc::SIGTERM);
    // The pipe is closed by now: it may have ended of that.
    let code = top.wait().unwrap().code();
    assert!([Some(143), Some(0)].contains(&code), "{code:?}");
}

#[test]
fn top_gives_the_terminal_back() {
    let Controlled { running: _running, socket, _directory } = controlled(pool());
    // `script` makes a terminal, and types what it reads.
    let line =
        format!("stty -a >before; {BINARY} ctl top; echo code $?; stty -a | diff before - && echo restored");
    let typed = format!(
        "cd {} && (sleep 2; printf q) | script -qec '{line}' /dev/null",
        socket.parent().unwrap().display()
    );
    let (_, shown, told) = run(Command::new("sh").args(["-c", &typed]).env("ALLCORES_CONTROL", &socket));
    for part in ["\x1b[?1049h", "SLOT  WORKER", "\x1b[?1049l", "code 0", "restored"] {
        assert!(shown.contains(part), "{part:?} is not in {shown:?} {told}");
    }
}

#[test]
fn a_sleep_is_as_long_as_it_is_said_and_a_signal_ends_it() {
    let start = Instant::now();
    assert_eq!(run(Command::new(BINARY).args(["ctl", "sleep", "300ms"])).0, 0);
    assert!(start.elapsed() >= Duration::from_millis(300));
    // As PID 1 as well, whom the kernel spares signals that it has not asked for.
    let init = Launch::new(&["ctl", "sleep", "1000s"]).through(&["sh", "-c", "echo up; exec \"$@\"", "sh"]);
    let mut running = init.start();
    running.output.next("up");
    until("it sleeps", || {
        fs::read_to_string(format!("/proc/{}/wchan", running.pid())).ok().filter(|name| name.contains("poll"))
    });
    assert_eq!(running.stop().code, Some(143));
}

#[test]
fn a_copy_is_installed_whole() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    fs::write(path("old"), "text").unwrap();
    for (target, file) in [("", "allcores"), ("copy", "copy"), ("old", "old")] {
        let (code, told, _) = run(Command::new(BINARY).args(["ctl", "install"]).arg(path(target)));
        assert_eq!((code, told), (0, format!("{}\n", path(file).display())));
        assert_eq!(fs::metadata(path(file)).unwrap().permissions().mode() & 0o7777, 0o755);
        assert_eq!(run(Command::new(path(file)).arg("--version")).0, 0);
    }
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 3, "a draft is left");
    let (code, _, told) = run(Command::new(BINARY).args(["ctl", "install", "/no/such/folder/x"]));
    assert!(code == 1 && told.contains("/no/such/folder/x") && told.lines().count() == 1, "{code} {told}");
}

#[test]
fn a_wrong_task_is_64_in_one_line_and_nobody_there_is_1() {
    let nowhere = Path::new("/no/such/control.sock");
    for (words, part) in [
        (&[][..], "status, reload"),
        (&["explode"], "explode"),
        (&["restart"], "SLOT"),
        (&["restart", "one"], "one"),
        (&["scale"], "N|+N|-N|auto"),
        (&["scale", "*2"], "*2"),
        (&["stop", "it"], "it"),
        (&["check", "all"], "live|ready|startup"),
        (&["install"], "PATH"),
        (&["sleep"], "DURATION"),
        (&["sleep", "soon"], "soon"),
        (&["status", "--yaml"], "--json"),
    ] {
        let (code, said, told) = ctl(nowhere, words);
        assert!(code == 64 && said.is_empty() && told.contains(part), "{words:?}: {code} {told}");
        assert_eq!(told.lines().count(), 1, "{words:?}: {told}");
    }
    for words in
        [&["status"][..], &["reload"], &["restart", "0"], &["scale", "2"], &["stop"], &["check"], &["top"]]
    {
        let (code, said, told) = ctl(nowhere, words);
        assert!(
            code == 1 && said.is_empty() && told.contains("/no/such/control.sock"),
            "{words:?}: {code} {told}"
        );
    }
    let (code, _, told) = ctl(Path::new("relative"), &["status"]);
    assert!(code == 78 && told.contains("ALLCORES_CONTROL"), "{code} {told}");
    let (code, _, told) = ctl(Path::new("off"), &["status"]);
    assert!(code == 1 && told.contains("off"), "{code} {told}");
}

#[test]
fn a_wrong_task_does_not_touch_the_termination_log_of_the_run() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("reason");
    fs::write(&log, "the run's own").unwrap();
    run(Command::new(BINARY).args(["ctl", "explode"]).env("ALLCORES_TERMINATION_LOG", &log));
    assert_eq!(fs::read_to_string(&log).unwrap(), "the run's own");
}

#[test]
fn nothing_but_the_program_is_needed() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    fs::copy(BINARY, root.join("allcores")).unwrap();
    // The program under test is not static, as the released one is: its libraries go with it.
    let (_, libraries, _) = run(Command::new("ldd").arg(BINARY));
    for path in libraries.split_whitespace().filter(|word| word.starts_with('/')) {
        let copy = root.join(&path[1..]);
        fs::create_dir_all(copy.parent().unwrap()).unwrap();
        fs::copy(path, copy).unwrap();
    }
    let control = root.join("control.sock");
    let mut command = Command::new("chroot");
    command.arg(root).args([
        "/allcores",
        "--control",
        "/control.sock",
        "-n",
        "2",
        "--restart",
        "always",
        "--ready",
        "alive:100ms",
    ]);
    command.args(["/allcores", "ctl", "sleep", "1000s"]).stderr(Stdio::null());
    let mut init = command.spawn().unwrap();
    until("it listens", || control.exists().then_some(()));
    let task = |words: &[&str]| {
        run(Command::new("chroot")
            .arg(root)
            .args(["/allcores", "--control", "/control.sock", "ctl"])
            .args(words))
    };
    until("it is ready", || (task(&["check"]).0 == 0).then_some(()));
    let (code, table, _) = task(&["status"]);
    assert!(code == 0 && table.contains("ready: 2 of 2 workers"), "{table}");
    send(init.id() as i32, libc::SIGTERM);
    assert_eq!(init.wait().unwrap().code(), Some(143));
    assert_eq!(task(&["check"]).0, 1);
}
