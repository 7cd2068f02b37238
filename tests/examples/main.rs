//! Every example is run as its reader would run it: it sets itself up, shows that several workers answer, and ends well.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a test spawns; a failure is a panic")]

#[path = "../common/mod.rs"]
mod common;

use std::net::TcpListener;
use std::process::Command;

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");

/// A port that nobody has at the moment.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn shows_several_workers(example: &str) {
    let mut run = Command::new(format!("{EXAMPLES}/{example}/run"));
    run.env("PORT", free_port().to_string()).env("ALLCORES", env!("CARGO_BIN_EXE_allcores"));
    let shown = common::must(&mut run);
    for line in ["worker 1", "worker 2"] {
        assert!(shown.lines().any(|shown| shown.contains(line)), "no {line:?} in:\n{shown}");
    }
    assert!(shown.ends_with("exit code 0"), "{shown}");
}

/// A test for each, so that they run side by side, and one that none is forgotten.
macro_rules! examples {
    ($($name:ident)+) => {
        $(#[test]
        fn $name() {
            shows_several_workers(stringify!($name));
        })+

        #[test]
        fn every_example_is_run() {
            let mut found: Vec<String> = std::fs::read_dir(EXAMPLES)
                .unwrap()
                .map(|entry| entry.unwrap())
                .filter(|entry| entry.path().join("run").exists())
                .map(|entry| entry.file_name().into_string().unwrap())
                .collect();
            found.sort();
            assert_eq!(found, [$(stringify!($name)),+]);
        }
    };
}

examples! { axum express go gunicorn node php pool puma uvicorn }
