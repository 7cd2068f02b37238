//! The README's first lines, done: an ordinary Node program, its Dockerfile, and Docker.

use std::collections::BTreeSet;
use std::path::Path;

use crate::common::{field, must, wait_until};
use crate::docker::{Container, docker, image, name};

/// Builds the image of an example as its Dockerfile says, but for the name of ours.
fn build(example: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(example);
    let copy = tempfile::tempdir().unwrap();
    must(std::process::Command::new("cp").arg("-r").arg(folder.join(".")).arg(copy.path()));
    let dockerfile = copy.path().join("Dockerfile");
    let text = std::fs::read_to_string(&dockerfile).unwrap();
    let ours = text.replace("--from=allcores ", &format!("--from={} ", image()));
    assert_ne!(ours, text, "it copies from the project's image");
    std::fs::write(&dockerfile, ours).unwrap();
    must(docker().args(["build", "--quiet"]).arg(copy.path()))
}

#[test]
fn an_ordinary_node_program_is_a_pool_in_docker() {
    let container = Container(name());
    let hardened = "--read-only --cap-drop ALL --security-opt no-new-privileges --health-interval 1s";
    let options =
        format!("run --detach --publish 127.0.0.1::8080 --env ALLCORES_WORKERS=2 {hardened} --name");
    must(docker().args(options.split_whitespace()).args([&container.0, &build("node")]));

    let ready = container.wait_for_lines(2, &["worker ready"]);
    let answers =
        || (0..10).map(|_| container.ask().lines().last().unwrap().to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(answers(), BTreeSet::from(["worker 1".to_owned(), "worker 2".to_owned()]));
    wait_until("it is healthy", || (container.inspect(".State.Health.Status") == "healthy").then_some(()));

    // There is no shell in there, and no kill; but there is Node.
    let kill = format!("process.kill({}, 'SIGKILL')", field(&ready[0], "pid").unwrap());
    container.exec(&["node", "-e", &kill]);
    container.wait_for_lines(3, &["worker ready"]);
    assert!(answers().contains("worker 3"));

    container.kill("HUP");
    container.wait_for_line(&["reload done"]);
    assert_eq!(answers(), BTreeSet::from(["worker 4".to_owned(), "worker 5".to_owned()]));
    assert_eq!(container.stop().0, 0);
}
