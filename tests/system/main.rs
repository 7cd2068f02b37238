//! The real binary as a real PID 1: every test starts it in fresh namespaces, looks at what it does, and ends it.
//!
//! Needs root, Linux, util-linux (`unshare`, `setpriv`, `setsid`), `strace` and Python 3. A test that cannot have one of
//! them fails; none is skipped.

#![allow(clippy::disallowed_methods, reason = "tests stand outside: they wait, sleep and run threads")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod changes;
mod channel;
mod client;
mod control;
mod demands;
mod exit_codes;
mod harness;
mod hostile;
mod http;
mod kernel;
mod logging;
mod notify;
mod privileges;
mod readiness;
mod reaping;
mod resize;
mod restarts;
mod reuseport;
mod settings;
mod signals;
mod sockets;
mod steering;
mod stopping;
mod terminal;
mod workers;
