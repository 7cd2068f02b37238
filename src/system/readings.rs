//! What a process and the container use, as the kernel shows it: one reading each time that somebody asks.
//!
//! Everything may be missing: a process that is gone, another user's, a kernel without the file, a container without
//! `/proc`. Decides nothing, and remembers nothing.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::cgroup::{self, Cgroups};
use super::descendants;
use crate::ids::Pid;
use crate::observe::figures::{Container, Usage};

/// What a process uses.
pub fn usage(pid: Pid) -> Usage {
    usage_below(Path::new("/"), pid)
}

/// Bytes that a process has in memory.
pub fn memory(pid: Pid) -> Option<u64> {
    memory_in(&directory(Path::new("/"), pid)?)
}

/// Bytes that workers have in memory, each with all that it has started: the process that we know may be no more than the parent of
/// those that serve.
pub fn memory_of(workers: &[Pid]) -> Vec<(Pid, u64)> {
    if workers.is_empty() {
        return Vec::new();
    }
    let root = std::process::id();
    let mut sums = BTreeMap::new();
    for process in descendants::of(root).unwrap_or_default() {
        let lineage = descendants::lineage(process.pid, root);
        let worker = lineage.into_iter().find(|ancestor| workers.contains(ancestor));
        if let Some((worker, bytes)) = worker.zip(memory(process.pid)) {
            *sums.entry(worker).or_default() += bytes;
        }
    }
    sums.into_iter().collect()
}

/// What the container uses.
pub fn container(groups: &Cgroups) -> Container {
    Container {
        cores: groups.cores(cgroup::allowed_cores().len()).count,
        memory_limit: groups.memory_limit(),
        memory_used: groups.memory_used(),
        oom_kills: groups.oom_kills(),
        throttled: groups.throttled(),
    }
}

fn usage_below(root: &Path, pid: Pid) -> Usage {
    let Some(directory) = directory(root, pid) else { return Usage::default() };
    Usage { memory: memory_in(&directory), cpu: cpu_in(&directory), open_files: open_files_in(&directory) }
}

/// Where a process is shown. A `/proc` of another name space would show somebody else's.
fn directory(root: &Path, pid: Pid) -> Option<PathBuf> {
    let proc = root.join("proc");
    let is_ours = fs::read_link(proc.join("self")).ok()?.to_str()? == std::process::id().to_string();
    is_ours.then(|| proc.join(pid.to_string()))
}

/// PSS needs the right to trace the process, which a process of another user denies us without CAP_SYS_PTRACE.
fn memory_in(directory: &Path) -> Option<u64> {
    kilobytes(&directory.join("smaps_rollup"), "Pss:")
        .or_else(|| kilobytes(&directory.join("status"), "VmRSS:"))
}

/// `Pss:                 385 kB` (`proc_pid_smaps(5)`, `proc_pid_status(5)`).
fn kilobytes(path: &Path, name: &str) -> Option<u64> {
    let mut buffer = [0; 4096];
    // A process is called as it likes, in UTF-8 or not.
    let mut lines = read(path, &mut buffer)?.split(|byte| *byte == b'\n');
    let value = str::from_utf8(lines.find_map(|line| line.strip_prefix(name.as_bytes()))?).ok()?;
    Some(value.trim().trim_end_matches(" kB").parse::<u64>().ok()? * 1024)
}

/// User and system time are the 14th and 15th field of `stat`, in hundredths of a second whatever the kernel counts in
/// (`proc_pid_stat(5)`). The second is a name, which may hold spaces and parentheses: it ends at the last one.
fn cpu_in(directory: &Path) -> Option<Duration> {
    let mut buffer = [0; 1024];
    let stat = read(&directory.join("stat"), &mut buffer)?;
    let name_ends = stat.iter().rposition(|byte| *byte == b')')?;
    let mut times = str::from_utf8(&stat[name_ends..]).ok()?.split(' ').skip(12);
    let mut ticks = || times.next()?.parse::<u64>().ok();
    Some(Duration::from_millis((ticks()? + ticks()?) * 10))
}

/// Since Linux 6.2 the directory's size is the number of descriptors, and we need no right to look into it.
fn open_files_in(directory: &Path) -> Option<u32> {
    let path = directory.join("fd");
    match fs::metadata(&path).ok()?.len() {
        0 => Some(fs::read_dir(&path).ok()?.take(MOST_FILES).count() as u32),
        count => u32::try_from(count).ok(),
    }
}

/// Most descriptors that are counted one by one.
const MOST_FILES: usize = 65_536;

/// The file's beginning, as far as there is room.
fn read<'a>(path: &Path, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
    let mut file = File::open(path).ok()?;
    let mut length = 0;
    loop {
        match file.read(&mut buffer[length..]).ok()? {
            0 => return Some(&buffer[..length]),
            count => length += count,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const STAT: &[u8] = b"7 (a) S 1 (\xffb)) S 1 7 7 0 -1 4194560 1 0 0 0 250 31 9 9 20 0 1 0 99 1 1 1\n";

    /// A made-up `/proc` that shows us and process 7.
    fn root(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let process = root.path().join("proc/7");
        fs::create_dir_all(&process).unwrap();
        symlink(std::process::id().to_string(), root.path().join("proc/self")).unwrap();
        for (name, text) in files {
            fs::write(process.join(name), text).unwrap();
        }
        root
    }

    fn seven(root: &Path) -> Usage {
        usage_below(root, Pid::new(7).unwrap())
    }

    #[test]
    fn a_process_shows_its_share_of_memory_and_its_time() {
        let rollup = b"1-2 ---p 0 00:00 0 [rollup]\nRss:      884 kB\nPss:      385 kB\nPss_Dirty:  1 kB\n";
        let status = b"Name:\t\xffVmRSS:\t1 kB\nVmRSS:\t     884 kB\n";
        let root = root(&[("smaps_rollup", rollup), ("status", status), ("stat", STAT)]);
        let usage = seven(root.path());
        assert_eq!((usage.memory, usage.cpu), (Some(385 * 1024), Some(Duration::from_millis(2810))));
        fs::remove_file(root.path().join("proc/7/smaps_rollup")).unwrap();
        assert_eq!(
            seven(root.path()).memory,
            Some(884 * 1024),
            "all that it sees, where its share is a secret"
        );
    }

    #[test]
    fn what_is_not_there_or_rubbish_is_nothing() {
        for text in [b"" as &[u8], b")", b"7 (x) S 1", b"Pss: much kB", b"Pss:", b"\xff\xfe"] {
            let root = root(&[("smaps_rollup", text), ("status", text), ("stat", text)]);
            assert_eq!(seven(root.path()), Usage::default(), "{text:?}");
        }
        assert_eq!(seven(root(&[]).path()), Usage::default());
        assert_eq!(seven(Path::new("/nonexistent")), Usage::default());
    }

    #[test]
    fn somebody_elses_processes_are_not_ours() {
        let root = root(&[("stat", STAT)]);
        let link = root.path().join("proc/self");
        fs::remove_file(&link).unwrap();
        symlink("1234567", &link).unwrap();
        assert_eq!(seven(root.path()), Usage::default());
    }

    #[test]
    fn we_can_be_read_ourselves() {
        let pid = Pid::new(std::process::id() as i32).unwrap();
        let before = usage(pid).open_files.unwrap();
        let files: Vec<File> = (0..10).map(|_| File::open("/proc/self/stat").unwrap()).collect();
        let usage = usage(pid);
        // Other tests of this process open and close files meanwhile.
        assert!(usage.open_files.unwrap() + 10 > before, "{before} {usage:?}");
        assert_eq!(files.len(), 10);
        assert!(usage.memory.is_some_and(|bytes| bytes > 100 * 1024) && usage.cpu.is_some(), "{usage:?}");
        assert!(memory(pid).is_some());
    }

    const CGROUP: (&str, &str) = ("proc/self/cgroup", "0::/pod/app\n");
    const MOUNTS: (&str, &str) =
        ("proc/self/mountinfo", "30 24 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");

    fn container_of(files: &[(&str, &str)]) -> (Container, bool) {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let groups = Cgroups::find(root.path());
        (container(&groups), groups.dies_together())
    }

    #[test]
    fn a_container_of_cgroup_v2_is_read_from_its_own_group_and_those_above() {
        let (container, dies_together) = container_of(&[
            CGROUP,
            MOUNTS,
            ("sys/fs/cgroup/pod/cpu.max", "10000 100000\n"),
            ("sys/fs/cgroup/pod/cpu.stat", "nr_throttled 2\nthrottled_usec 1500\n"),
            ("sys/fs/cgroup/pod/memory.max", "1000000\n"),
            ("sys/fs/cgroup/pod/memory.oom.group", "1\n"),
            ("sys/fs/cgroup/pod/app/cpu.stat", "nr_throttled 2\nthrottled_usec 20\n"),
            ("sys/fs/cgroup/pod/app/memory.max", "max\n"),
            ("sys/fs/cgroup/pod/app/memory.current", "5000\n"),
            ("sys/fs/cgroup/pod/app/memory.stat", "anon 1\ninactive_file 2000\n"),
            ("sys/fs/cgroup/pod/app/memory.events", "oom 9\noom_kill 3\noom_group_kill 1\n"),
        ]);
        let expected = Container {
            cores: 1,
            memory_limit: Some(1_000_000),
            memory_used: Some(3000),
            oom_kills: Some(3),
            throttled: Some(Duration::from_micros(1500)),
        };
        assert_eq!((container, dies_together), (expected, true));
    }

    #[test]
    fn a_container_of_cgroup_v1_as_well() {
        let mounts = "31 24 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n\
                      32 24 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
        let (container, dies_together) = container_of(&[
            ("proc/self/cgroup", "4:cpu,cpuacct:/\n5:memory:/\n"),
            ("proc/self/mountinfo", mounts),
            ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "100000\n"),
            ("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"),
            ("sys/fs/cgroup/cpu/cpu.stat", "nr_periods 1\nthrottled_time 2500\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("sys/fs/cgroup/memory/memory.usage_in_bytes", "5000\n"),
            ("sys/fs/cgroup/memory/memory.stat", "inactive_file 1\ntotal_inactive_file 500\n"),
            ("sys/fs/cgroup/memory/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"),
        ]);
        let expected = Container {
            cores: 1,
            memory_limit: None,
            memory_used: Some(4500),
            oom_kills: Some(2),
            throttled: Some(Duration::from_nanos(2500)),
        };
        assert_eq!((container, dies_together), (expected, false));
    }

    #[test]
    fn a_system_without_cgroups_shows_its_cores() {
        let (container, _) = container_of(&[]);
        assert!(container.cores >= 1);
        assert_eq!((container.memory_limit, container.memory_used, container.oom_kills), (None, None, None));
    }
}
