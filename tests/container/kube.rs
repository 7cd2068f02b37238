//! The chart's pod in a real runtime: it becomes ready, serves, heals, takes a new configuration, drains, and tells how it ended.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::common::must;
use crate::docker::{app_image, docker, image};
use crate::helm::{find, overlay, release};

const HERE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/container");

/// A folder with the images and the pod, in which the kubelet is played. There, it may have another name.
fn job(values: &Value, there: Option<&str>) -> tempfile::TempDir {
    let folder = tempfile::tempdir_in("/var/tmp").unwrap();
    let file = |name: &str| folder.path().join(name);
    std::fs::write(file("termination"), "").unwrap();
    // As the kubelet leaves it for containers of any user.
    std::fs::set_permissions(file("termination"), std::fs::Permissions::from_mode(0o666)).unwrap();

    let tag = image().rsplit(':').next().unwrap();
    let names = ["allcores", "web"].map(|name| format!("localhost/{name}:{tag}"));
    for (image, name) in [image(), app_image()].iter().zip(&names) {
        must(docker().args(["tag", image, name]));
    }
    must(docker().args(["save", "--output"]).arg(file("images.tar")).args(&names));

    let there = there.map_or_else(|| folder.path().to_owned(), PathBuf::from);
    let own =
        |name: &str| json!({ "repository": format!("localhost/{name}"), "tag": tag, "pullPolicy": "Never" });
    let mut all = json!({
        "image": own("web"),
        "allcores": { "image": own("allcores") },
        "command": ["/app", "serve"],
        "settings": { "LISTEN": "http=8080", "DRAIN_DELAY": "3s" },
        "config": { "files": { "app.json": "{}" } },
        "extraVolumes": [{ "name": "termination", "hostPath": { "path": there.join("termination"), "type": "File" } }],
        "extraVolumeMounts": [{ "name": "termination", "mountPath": "/dev/termination-log" }],
    });
    overlay(&mut all, values);
    let resources = release(&all).unwrap();
    // Podman would remove an init container that has ended, and fails when it is not yet sure of that.
    let annotations = json!({ "io.podman.annotations.init.container.type": "always" });
    let metadata = json!({ "name": "web", "annotations": annotations });
    let mut pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata });
    pod["spec"] = find(&resources, "Deployment", "web")["spec"]["template"]["spec"].clone();
    // It would also start one that has ended well again and again.
    pod["spec"]["restartPolicy"] = json!("OnFailure");
    // What a ConfigMap is mounted from, as the kubelet lays it out.
    std::fs::create_dir_all(file("config/..1")).unwrap();
    for (name, text) in find(&resources, "ConfigMap", "web")["data"].as_object().unwrap() {
        std::fs::write(file("config/..1").join(name), text.as_str().unwrap()).unwrap();
        symlink(format!("..data/{name}"), file("config").join(name)).unwrap();
    }
    symlink("..1", file("config/..data")).unwrap();
    let volumes = pod["spec"]["volumes"].as_array_mut().unwrap();
    let config = volumes.iter_mut().find(|volume| volume.get("configMap").is_some()).unwrap();
    *config =
        json!({ "name": config["name"], "hostPath": { "path": there.join("config"), "type": "Directory" } });
    std::fs::write(file("pod.yaml"), pod.to_string()).unwrap();
    std::fs::copy(format!("{HERE}/kubelet.sh"), file("kubelet.sh")).unwrap();
    folder
}

/// What the kubelet told, chapter by chapter: every one of these words is in its chapter.
fn assert_told(told: &str, chapters: &[(&str, &[&str])]) {
    for (title, expected) in chapters {
        let found = told.split("== ").find(|chapter| chapter.starts_with(&format!("{title}\n")));
        let chapter = found.unwrap_or_else(|| panic!("no chapter {title:?} in:\n{told}"));
        for words in *expected {
            assert!(chapter.contains(words), "no {words:?} in {chapter}\nof:\n{told}");
        }
    }
}

const RESTRICTED: &[&str] =
    &["Uid:\t65534\t65534", "CapEff:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2", "workers=2"];
const HEALED: &[&str] = &["ok", "restarts 0"];
const RELOADED: &[&str] = &["path changed", "reload done", "Generation:\t"];
const LEAVING: &[&str] = &["draining", "Worker:\t"];
const STOPPED: &[&str] = &["leaving code=0", "code 0, restarts 0", "stopped as asked"];

#[test]
fn a_pod_with_an_init_container_lives_its_whole_life() {
    let folder = job(&json!({ "allcores": { "from": "init" } }), None);
    let mut podman = Command::new(format!("{HERE}/podman.sh"));
    let told = must(podman.args(["./kubelet.sh", "http"]).current_dir(folder.path()));
    assert_told(
        &told,
        &[
            ("ready", &["ok\nok\nok"]),
            ("answers", RESTRICTED),
            ("a worker is killed", HEALED),
            ("the configuration changes", RELOADED),
            ("asked to stop", LEAVING),
            ("stopped", STOPPED),
        ],
    );
}

/// There the probes are podman's own, by systemd's timers.
#[test]
fn a_pod_with_probes_that_are_commands_lives_its_whole_life_below_systemd_and_cgroup_v2() {
    let values = json!({
        "allcores": { "from": "image" },
        // Commands take seconds there.
        "settings": { "HTTP": "127.0.0.1:9180", "DRAIN_DELAY": "30s" },
    });
    let folder = job(&values, Some("/job"));
    std::fs::write(folder.path().join("run.sh"), "exec ./kubelet.sh exec /allcores\n").unwrap();
    let mut machine = Command::new(format!("{HERE}/vm.sh"));
    machine.arg(Path::new(env!("CARGO_TARGET_TMPDIR")).join("vm")).arg(folder.path());
    let told = must(&mut machine);
    assert_told(
        &told,
        &[
            ("ready", &["ok\nok\nok"]),
            ("answers", RESTRICTED),
            ("healthy", &[]),
            ("a worker is killed", HEALED),
            ("the configuration changes", RELOADED),
            ("asked to stop", LEAVING),
            ("stopped", STOPPED),
        ],
    );
}
