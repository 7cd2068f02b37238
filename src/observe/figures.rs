//! What is shown beside the [`Status`]: readings of the system, and what a run is about. Values only; the system fills them in.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::cluster;
use crate::config::Mode;
use crate::ids::Pid;
use crate::supervisor::status::Status;

/// What a process uses. What cannot be read is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes in memory: its share (PSS), or all that it sees (RSS) where we may not read that.
    pub memory: Option<u64>,
    /// Time on a core, all its threads together.
    pub cpu: Option<Duration>,
    /// Open descriptors.
    pub open_files: Option<u32>,
}

/// What the container uses and may use. What is not limited or cannot be read is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Container {
    /// Cores, by affinity, cpuset and quota.
    pub cores: u16,
    /// Bytes.
    pub memory_limit: Option<u64>,
    /// Bytes, without the files that the kernel would drop first.
    pub memory_used: Option<u64>,
    /// Processes that the kernel killed for want of memory.
    pub oom_kills: Option<u64>,
    /// How long the quota kept us from running.
    pub throttled: Option<Duration>,
}

/// A socket that workers have their connections from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Its name, or else its address.
    pub name: String,
    /// Where it is.
    pub address: String,
    /// Connections that wait to be accepted, where the kernel tells.
    pub waiting: Option<u32>,
}

/// How connections are handed to the workers of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Handoffs {
    /// What was counted since we began.
    pub passed: cluster::figures::Figures,
    /// Accepted, and not taken yet.
    pub pending: usize,
}

/// All readings of one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    /// What each worker's process uses.
    pub usage: BTreeMap<Pid, Usage>,
    /// Cores that each used since the readings before.
    pub load: BTreeMap<Pid, f64>,
    /// What all of them may use.
    pub container: Container,
    /// The sockets.
    pub listeners: Vec<Listener>,
    /// Mode `cluster`: the connections.
    pub handoffs: Option<Handoffs>,
}

/// What a run is about: it does not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct About {
    /// Our own pid.
    pub pid: u32,
    /// How workers get their connections.
    pub mode: Mode,
}

/// Everything that can be shown of one moment.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// What the run is about.
    pub about: About,
    /// How long it has been going on.
    pub uptime: Duration,
    /// What the supervisor knows.
    pub status: &'a Status,
    /// What the system reads.
    pub figures: &'a Figures,
}
