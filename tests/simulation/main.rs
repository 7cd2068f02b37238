//! A fake kernel under the real supervisor: can any order of events break a law?
//!
//! Random interleavings by seed, many faults at once; and every order of a few events for two slots. The laws are in
//! `laws.rs`, and are checked after every step. A seed that found something is kept in `seeds.txt`.

#![allow(clippy::unwrap_used, reason = "a test that unwraps in vain has failed")]

mod cluster;
mod exhaustive;
mod laws;
mod random;
mod world;
