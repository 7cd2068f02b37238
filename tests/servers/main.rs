//! Real servers, unmodified, behind sockets that PID 1 owns, and clients that ask all the time: whatever happens to the workers
//! in the whole life of a pool, who asks is answered.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test waits, sleeps and spawns; a failure is a panic"
)]

#[path = "../common/mod.rs"]
mod common;
mod killing;
mod limits;
#[path = "../common/load/mod.rs"]
mod load;
mod nginx;
mod pool;
mod programs;
mod reloading;
mod scaling;
mod stopping;
mod versions;
