//! Small unmodified Node programs, each under Node's own cluster primary and under ours: what they and their clients see is
//! the same. Where Node's own primary loses something and ours does not, the test says so, and asserts both.
//!
//! Everything runs with Node 20; `every_node` runs what matters most with each of the others as well.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test waits, sleeps and spawns; a failure is a panic"
)]

mod client;
#[path = "../common/mod.rs"]
mod common;
mod deaths;
mod every_node;
mod figures;
mod full;
mod listening;
#[path = "../common/load/mod.rs"]
mod load;
mod messages;
mod packages;
mod pool;
mod replacing;
mod sharing;
mod stopping;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The Node that runs everything.
const NODE: u8 = 20;

/// Where Node and its packages are installed, which is done once for all tests. It is an error when it cannot be.
fn installed() -> &'static Path {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compatibility");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/compatibility/setup.sh");
        common::must(Command::new(script).arg(&directory));
        directory
    })
}

/// The program of a Node.
fn node(version: u8) -> PathBuf {
    installed().join(format!("node-{version}/node_modules/node/bin/node"))
}

/// The path of a file in `apps/`.
fn app(name: &str) -> String {
    format!("{}/tests/compatibility/apps/{name}", env!("CARGO_MANIFEST_DIR"))
}
