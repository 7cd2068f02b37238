//! `docker run -it`: the terminal's keys.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use nix::pty::openpty;

use crate::common::wait_until;
use crate::docker::{Container, arguments, docker, name};

const CTRL_C: &[u8] = b"\x03";

/// `docker run -it` on a terminal of its own: its keyboard and its screen.
struct Session {
    client: std::process::Child,
    keyboard: File,
    screen: Arc<Mutex<String>>,
    _container: Container,
}

impl Session {
    fn start(settings: &str, command: &[&str]) -> Self {
        let terminal = openpty(None, None).unwrap();
        let end = || Stdio::from(terminal.slave.try_clone().unwrap());
        let container = Container(name());
        let mut run: Command = docker();
        run.args(["run", "--interactive", "--tty", "--name", &container.0]);
        run.args(arguments("", settings, command)).stdin(end()).stdout(end()).stderr(end());
        let client = run.spawn().unwrap();
        let keyboard = File::from(terminal.master);
        let mut output = keyboard.try_clone().unwrap();
        let screen = Arc::new(Mutex::new(String::new()));
        let shown = Arc::clone(&screen);
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut buffer) {
                shown.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..count]));
            }
        });
        Self { client, keyboard, screen, _container: container }
    }

    fn screen(&self) -> String {
        self.screen.lock().unwrap().clone()
    }

    fn wait_for(&self, text: &str) {
        wait_until(&format!("the screen shows {text}"), || self.screen().contains(text).then_some(()));
    }

    fn press(&mut self, keys: &[u8]) {
        self.keyboard.write_all(keys).unwrap();
    }

    fn wait(&mut self) -> i32 {
        let status = wait_until("docker run ends", || self.client.try_wait().unwrap());
        status.code().unwrap()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.client.kill();
        let _ = self.client.wait();
    }
}

#[test]
fn ctrl_c_reaches_a_plain_program_once() {
    let script =
        "trap 'echo got-INT; n=$((n+1))' INT; echo set; while [ ! $n ]; do sleep 0.1; done; sleep 1; exit 5";
    let mut session = Session::start("", &["sh", "-c", script]);
    session.wait_for("set");
    session.press(CTRL_C);
    session.wait_for("got-INT");
    assert_eq!(session.wait(), 5);
    assert_eq!(session.screen().matches("got-INT").count(), 1, "{}", session.screen());
}

#[test]
fn ctrl_c_stops_a_pool() {
    let script = "trap 'echo got-TERM; exit 0' TERM; echo set-$ALLCORES_SLOT; while :; do sleep 0.1; done";
    let mut session = Session::start("-n 2 --first-port 9000", &["sh", "-c", script]);
    session.wait_for("set-0");
    session.wait_for("set-1");
    session.press(CTRL_C);
    assert_eq!(session.wait(), 0);
    assert_eq!(session.screen().matches("got-TERM").count(), 2, "{}", session.screen());
}

#[test]
fn a_program_can_read_from_the_terminal() {
    let mut session = Session::start("", &["sh", "-c", "echo set; read word; echo read-$word; exit 6"]);
    session.wait_for("set");
    session.press(b"hello\r");
    session.wait_for("read-hello");
    assert_eq!(session.wait(), 6);
}
