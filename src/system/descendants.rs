//! Finds what our workers left behind, and whose a process is: who lives below us, from /proc.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::ids::Pid;

/// A process, as `/proc/PID/stat` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its number.
    pub pid: Pid,
    /// The first 15 bytes of its program's name.
    pub name: String,
    parent: i32,
    is_zombie: bool,
}

/// Most ancestors that are looked up.
const DEEPEST: usize = 32;

/// Whether /proc is there, and shows the name space in which we are `root`. An empty directory can be read as well, and the
/// pids of another name space would name the wrong processes.
pub fn are_visible(root: u32) -> bool {
    fs::read_link("/proc/self").is_ok_and(|link| link.to_str() == Some(root.to_string().as_str()))
}

/// A process, its parent, and so on upwards to `root`, ourselves, who is left out. Ends sooner where a process is gone.
pub fn lineage(pid: Pid, root: u32) -> Vec<Pid> {
    let parent = |child: &Pid| {
        let parent = find(Path::new("/proc").join(child.to_string()))?.parent;
        Pid::new(parent).filter(|_| parent as u32 != root)
    };
    std::iter::successors(Some(pid), parent).take(DEEPEST).collect()
}

/// All living descendants of `root`, ourselves; `None` when /proc does not show them.
pub fn of(root: u32) -> Option<Vec<Found>> {
    if !are_visible(root) {
        return None;
    }
    let mut by_parent: HashMap<i32, Vec<Found>> = HashMap::new();
    for entry in fs::read_dir("/proc").ok()?.flatten() {
        let is_process =
            entry.file_name().to_str().is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
        if !is_process {
            continue;
        }
        if let Some(found) = find(entry.path()) {
            by_parent.entry(found.parent).or_default().push(found);
        }
    }
    let mut descendants = Vec::new();
    let mut parents = vec![root as i32];
    while let Some(parent) = parents.pop() {
        // Taking each family once also ends a circle that a recycled pid could draw.
        for found in by_parent.remove(&parent).unwrap_or_default() {
            parents.push(found.pid.raw());
            if !found.is_zombie {
                descendants.push(found);
            }
        }
    }
    Some(descendants)
}

/// The process of a folder of /proc. It may be gone by now.
fn find(folder: PathBuf) -> Option<Found> {
    parse(&String::from_utf8_lossy(&fs::read(folder.join("stat")).ok()?))
}

/// `pid (name) state ppid …` (`proc_pid_stat(5)`). The name may hold spaces and parentheses: it ends at the last one.
fn parse(stat: &str) -> Option<Found> {
    let (pid, rest) = stat.split_once(" (")?;
    let (name, rest) = rest.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    Some(Found {
        pid: Pid::new(pid.parse().ok()?)?,
        name: name.to_owned(),
        parent,
        is_zombie: matches!(state, "Z" | "X"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_confuse() {
        let found =
            parse("42 (a) S 1 (b)) S 7 42 42 0 -1").map(|found| (found.pid.raw(), found.name, found.parent));
        assert_eq!(found, Some((42, "a) S 1 (b)".to_owned(), 7)));
        assert!(parse("42 (gone) Z 7 1").is_some_and(|found| found.is_zombie));
        for broken in ["", "42", "42 (x", "42 (x) S", "x (x) S 1", "0 (x) S 1"] {
            assert_eq!(parse(broken), None, "{broken}");
        }
    }

    #[test]
    fn a_child_of_ours_is_found() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let found = of(std::process::id()).unwrap();
        assert!(found.iter().any(|found| found.pid.raw() == child.id() as i32), "{found:?}");
        let pid = Pid::new(child.id() as i32).unwrap();
        assert_eq!(lineage(pid, std::process::id()), [pid]);
        child.kill().unwrap();
        // The reaper of this test process is this test.
        #[allow(clippy::disallowed_methods)]
        child.wait().unwrap();
        assert_eq!(lineage(pid, std::process::id()), [pid], "who is gone is all that is known");
    }
}
