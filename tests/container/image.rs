//! What is in the image, and what it needs to work: nothing.

use std::process::Command;

use crate::common::{field, must};
use crate::docker::{Container, GIT, docker, image, run_to_end};

#[test]
fn hadolint_has_nothing_to_say() {
    let lint = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/container/hadolint.sh");
    assert_eq!(must(&mut Command::new(lint)), "");
}

#[test]
fn the_image_holds_one_file() {
    let directory = tempfile::tempdir().unwrap();
    let archive = directory.path().join("image.tar");
    must(docker().args(["save", "--output"]).arg(&archive).arg(image()));
    must(Command::new("tar").arg("-xf").arg(&archive).arg("-C").arg(directory.path()));
    let manifest = std::fs::read_to_string(directory.path().join("manifest.json")).unwrap();
    let (_, layers) = manifest.split_once("\"Layers\":[").unwrap();
    let (layers, _) = layers.split_once(']').unwrap();
    let files = layers.split(',').map(|layer| {
        must(Command::new("tar").arg("-tf").arg(directory.path().join(layer.trim_matches('"'))))
    });
    assert_eq!(files.collect::<Vec<_>>(), ["allcores"]);
}

#[test]
fn the_image_says_what_it_is_and_is_not_root() {
    let inspect = |field: &str| must(docker().args(["image", "inspect", "--format", field, image()]));
    assert_eq!(inspect("{{.Config.User}}"), "65534:65534");
    assert_eq!(inspect("{{.Config.Entrypoint}}"), "[/allcores]");
    let label =
        |name: &str| inspect(&format!("{{{{index .Config.Labels \"org.opencontainers.image.{name}\"}}}}"));
    assert_eq!(label("title"), "allcores");
    assert_eq!(label("version"), env!("CARGO_PKG_VERSION"));
    assert_eq!(label("revision"), GIT);
    assert_eq!(label("licenses"), "MIT OR Apache-2.0");
}

#[test]
fn the_image_runs_with_nothing_around_it() {
    let version = must(docker().args(["run", "--rm", image(), "--version"]));
    assert_eq!(version, format!("allcores {} ({GIT})", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_container_with_every_privilege_taken_away_serves() {
    let hardened = "--read-only --user 65534 --cap-drop ALL --security-opt no-new-privileges";
    let options = format!("{hardened} --publish 127.0.0.1::8080");
    let container = Container::start(&options, "-n 2 -l 8080", &["/app", "serve"]);
    container.wait_for_lines(2, &["worker ready"]);

    let answer = container.ask();
    for line in ["Uid:\t65534\t65534", "CapEff:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"] {
        assert!(answer.contains(line), "{line:?} in {answer}");
    }
    // A worker can be killed and replaced there as anywhere.
    let ready = container.wait_for_line(&["worker ready"]);
    container.exec(&["kill", "-9", field(&ready, "pid").unwrap()]);
    container.wait_for_line(&["worker died", "signal=KILL", "cause=crashed"]);
    container.wait_for_lines(3, &["worker ready"]);
    assert!(container.ask().starts_with("HTTP/1.0 200 OK"));

    let (code, _) = container.stop();
    assert_eq!(code, 0);
    let log = container.log();
    let complaints = log.lines().filter(|line| line.contains(" WARN ") || line.contains(" ERROR "));
    // Of the death, and of the rest that followed.
    assert_eq!(complaints.count(), 2, "{log}");
}

#[test]
fn a_container_of_a_random_user_serves() {
    let options = "--user 1234567:0 --cap-drop ALL --publish 127.0.0.1::8080";
    let container = Container::start(options, "-n 1 -l 8080 --mode inherit", &["/app", "serve"]);
    container.wait_for_line(&["worker ready"]);
    assert!(container.ask().contains("Uid:\t1234567\t"));
}

#[test]
fn root_of_a_container_can_give_its_workers_another_user() {
    let options = "--publish 127.0.0.1::8080";
    let container = Container::start(options, "-n 2 -l 8080 --user 1000:1001", &["/app", "serve"]);
    container.wait_for_lines(2, &["worker ready"]);
    let answer = container.ask();
    for line in ["Uid:\t1000\t1000", "Gid:\t1001\t1001", "Groups:\t1001", "NoNewPrivs:\t1"] {
        assert!(answer.contains(line), "{line:?} in {answer}");
    }
    let refused = run_to_end("--user 65534", "--user 1000", &["true"]);
    assert_eq!(refused.code, 78, "{}", refused.text);
}
