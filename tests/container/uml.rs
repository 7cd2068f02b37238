//! cgroup v2, which the machine that tests run on may not have: in a kernel of its own.

use std::process::Command;

use crate::common::must;
use crate::docker::app;

#[test]
fn limits_of_cgroup_v2_are_seen_from_below_and_inside() {
    let here = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/container");
    let mut uml = Command::new(format!("{here}/uml.sh"));
    uml.arg(format!("{here}/cgroup2.sh"));
    uml.env("UML_ALLCORES", env!("CARGO_BIN_EXE_allcores")).env("UML_APP", app().join("app"));
    let told = must(&mut uml);
    let chapter = |title: &str| {
        let chapters: Vec<&str> = told.split("== ").collect();
        let found = chapters.iter().find(|chapter| chapter.starts_with(title)).copied();
        found.unwrap_or_else(|| panic!("no chapter {title:?} in:\n{told}"))
    };
    // The kernel there has one core.
    let checks = [
        ("a limit of the group above", "workers: 1 (quota of 0.50 cores, of 1 allowed)"),
        ("a limit of our own group", "workers: 1 (quota of 0.70 cores, of 1 allowed)"),
        ("no limit", "workers: 1 (1 core allowed)"),
    ];
    for (title, expected) in checks {
        assert!(chapter(title).contains(expected), "{expected}: {}", chapter(title));
    }
    let read = chapter("what is read");
    for line in ["allcores_cores 1", "allcores_memory_limit_bytes 67108864", "allcores_oom_kills_total 0"] {
        assert!(read.contains(&format!("\n{line}\n")), "{line}: {read}");
    }
    let value = |name: &str| -> f64 {
        let line =
            read.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}: {read}"));
        line.rsplit_once(' ').unwrap().1.parse().unwrap()
    };
    // For three seconds the worker wanted all of a core, of which it may have seven tenths.
    assert!(value("allcores_cpu_throttled_seconds_total") > 0.2, "{read}");
    assert!(value("allcores_worker_cpu_seconds_total") > 0.5, "{read}");
    assert!(value("allcores_worker_memory_bytes") > 100_000.0, "{read}");
    assert!(value("allcores_worker_open_fds") >= 3.0, "{read}");
    let out_of_memory = chapter("out of memory");
    assert!(out_of_memory.contains("signal=KILL cause=oom"), "{out_of_memory}");
    assert!(out_of_memory.trim_end().ends_with("code 0"), "{out_of_memory}");
}
