//! Where a path leads, step by step, and so where to look for a change of it: at every symlink on the way, at the end of the way, and
//! where the way ends too soon.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Component, Path, PathBuf};

/// Most symlinks on the way to a path, as for the kernel (`path_resolution(7)`).
const MOST_SYMLINKS: usize = 40;

/// Why a place is watched, and for which of the paths.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interest {
    /// What of it.
    pub what: What,
    /// The path's index.
    pub path: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// A folder on the way: whether it is moved or removed.
    Itself,
    /// And what it has by this name, or will have.
    Entry(OsString),
    /// The path's end: the content of a file, every entry of a folder.
    Everything,
}

/// Where to look, and for what.
pub type Plan = BTreeMap<PathBuf, BTreeSet<Interest>>;

/// What has to be watched for these paths, as things are now.
pub fn plan(paths: &[PathBuf]) -> Plan {
    let mut plan = Plan::new();
    for (index, path) in paths.iter().enumerate() {
        walk(path, |place, what| {
            plan.entry(place.to_owned()).or_default().insert(Interest { what, path: index });
        });
    }
    plan
}

/// Goes to a path step by step, as the kernel does, and tells of every place that could lead elsewhere another time.
fn walk(path: &Path, mut tell: impl FnMut(&Path, What)) {
    let mut here = PathBuf::from("/");
    let mut rest = steps(path);
    let mut symlinks = 0;
    while let Some(name) = rest.pop() {
        if name == ".." {
            // No step before was a symlink's.
            here.pop();
            continue;
        }
        let next = here.join(&name);
        match fs::read_link(&next) {
            Ok(target) => {
                tell(&here, What::Entry(name));
                symlinks += 1;
                if symlinks > MOST_SYMLINKS {
                    return;
                }
                if target.is_absolute() {
                    here = PathBuf::from("/");
                }
                rest.extend(steps(&target));
            }
            // EINVAL: it is there, and no symlink.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                tell(&here, if rest.is_empty() { What::Entry(name) } else { What::Itself });
                here = next;
            }
            // Not there yet.
            Err(_) => return tell(&here, What::Entry(name)),
        }
    }
    tell(&here, What::Everything);
}

/// The steps of a path, the last one first.
fn steps(path: &Path) -> Vec<OsString> {
    let step = |component: Component<'_>| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsStr::new("..").to_owned()),
        Component::Prefix(_) | Component::RootDir | Component::CurDir => None,
    };
    path.components().rev().filter_map(step).collect()
}
