//! What the container really has: cores by affinity, cpuset and quota, memory, and whether it ran out of it.
//!
//! Reads files below a root that tests can make up. Knows cgroup v1 and v2, mounted as a namespace of its own or as
//! part of the host's tree, and looks at the whole path upwards: the smallest quota counts.

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;

use crate::config::Cores;

/// The cores that we may run on, by number. Affinity has the cpuset in it (`sched_setaffinity(2)`).
pub fn allowed_cores() -> Vec<usize> {
    match sched_getaffinity(Pid::from_raw(0)) {
        Ok(set) => (0..CpuSet::count()).filter(|core| set.is_set(*core).unwrap_or(false)).collect(),
        // More than 1024 cores do not fit; the library's count does.
        Err(_) => (0..std::thread::available_parallelism().map_or(1, usize::from)).collect(),
    }
}

/// How many cores a pool has, and why.
pub fn cores(root: &Path, allowed: usize) -> Cores {
    Cgroups::find(root).cores(allowed)
}

/// The container's memory limit, or else what the machine has, in bytes.
pub fn memory(root: &Path) -> u64 {
    Cgroups::find(root).memory_limit().into_iter().chain(installed_memory(root)).min().unwrap_or(u64::MAX)
}

/// `MemTotal:       16384 kB` (`proc_meminfo(5)`).
fn installed_memory(root: &Path) -> Option<u64> {
    let lines = fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let total = lines.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    Some(total.trim().trim_end_matches(" kB").parse::<u64>().ok()? * 1024)
}

/// The groups that we are part of, by what they limit. They are looked for once: nobody moves a container's init.
#[derive(Default)]
pub struct Cgroups {
    cpu: Vec<Group>,
    memory: Vec<Group>,
}

/// A hierarchy of which we are a part.
struct Group {
    /// Where its top is mounted.
    mount: PathBuf,
    /// Our own directory, below or at `mount`.
    own: PathBuf,
    is_v2: bool,
}

impl Cgroups {
    /// Looks for them.
    pub fn find(root: &Path) -> Self {
        let read = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
        let (membership, mounts) = (read("proc/self/cgroup"), read("proc/self/mountinfo"));
        let groups = |controller| groups(root, &membership, &mounts, controller);
        Self { cpu: groups("cpu"), memory: groups("memory") }
    }

    /// How many cores a pool has, and why.
    pub fn cores(&self, allowed: usize) -> Cores {
        let count = allowed.clamp(1, usize::from(u16::MAX)) as u16;
        let all = if count == 1 { "1 core".to_owned() } else { format!("{count} cores") };
        // The smallest quota on the way up, in thousandths of a core.
        match self.cpu.iter().flat_map(|group| group.path().filter_map(|path| group.quota(path))).min() {
            Some(quota) if quota < u64::from(count) * 1000 => {
                let why =
                    format!("quota of {}.{:02} cores, of {count} allowed", quota / 1000, quota % 1000 / 10);
                Cores { count: quota.div_ceil(1000).max(1) as u16, why }
            }
            Some(_) | None => Cores { count, why: format!("{all} allowed") },
        }
    }

    /// The smallest limit of memory on the way up, in bytes.
    pub fn memory_limit(&self) -> Option<u64> {
        let limits = |group: &Group| {
            let name = if group.is_v2 { "memory.max" } else { "memory.limit_in_bytes" };
            // Without a limit v2 says `max`, which is no number, and v1 one beyond every machine.
            group.path().filter_map(|path| number(&path.join(name))).filter(|limit| *limit < 1 << 62).min()
        };
        self.memory.iter().filter_map(limits).min()
    }

    /// What our group has in memory, in bytes, but for the files that the kernel drops first when it needs room: what Docker and
    /// Kubernetes show.
    pub fn memory_used(&self) -> Option<u64> {
        let used = |group: &Group| {
            let (name, droppable) = if group.is_v2 {
                ("memory.current", "inactive_file")
            } else {
                ("memory.usage_in_bytes", "total_inactive_file")
            };
            let used: u64 = number(&group.own.join(name))?;
            Some(used.saturating_sub(line_of(&group.own.join("memory.stat"), droppable).unwrap_or(0)))
        };
        self.memory.iter().find_map(used)
    }

    /// How many processes of our group the kernel killed for want of memory.
    pub fn oom_kills(&self) -> Option<u64> {
        let kills = |group: &Group| {
            let name = if group.is_v2 { "memory.events" } else { "memory.oom_control" };
            line_of(&group.own.join(name), "oom_kill")
        };
        // One hierarchy may be mounted twice, and only one of them has the controller.
        self.memory.iter().filter_map(kills).max()
    }

    /// How long we were kept from running by the quota that did so most.
    pub fn throttled(&self) -> Option<Duration> {
        let throttled = |group: &Group, path: &Path| {
            let stat = path.join("cpu.stat");
            if group.is_v2 {
                line_of(&stat, "throttled_usec").map(Duration::from_micros)
            } else {
                line_of(&stat, "throttled_time").map(Duration::from_nanos)
            }
        };
        self.cpu.iter().flat_map(|group| group.path().filter_map(|path| throttled(group, path))).max()
    }

    /// Whether the kernel kills all of a group when it runs out of memory.
    pub fn dies_together(&self) -> bool {
        let together = |path: &Path| number(&path.join("memory.oom.group")) == Some(1);
        self.memory.iter().any(|group| group.path().any(together))
    }
}

impl Group {
    /// Our directory first, then upwards to the mount.
    fn path(&self) -> impl Iterator<Item = &Path> {
        self.own.ancestors().take_while(|directory| directory.starts_with(&self.mount))
    }

    /// In thousandths of a core.
    fn quota(&self, directory: &Path) -> Option<u64> {
        let (quota, period): (i64, i64) = if self.is_v2 {
            let line = fs::read_to_string(directory.join("cpu.max")).ok()?;
            let (quota, period) = line.trim().split_once(' ')?;
            (quota.parse().ok()?, period.parse().ok()?)
        } else {
            (number(&directory.join("cpu.cfs_quota_us"))?, number(&directory.join("cpu.cfs_period_us"))?)
        };
        // "max" in v2 is no number, and v1 says -1.
        if quota <= 0 || period <= 0 {
            None
        } else {
            Some((quota as u64).saturating_mul(1000).div_ceil(period as u64))
        }
    }
}

/// A file that is one number.
fn number<N: FromStr>(path: &Path) -> Option<N> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The number of the line `NAME NUMBER` (kernel: Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/memory.rst).
fn line_of(path: &Path, name: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

/// The hierarchies that have the controller: at most one of v1, and the one of v2.
fn groups(root: &Path, membership: &str, mounts: &str, controller: &str) -> Vec<Group> {
    let mut groups = Vec::new();
    for line in membership.lines() {
        // hierarchy-ID:controller-list:path (cgroups(7)); v2 has an empty list.
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        let is_v2 = controllers.is_empty();
        if is_v2 || controllers.split(',').any(|name| name == controller) {
            let mounted =
                mounts.lines().filter_map(|line| mount(line, if is_v2 { None } else { Some(controller) }));
            groups.extend(mounted.map(|(top, point)| group(root, path, top, point, is_v2)));
        }
    }
    groups
}

/// The root and the mount point of a line of mountinfo, if it is the hierarchy that we look for
/// (`proc_pid_mountinfo(5)`): `36 35 98:0 /root /point options … - type source options`.
fn mount<'a>(line: &'a str, controller: Option<&str>) -> Option<(&'a str, &'a str)> {
    let (front, back) = line.split_once(" - ")?;
    let mut back = back.split(' ');
    let kind = back.next()?;
    let options = back.nth(1).unwrap_or_default();
    let fits = match controller {
        None => kind == "cgroup2",
        Some(controller) => kind == "cgroup" && options.split(',').any(|option| option == controller),
    };
    let mut front = front.split(' ').skip(3);
    fits.then_some((front.next()?, front.next()?))
}

fn group(root: &Path, path: &str, top: &str, point: &str, is_v2: bool) -> Group {
    let mount = root.join(point.trim_start_matches('/'));
    // A container without a cgroup namespace sees the host's path, of which only the part below `top` is mounted.
    let below = Path::new(path).strip_prefix(top).unwrap_or(Path::new(""));
    let own = mount.join(below.strip_prefix("/").unwrap_or(below));
    let own = if own.is_dir() && !path.contains("..") { own } else { mount.clone() };
    Group { mount, own, is_v2 }
}

/// Tells whether the kernel killed for want of memory.
#[derive(Default)]
pub struct OutOfMemory {
    /// As many of the kernel's kills have a death that was explained by them.
    explained: u64,
}

impl OutOfMemory {
    /// Remembers how often it had happened before us.
    pub fn watch(groups: &Cgroups) -> Self {
        Self { explained: groups.oom_kills().unwrap_or(0) }
    }

    /// Whether there is a kill that can explain one more death. Workers that run out of memory together are often found
    /// dead together: each has a kill of its own.
    pub fn happened(&mut self, groups: &Cgroups) -> bool {
        let happened = groups.oom_kills().is_some_and(|kills| kills > self.explained);
        self.explained += u64::from(happened);
        happened
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A made-up root: files by path.
    fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    const V2: &str = "30 24 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
    const V1: &str = "31 24 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n";

    fn count(files: &[(&str, &str)]) -> u16 {
        cores(root(files).path(), 8).count
    }

    #[test]
    fn quotas_are_rounded_up_and_never_zero() {
        for (max, expected) in [
            ("150000 100000", 2),
            ("100000 100000", 1),
            ("5000 100000", 1),
            ("max 100000", 8),
            ("1600000 100000", 8),
        ] {
            let files =
                [("proc/self/cgroup", "0::/\n"), ("proc/self/mountinfo", V2), ("sys/fs/cgroup/cpu.max", max)];
            assert_eq!(count(&files), expected, "{max}");
        }
    }

    #[test]
    fn a_quota_that_binds_is_the_reason_even_if_rounding_hides_it() {
        let files = [
            ("proc/self/cgroup", "0::/\n"),
            ("proc/self/mountinfo", V2),
            ("sys/fs/cgroup/cpu.max", "150000 100000"),
        ];
        let root = root(&files);
        let expected = Cores { count: 2, why: "quota of 1.50 cores, of 2 allowed".to_owned() };
        assert_eq!(cores(root.path(), 2), expected);
        assert_eq!(cores(root.path(), 1).why, "1 core allowed");
    }

    #[test]
    fn the_smallest_quota_on_the_way_up_counts() {
        let files = [
            ("proc/self/cgroup", "0::/pod/app\n"),
            ("proc/self/mountinfo", V2),
            ("sys/fs/cgroup/pod/cpu.max", "300000 100000"),
            ("sys/fs/cgroup/pod/app/cpu.max", "max 100000"),
        ];
        assert_eq!(count(&files), 3);
    }

    #[test]
    fn v1_in_the_hosts_tree_is_found_below_what_is_mounted() {
        let mounted = V1.replace(" / /sys", " /docker/1 /sys");
        let files = [
            ("proc/self/cgroup", "4:cpu,cpuacct:/docker/1\n0::/docker/1\n"),
            ("proc/self/mountinfo", mounted.as_str()),
            ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "250000\n"),
            ("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"),
        ];
        assert_eq!(count(&files), 3);
        let none = files.map(|(path, text)| (path, if path.ends_with("quota_us") { "-1\n" } else { text }));
        assert_eq!(count(&none), 8);
    }

    #[test]
    fn a_system_without_cgroups_has_its_affinity() {
        assert_eq!(count(&[]), 8);
        assert_eq!(
            count(&[("proc/self/cgroup", "rubbish\n::\n0::/../x\n"), ("proc/self/mountinfo", "- - -\n")]),
            8
        );
        assert_eq!(cores(Path::new("/nonexistent"), 0).count, 1);
    }

    #[test]
    fn every_kill_for_memory_explains_one_death() {
        let files = [
            ("proc/self/cgroup", "0::/\n"),
            ("proc/self/mountinfo", V2),
            ("sys/fs/cgroup/memory.events", "low 0\noom 1\noom_kill 1\n"),
        ];
        let root = root(&files);
        let groups = Cgroups::find(root.path());
        let mut watch = OutOfMemory::watch(&groups);
        assert!(!watch.happened(&groups));
        fs::write(root.path().join("sys/fs/cgroup/memory.events"), "oom 2\noom_kill 3\noom_group_kill 0\n")
            .unwrap();
        assert!(watch.happened(&groups));
        assert!(watch.happened(&groups), "two were killed before the first was found");
        assert!(!watch.happened(&groups));
    }
}
