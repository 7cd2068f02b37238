//! The project's Dockerfile, built as it is, and what `docker` makes of it: real containers, real limits, real signals.
//!
//! Where no Docker engine runs, one is installed and started; without one these tests fail.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test waits, sleeps and spawns; a failure is a panic"
)]

mod arm64;
#[path = "../common/mod.rs"]
mod common;
mod docker;
mod ends;
mod example;
mod health;
#[path = "../chart/helm.rs"]
mod helm;
mod image;
mod kube;
mod resources;
mod signals;
mod terminal;
mod uml;
