//! New versions, good and bad, under load: as long as a new one is not ready, the old workers serve on.
//!
//! The version is what a file says that the program reads as it begins.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::load::Load;
use crate::pool::Pool;
use crate::programs::{Server, gunicorn, uvicorn};

/// A server that reads its version here, and the file.
fn versioned(server: Server) -> (Server, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("version");
    fs::write(&file, "good").unwrap();
    (server.set("ready", "notify").env("VERSION", file.to_str().unwrap()), folder)
}

fn publish(folder: &TempDir, version: &str) {
    fs::write(folder.path().join("version"), version).unwrap();
}

/// A bad version: the verdict and its reason, and the workers before are the workers afterwards.
fn is_refused(server: Server, version: &str, reason: &str) {
    let (server, folder) = versioned(server);
    let mut pool = Pool::start(&server);
    let old = pool.workers();
    // Connections that a server closes at its leave have no part in this: nobody is to leave.
    let load = Load::start(server.address, server.keep_alive().protocol);
    load.wait_for_answer();
    publish(&folder, version);
    let line = pool.reload();
    assert!(line.contains("reload failed; the other workers stay") && line.contains(reason), "{line}");
    load.wait_for_more(100);
    let died = load.served();
    assert!(died.iter().all(|worker| old.contains(worker)), "{died:?} is more than {old:?}");
    let tally = load.finish_unharmed(version);
    assert_eq!((tally.closed, tally.reset), (0, 0), "no old worker has even closed a connection");
    assert_eq!(pool.workers(), old);

    // And then comes one that works.
    publish(&folder, "good");
    let line = pool.reload();
    assert!(line.contains("reload done"), "{line}");
    assert!(pool.workers().iter().all(|worker| !old.contains(worker)));
    assert_eq!(pool.stop().0, 0);
}

#[test]
fn a_version_that_never_becomes_ready_is_refused() {
    is_refused(uvicorn().set("ready-timeout", "20s"), "never", "was not ready in time");
}

#[test]
fn a_version_that_ends_at_once_is_refused() {
    is_refused(uvicorn(), "crash", "was not ready: crashed (exit 1)");
}

#[test]
fn a_version_that_its_own_master_gives_up_is_refused() {
    // The master says READY=1 before its worker has looked at the program, unless it looks itself.
    is_refused(gunicorn(&["--preload"]), "crash", "was not ready: crashed");
}

#[test]
fn a_version_that_takes_its_time_is_waited_for() {
    let (server, folder) = versioned(uvicorn().set("surge", "3"));
    let mut pool = Pool::start(&server);
    let old = pool.workers();
    let load = Load::start(server.address, server.keep_alive().protocol);
    load.wait_for_answer();
    publish(&folder, "slow");
    pool.send(Signal::SIGHUP);
    pool.wait_for(&["reloading", "generation=2"]);
    load.wait_for_more(300);
    assert_eq!(pool.count("worker died"), 0, "they serve meanwhile");
    let line = pool.verdict();
    assert!(line.contains("reload done"), "{line}");
    let new = pool.workers();
    assert!(new.iter().all(|worker| !old.contains(worker)));
    new.into_iter().for_each(|worker| load.wait_for_answer_of(worker));
    load.finish_unharmed("slow");
    assert_eq!(pool.stop().0, 0);
}

/// As Kubernetes does it.
fn swap(folder: &Path, version: &str) {
    fs::create_dir(folder.join(version)).unwrap();
    fs::write(folder.join(version).join("version"), "good").unwrap();
    symlink(version, folder.join("..data_tmp")).unwrap();
    fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
}

#[test]
fn a_configmap_is_swapped_under_load() {
    let folder = tempfile::tempdir().unwrap();
    swap(folder.path(), "..1");
    let file = folder.path().join("version");
    symlink("..data/version", &file).unwrap();
    let path = file.to_str().unwrap();
    let server = gunicorn(&[]).set("ready", "notify").set("reload-on-change", path).env("VERSION", path);
    let mut pool = Pool::start(&server);
    let load = Load::start(server.address, server.protocol);
    for version in ["..2", "..3"] {
        load.wait_for_more(100);
        swap(folder.path(), version);
        let line = pool.verdict();
        assert!(line.contains("reload done"), "{line}");
        pool.workers().into_iter().for_each(|worker| load.wait_for_answer_of(worker));
    }
    load.finish_unharmed("a ConfigMap");
    assert_eq!(pool.stop().0, 0);
}
