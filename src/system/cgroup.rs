//! What the container really has: cores by affinity, cpuset and quota, and whether it ran out of memory.
//!
//! Reads files below a root that tests can make up. Knows cgroup v1 and v2, mounted as a namespace of its own or as
//! part of the host's tree, and looks at the whole path upwards: the smallest quota counts.

use std::fs;
use std::path::{Path, PathBuf};

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
    let count = allowed.clamp(1, usize::from(u16::MAX)) as u16;
    let all = if count == 1 { "1 core".to_owned() } else { format!("{count} cores") };
    match quota_millicores(root) {
        Some(quota) if quota < u64::from(count) * 1000 => {
            let why = format!("quota of {}.{:02} cores, of {count} allowed", quota / 1000, quota % 1000 / 10);
            Cores { count: quota.div_ceil(1000).max(1) as u16, why }
        }
        Some(_) | None => Cores { count, why: format!("{all} allowed") },
    }
}

/// A hierarchy of which we are a part.
struct Group {
    /// Where its top is mounted.
    mount: PathBuf,
    /// Our own directory, below or at `mount`.
    own: PathBuf,
    is_v2: bool,
}

impl Group {
    /// Our directory first, then upwards to the mount.
    fn path(&self) -> impl Iterator<Item = &Path> {
        self.own.ancestors().take_while(|directory| directory.starts_with(&self.mount))
    }
}

/// The hierarchies that have the controller: at most one of v1, and the one of v2.
fn groups(root: &Path, controller: &str) -> Vec<Group> {
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
    let membership = read("proc/self/cgroup");
    let mounts = read("proc/self/mountinfo");
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

/// The smallest quota on the way up, in thousandths of a core.
fn quota_millicores(root: &Path) -> Option<u64> {
    let groups = groups(root, "cpu");
    groups
        .iter()
        .flat_map(|group| group.path().filter_map(|directory| quota_of(directory, group.is_v2)))
        .min()
}

fn quota_of(directory: &Path, is_v2: bool) -> Option<u64> {
    let number = |name: &str| fs::read_to_string(directory.join(name)).ok()?.trim().parse::<i64>().ok();
    let (quota, period) = if is_v2 {
        let line = fs::read_to_string(directory.join("cpu.max")).ok()?;
        let (quota, period) = line.trim().split_once(' ')?;
        (quota.parse().ok()?, period.parse().ok()?)
    } else {
        (number("cpu.cfs_quota_us")?, number("cpu.cfs_period_us")?)
    };
    // "max" in v2 is no number, and v1 says -1.
    if quota <= 0 || period <= 0 {
        None
    } else {
        Some((quota as u64).saturating_mul(1000).div_ceil(period as u64))
    }
}

/// The container's memory limit, or else what the machine has, in bytes.
pub fn memory(root: &Path) -> u64 {
    let limits = groups(root, "memory");
    let limits = limits.iter().flat_map(|group| {
        let name = if group.is_v2 { "memory.max" } else { "memory.limit_in_bytes" };
        group
            .path()
            .filter_map(move |directory| fs::read_to_string(directory.join(name)).ok()?.trim().parse().ok())
    });
    // Without a limit v1 says a number beyond every machine, and v2 `max`, which is none.
    limits.chain(installed_memory(root)).min().unwrap_or(u64::MAX)
}

/// `MemTotal:       16384 kB` (`proc_meminfo(5)`).
fn installed_memory(root: &Path) -> Option<u64> {
    let lines = fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let total = lines.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    Some(total.trim().trim_end_matches(" kB").parse::<u64>().ok()? * 1024)
}

/// Tells whether the kernel killed for want of memory.
#[derive(Default)]
pub struct OutOfMemory {
    files: Vec<PathBuf>,
    /// As many of the kernel's kills have a death that was explained by them.
    explained: u64,
}

impl OutOfMemory {
    /// Remembers how often it had happened before us.
    pub fn watch(root: &Path) -> Self {
        let file =
            |group: Group| group.own.join(if group.is_v2 { "memory.events" } else { "memory.oom_control" });
        let mut watch = Self { files: groups(root, "memory").into_iter().map(file).collect(), explained: 0 };
        watch.explained = watch.count();
        watch
    }

    /// Whether there is a kill that can explain one more death. Workers that run out of memory together are often found
    /// dead together: each has a kill of its own.
    pub fn happened(&mut self) -> bool {
        let happened = self.count() > self.explained;
        self.explained += u64::from(happened);
        happened
    }

    /// Both files have a line `oom_kill N` (kernel: Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/memory.rst).
    fn count(&self) -> u64 {
        let lines = |file: &PathBuf| fs::read_to_string(file).unwrap_or_default();
        let kills = |text: String| {
            text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse::<u64>().ok())
        };
        // One hierarchy may be mounted twice, and only one of them has the controller.
        self.files.iter().filter_map(|file| kills(lines(file))).max().unwrap_or(0)
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
        let mut watch = OutOfMemory::watch(root.path());
        assert!(!watch.happened());
        fs::write(root.path().join("sys/fs/cgroup/memory.events"), "oom 2\noom_kill 3\noom_group_kill 0\n")
            .unwrap();
        assert!(watch.happened());
        assert!(watch.happened(), "two were killed before the first was found");
        assert!(!watch.happened());
    }
}
