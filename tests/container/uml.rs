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
    let out_of_memory = chapter("out of memory");
    assert!(out_of_memory.contains("signal=KILL cause=oom"), "{out_of_memory}");
    assert!(out_of_memory.trim_end().ends_with("code 0"), "{out_of_memory}");
}
