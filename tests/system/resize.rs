//! What is read every ten seconds: cores, which the pool follows, and memory, which a worker may have too much of.

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use crate::harness::{Launch, allcores_sh, allcores_with, field, until};
use crate::kernel::private_network;
use crate::sockets::ask;

const ADDRESS: &str = "127.0.0.1:8080";

fn allowed() -> Vec<usize> {
    let allowed = sched_getaffinity(Pid::from_raw(0)).unwrap();
    (0..CpuSet::count()).filter(|core| allowed.is_set(*core).unwrap()).collect()
}

fn first_core() -> String {
    allowed()[0].to_string()
}

/// As `docker update --cpuset-cpus` does: to the first cores of those allowed to us, as many as are named.
fn give(pid: i32, cores: usize) {
    let allowed = allowed();
    assert!(allowed.len() >= 2, "this test needs two cores");
    let mut given = CpuSet::new();
    for core in &allowed[..cores.min(allowed.len())] {
        given.set(*core).unwrap();
    }
    sched_setaffinity(Pid::from_raw(pid), &given).unwrap();
}

fn pool(mode: &str) -> Launch {
    allcores_with("serve.py", &[]).set("LISTEN", ADDRESS).set("MODE", mode).set("WORKERS", "auto")
}

#[test]
fn a_pool_shrinks_with_its_cores() {
    private_network();
    let mut running = pool("inherit").start();
    let all = std::thread::available_parallelism().unwrap().get();
    running.output.next_of(all, "up");
    give(running.pid(), 1);
    let line = running.log.next("number of workers changed");
    assert_eq!(field(&line, "to"), "1", "{line}");
    for line in running.log.next_of(all - 1, "worker died") {
        assert_eq!(field(&line, "cause"), "stopped");
    }
    assert!((0..20).all(|_| ask(ADDRESS).starts_with("0 ")));
    assert_eq!(running.stop().code, Some(0));
}

#[test]
fn a_pool_grows_with_its_cores_though_each_slot_has_its_own_socket() {
    private_network();
    let mut running = pool("reuseport").through(&["taskset", "-c", &first_core()]).start();
    running.output.next("up 0");
    give(running.pid(), 2);
    let line = running.log.next("number of workers changed");
    assert_eq!((field(&line, "from"), field(&line, "to")), ("1", "2"), "{line}");
    running.output.next("up 1");
    until("both serve", || ask(ADDRESS).starts_with("1 ").then_some(()));
    assert!((0..40).any(|_| ask(ADDRESS).starts_with("0 ")));
    assert_eq!(running.stop().code, Some(0));
}

#[test]
fn what_a_worker_has_started_counts_as_its_own() {
    let hog =
        "python3 -c 'import time; a = bytearray(64 << 20); print(\"up\", flush=True); time.sleep(1000)'";
    let launch = allcores_sh(&format!("{hog} & wait")).set("WORKERS", "1").set("RESTART", "always");
    let mut running = launch.set("READY", "alive:0").set("MAX_MEMORY", "48MiB").start();
    running.output.next("up");
    let line = running.log.next("worker came to its limit");
    assert_eq!(field(&line, "limit"), "\"MAX_MEMORY\"", "{line}");
    let line = running.log.next("worker died");
    assert_eq!(field(&line, "cause"), "memory", "{line}");
}
