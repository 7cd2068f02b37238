//! Stories in virtual time: does each go as told?

#![allow(clippy::unwrap_used, reason = "a test that unwraps in vain has failed")]

mod asking;
mod backoff;
mod balancer;
mod closing;
mod cluster;
mod conversation;
mod leaving;
mod lull;
mod mail;
mod primary;
mod readiness;
mod requests;
mod rollout;
mod scaling;
mod shutdown;
mod steering;
mod story;
mod terminal;
mod transcript;
mod worker;
