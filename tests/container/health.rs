//! What Docker makes of `allcores ctl check`, and compose of a stop that takes its time.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::common::{Ended, field, must, run, wait_until};
use crate::docker::{Container, app_image, docker, host, name};

/// Waits until Docker says so.
fn wait_for_health(container: &Container, health: &str) {
    wait_until(&format!("it is {health}"), || {
        (container.inspect(".State.Health.Status") == health).then_some(())
    });
}

#[test]
fn docker_sees_that_a_pool_is_healthy_and_when_it_is_not_any_more() {
    // With nowhere to write to, and nothing but the program to ask it with.
    let options = "--read-only --user 65534 --cap-drop ALL --health-interval 1s --health-retries 1";
    let settings = "-n 1 --first-port 9000 --max-failures 0 --backoff 100ms..1s";
    let first_lives = "[ $ALLCORES_WORKER = 1 ] && exec sleep 1000; exit 1";
    let container = Container::start(options, settings, &["sh", "-c", first_lives]);
    wait_for_health(&container, "healthy");

    let ready = container.wait_for_line(&["worker ready"]);
    container.exec(&["kill", "-9", field(&ready, "pid").unwrap()]);
    wait_for_health(&container, "unhealthy");
    let told = run(docker().args(["exec", &container.0, "/allcores", "ctl", "check"]));
    assert_eq!(told.code, 1);
    assert!(told.text.contains("not ready: 0 of 1 worker"), "{}", told.text);
    assert_eq!(container.inspect(".State.Running"), "true");
}

#[test]
fn compose_gives_a_stop_the_time_that_it_was_promised() {
    let install = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/install.sh");
    must(Command::new(install).arg("docker-compose:docker-compose"));
    let project = Project(name());
    let compose = |words: &str| {
        let ended = project.compose(words);
        assert_eq!(ended.code, 0, "{words}: {}", ended.text);
        ended.output.trim().to_owned()
    };
    compose("up --detach");
    let container = Container(compose("ps --quiet app"));
    container.wait_for_lines(2, &["set"]);
    wait_for_health(&container, "healthy");

    let asked = Instant::now();
    compose("stop");
    let time = asked.elapsed();
    assert_eq!(container.inspect(".State.ExitCode"), "0", "{}", container.log());
    assert!(Duration::from_secs(11) <= time && time < Duration::from_secs(20), "{time:?}");
}

/// What compose has made. It is removed when this is dropped.
struct Project(String);

impl Project {
    fn compose(&self, words: &str) -> Ended {
        let mut compose = Command::new("docker-compose");
        compose.env("DOCKER_HOST", host()).env("IMAGE", app_image());
        compose.args(["--project-name", &self.0, "--file"]);
        compose.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/container/app/compose.yaml"));
        run(compose.args(words.split_whitespace()))
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        self.compose("down --timeout 0");
    }
}
