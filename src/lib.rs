#![doc = include_str!("ARCHITECTURE.md")]

pub mod cluster;
pub mod config;
pub mod ctl;
pub mod exit;
pub mod ids;
pub mod observe;
pub mod signal;
pub mod supervisor;
pub mod system;
