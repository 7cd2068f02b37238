//! `RELOAD_ON_CHANGE`: what changes rolls the workers, once.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::harness::{Launch, Running, allcores, allcores_sh, field};

fn pool(paths: &[&Path]) -> Launch {
    let paths: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    allcores_sh("echo up $ALLCORES_GENERATION; exec sleep 1000")
        .set("RELOAD_ON_CHANGE", &paths.join(","))
        .set("WORKERS", "2")
        .set("MODE", "ports")
        .set("FIRST_PORT", "9000")
        .set("READY", "alive:10ms")
}

fn start(launch: Launch) -> Running {
    let mut running = launch.start();
    running.output.next_of(2, "up 1");
    running.log.next_of(2, "worker ready");
    running
}

/// As Kubernetes does it.
fn publish(folder: &Path, version: &str) {
    fs::create_dir(folder.join(version)).unwrap();
    fs::write(folder.join(version).join("app.yaml"), version).unwrap();
    symlink(version, folder.join("..data_tmp")).unwrap();
    let old = fs::read_link(folder.join("..data"));
    fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
    if let Ok(old) = old {
        fs::remove_dir_all(folder.join(old)).unwrap();
    }
}

#[test]
fn a_configmaps_swap_rolls_the_workers_once() {
    let folder = tempfile::tempdir().unwrap();
    publish(folder.path(), "..1");
    symlink("..data/app.yaml", folder.path().join("app.yaml")).unwrap();
    let mut running = start(pool(&[&folder.path().join("app.yaml")]));
    for generation in ["2", "3"] {
        publish(folder.path(), &format!("..{generation}"));
        let line = running.log.next("path changed");
        assert!(field(&line, "path").ends_with("/app.yaml"), "{line}");
        running.output.next_of(2, &format!("up {generation}"));
        running.log.next("reload done");
    }
    let log = running.stop().log;
    assert_eq!(log.matches("path changed").count(), 2, "{log}");
}

#[test]
fn a_file_that_is_made_later_rolls_the_workers_and_its_neighbours_do_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("later/app.yaml");
    let mut running = start(pool(&[Path::new("/nonexistent/a"), &path]));
    fs::write(folder.path().join("neighbour"), "").unwrap();
    fs::create_dir(folder.path().join("later")).unwrap();
    running.log.next("reload done");
    fs::write(folder.path().join("later/neighbour"), "").unwrap();
    fs::write(&path, "").unwrap();
    running.log.next("reload done");
    running.output.next_of(2, "up 3");
    let log = running.stop().log;
    assert_eq!(log.matches("path changed").count(), 2, "{log}");
}

#[test]
fn a_kernel_that_watches_no_more_is_a_warning_that_names_its_limit() {
    // Not those in /proc/sys/fs/inotify, which are the whole machine's: these hold below this user namespace, whose they are.
    let limit = |name: &str| format!("echo 0 > /proc/sys/user/max_inotify_{name}; exec \"$@\"");
    for name in ["watches", "instances"] {
        let mut running = allcores(&["sleep", "1000"])
            .through(&["unshare", "--user", "--map-root-user", "sh", "-c", &limit(name), "sh"])
            .set("RELOAD_ON_CHANGE", "/etc/hostname")
            .start();
        let line = running.log.next("RELOAD_ON_CHANGE");
        assert!(line.contains("WARN") && line.contains(&format!("fs.inotify.max_user_{name}")), "{line}");
        running.log.next("worker ready");
        assert_eq!(running.stop().code, Some(143));
    }
}
