//! The chart: what helm makes of all kinds of values, held to Kubernetes' schemas, and to the program that it deploys.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test waits, sleeps and spawns; a failure is a panic"
)]

#[path = "../common/mod.rs"]
mod common;
mod helm;
mod mistakes;
mod pod;
mod valid;
