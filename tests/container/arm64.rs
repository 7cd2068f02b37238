//! The image for arm64, whose program this machine's processor needs QEMU for. The workers are this machine's own.

use std::os::unix::fs::FileExt;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::common::{Program, field, must, run};
use crate::docker::{GIT, docker, image_for, name};

const EM_AARCH64: u16 = 183;

/// The program, run by QEMU. It is not known to the kernel as one that runs arm64's programs: that would need its leave.
fn emulated(program: &std::path::Path) -> Command {
    let mut qemu = Command::new("qemu-aarch64-static");
    qemu.arg(program);
    qemu
}

#[test]
fn the_image_for_arm64_has_a_program_for_arm64_that_works() {
    let install = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/install.sh");
    must(Command::new(install).arg("qemu-aarch64-static:qemu-user-static"));
    let image = image_for("linux/arm64");
    assert_eq!(must(docker().args(["image", "inspect", "--format", "{{.Architecture}}", &image])), "arm64");

    let directory = tempfile::tempdir().unwrap();
    let binary = directory.path().join("allcores");
    let container = name();
    must(docker().args(["create", "--name", &container, &image]));
    must(docker().args(["cp", &format!("{container}:/allcores")]).arg(&binary));
    must(docker().args(["rm", &container]));
    let mut machine = [0; 2];
    std::fs::File::open(&binary).unwrap().read_exact_at(&mut machine, 18).unwrap();
    assert_eq!(u16::from_le_bytes(machine), EM_AARCH64);

    let version = must(emulated(&binary).arg("--version"));
    assert_eq!(version, format!("allcores {} ({GIT})", env!("CARGO_PKG_VERSION")));

    let pool = ["--workers", "2", "--first-port", "9000"];
    let slots = ["--restart", "never", "--", "sh", "-c", "exit $ALLCORES_SLOT"];
    assert_eq!(run(emulated(&binary).args(pool).args(slots)).code, 1);

    // A crash, a replacement, a stop.
    let mut command = emulated(&binary);
    command.args(pool).args(["--backoff", "10ms..1s", "--", "sleep", "1000"]);
    let mut program = Program::start(command);
    let ready = program.wait_for_line(&["worker ready", " worker=1 "]);
    let victim = field(&ready, "pid").unwrap().parse().unwrap();
    kill(Pid::from_raw(victim), Signal::SIGKILL).unwrap();
    program.wait_for_line(&["worker died", " worker=1 ", "signal=KILL"]);
    program.wait_for_line(&["worker ready", " worker=3 "]);
    kill(Pid::from_raw(program.pid()), Signal::SIGTERM).unwrap();
    assert_eq!(program.wait(), 0);
}
