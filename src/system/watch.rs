//! Watches the paths of `RELOAD_ON_CHANGE`: files, folders, what does not exist yet, and every symlink on the way, as a ConfigMap's
//! `..data` is one.
//!
//! A burst of changes is one: it is over when nothing has changed for a while. Then everything is looked up anew, before anybody is told:
//! whoever is started afterwards finds what is there, and what changes later is seen.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Interest as Readiness, Registry};
use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};
use tracing::{debug, warn};

use super::places::{self, Interest, Plan, What};
use super::source::Source;
use crate::supervisor::time::Time;

/// A burst is over when nothing has changed for this long.
const QUIET: Duration = Duration::from_millis(250);
/// One that goes on for longer is cut.
const LONGEST_BURST: Duration = Duration::from_secs(5);
/// Most reads in a turn, of 4 KiB each.
const MOST_READS: usize = 64;
/// How often everything is looked up when it changes meanwhile.
const MOST_LOOKS: usize = 3;

/// The paths, and what is known of them.
pub struct Changes {
    paths: Vec<PathBuf>,
    watch: Option<Watch>,
    burst: Option<Burst>,
    has_unread: bool,
}

/// What the kernel watches for us.
struct Watch {
    inotify: Inotify,
    places: BTreeMap<WatchDescriptor, BTreeSet<Interest>>,
}

/// Changes that are one.
#[derive(Clone, Copy, Debug)]
struct Burst {
    path: usize,
    first: Time,
    last: Time,
}

impl Burst {
    fn end(&self) -> Time {
        (self.last + QUIET).min(self.first + LONGEST_BURST)
    }
}

impl Changes {
    /// Begins to watch. What cannot be watched is said, and is no reason not to start.
    pub fn watch(paths: &[PathBuf], registry: &Registry) -> Self {
        let absolute = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
        let paths = paths.iter().map(absolute).collect();
        let mut changes = Self { paths, watch: None, burst: None, has_unread: false };
        changes.look(registry);
        changes
    }

    /// When a burst will be over.
    pub fn deadline(&self) -> Option<Time> {
        self.burst.as_ref().map(Burst::end)
    }

    /// Whether more has happened than was read.
    pub fn has_unread(&self) -> bool {
        self.has_unread
    }

    /// Reads what has happened.
    pub fn read(&mut self, now: Time) {
        let Some(Watch { inotify, places }) = &self.watch else { return };
        self.has_unread = false;
        for _ in 0..MOST_READS {
            let Ok(events) = inotify.read_events() else { return };
            if let Some(path) = events.iter().find_map(|event| concerned(event, places)) {
                let burst = self.burst.get_or_insert(Burst { path, first: now, last: now });
                burst.last = now;
            }
        }
        self.has_unread = true;
    }

    /// The path that changed first, once the burst is over.
    pub fn take(&mut self, now: Time, registry: &Registry) -> Option<PathBuf> {
        let burst = self.burst.take_if(|burst| burst.end() <= now)?;
        self.look(registry);
        self.paths.get(burst.path).cloned()
    }

    /// Looks everything up anew. What the old watch has not told is forgotten: it came before.
    fn look(&mut self, registry: &Registry) {
        let watch = Watch::of(&self.paths).and_then(|watch| {
            let fd = watch.inotify.as_fd().as_raw_fd();
            registry.register(&mut SourceFd(&fd), Source::Changes.token(), Readiness::READABLE)?;
            Ok(watch)
        });
        match watch {
            Ok(watch) => (self.watch, self.has_unread) = (Some(watch), false),
            Err(error) => warn!(
                error = %error,
                "RELOAD_ON_CHANGE cannot watch: perhaps fs.inotify.max_user_instances or the limit of open files is reached"
            ),
        }
    }
}

impl Watch {
    fn of(paths: &[PathBuf]) -> std::io::Result<Self> {
        let mut plan = places::plan(paths);
        let mut looks = 1;
        loop {
            let watch = Self::begin(&plan, paths)?;
            // What came between the look and the watch is seen by a second look.
            let again = places::plan(paths);
            if again == plan || looks == MOST_LOOKS {
                return Ok(watch);
            }
            plan = again;
            looks += 1;
        }
    }

    fn begin(plan: &Plan, paths: &[PathBuf]) -> std::io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        let mut places: BTreeMap<_, BTreeSet<Interest>> = BTreeMap::new();
        for (place, interests) in plan {
            match inotify.add_watch(place, mask(interests)) {
                Ok(descriptor) => places.entry(descriptor).or_default().extend(interests.iter().cloned()),
                // It has gone since; the next look sees that.
                Err(Errno::ENOENT) => {}
                Err(Errno::ENOSPC) => {
                    warn!(
                        "not every path of RELOAD_ON_CHANGE is watched: fs.inotify.max_user_watches is reached"
                    );
                    break;
                }
                Err(error) => complain(place, interests, paths, error),
            }
        }
        debug!(places = places.len(), "watching");
        Ok(Self { inotify, places })
    }
}

/// A folder on the way that may not be read is watched by nobody, and hardly ever moved.
fn complain(place: &Path, interests: &BTreeSet<Interest>, paths: &[PathBuf], error: Errno) {
    match interests.iter().find(|interest| interest.what != What::Itself).and_then(|it| paths.get(it.path)) {
        Some(path) => {
            warn!(path = %path.display(), place = %place.display(), error = %error, "changes are not seen");
        }
        None => debug!(place = %place.display(), error = %error, "cannot be watched"),
    }
}

fn mask(interests: &BTreeSet<Interest>) -> AddWatchFlags {
    let itself = AddWatchFlags::IN_DELETE_SELF | AddWatchFlags::IN_MOVE_SELF;
    // The same folder may have two names.
    let mut mask = itself | AddWatchFlags::from_bits_retain(libc::IN_MASK_ADD);
    if interests.iter().any(|interest| interest.what != What::Itself) {
        mask |= AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_MOVE;
    }
    mask
}

/// Which path an event is about, if any.
fn concerned(event: &InotifyEvent, places: &BTreeMap<WatchDescriptor, BTreeSet<Interest>>) -> Option<usize> {
    if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
        // Anything may have changed.
        return Some(0);
    }
    let name = event.name.as_deref();
    let is_meant = |interest: &&Interest| match (&interest.what, name) {
        (What::Everything, _) | (_, None) => true,
        (What::Entry(entry), Some(name)) => entry == name,
        (What::Itself, Some(_)) => false,
    };
    places.get(&event.wd)?.iter().find(is_meant).map(|interest| interest.path)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// A folder of its own, and a path in it that is watched.
    struct Case {
        folder: tempfile::TempDir,
        poll: mio::Poll,
        changes: Changes,
        now: Time,
    }

    fn watching(path: &str, prepare: impl FnOnce(&Path)) -> Case {
        let folder = tempfile::tempdir().unwrap();
        prepare(folder.path());
        let poll = mio::Poll::new().unwrap();
        let changes = Changes::watch(&[folder.path().join(path)], poll.registry());
        Case { folder, poll, changes, now: Time::default() }
    }

    impl Case {
        fn after(&mut self, time: Duration) -> Option<PathBuf> {
            self.now = self.now + time;
            self.changes.take(self.now, self.poll.registry())
        }

        /// Does something, and says whether that is a change.
        fn is_change(&mut self, what: impl FnOnce(&Path)) -> bool {
            what(self.folder.path());
            self.changes.read(self.now);
            let has_burst = self.changes.deadline().is_some();
            assert_eq!(self.after(QUIET).is_some(), has_burst);
            has_burst
        }
    }

    fn write(path: PathBuf) {
        fs::write(path, "x").unwrap();
    }

    #[test]
    fn a_file_that_is_written_replaced_removed_or_made_has_changed() {
        let mut case = watching("a", |folder| write(folder.join("a")));
        for _ in 0..2 {
            assert!(case.is_change(|folder| write(folder.join("a"))));
            assert!(!case.is_change(|folder| write(folder.join("b"))));
            assert!(case.is_change(|folder| fs::rename(folder.join("b"), folder.join("a")).unwrap()));
            assert!(case.is_change(|folder| fs::remove_file(folder.join("a")).unwrap()));
            assert!(case.is_change(|folder| write(folder.join("a"))));
            assert!(!case.is_change(|folder| drop(fs::read(folder.join("a")).unwrap())));
        }
    }

    #[test]
    fn a_file_is_seen_to_change_under_another_name() {
        // As when it is mounted: whoever writes it does so in another folder.
        let mut case = watching("a", |folder| {
            fs::create_dir(folder.join("elsewhere")).unwrap();
            write(folder.join("a"));
            fs::hard_link(folder.join("a"), folder.join("elsewhere/b")).unwrap();
        });
        assert!(case.is_change(|folder| write(folder.join("elsewhere/b"))));
    }

    #[test]
    fn what_does_not_exist_is_awaited_from_its_first_folder_on() {
        let mut case = watching("a/b/c", |_| {});
        assert!(!case.is_change(|folder| write(folder.join("x"))));
        assert!(case.is_change(|folder| fs::create_dir(folder.join("a")).unwrap()));
        assert!(!case.is_change(|folder| write(folder.join("a/x"))));
        assert!(case.is_change(|folder| fs::create_dir(folder.join("a/b")).unwrap()));
        assert!(case.is_change(|folder| write(folder.join("a/b/c"))));
        assert!(case.is_change(|folder| write(folder.join("a/b/c"))));
        assert!(case.is_change(|folder| fs::remove_dir_all(folder.join("a")).unwrap()));
        assert!(case.is_change(|folder| fs::create_dir_all(folder.join("a/b")).unwrap()));
        assert!(case.is_change(|folder| write(folder.join("a/b/c"))));
    }

    #[test]
    fn a_folder_has_changed_when_an_entry_has_and_when_it_is_another() {
        let mut case = watching("etc", |folder| fs::create_dir_all(folder.join("etc/deep")).unwrap());
        assert!(case.is_change(|folder| write(folder.join("etc/a"))));
        assert!(case.is_change(|folder| fs::remove_file(folder.join("etc/a")).unwrap()));
        assert!(!case.is_change(|folder| write(folder.join("etc/deep/a"))));
        assert!(case.is_change(|folder| fs::rename(folder.join("etc"), folder.join("old")).unwrap()));
        assert!(!case.is_change(|folder| write(folder.join("old/a"))));
        assert!(case.is_change(|folder| fs::create_dir(folder.join("etc")).unwrap()));
        assert!(case.is_change(|folder| write(folder.join("etc/a"))));
    }

    /// As Kubernetes does it (`pkg/volume/util/atomic_writer.go`).
    fn publish(folder: &Path, version: &str) {
        fs::create_dir(folder.join(version)).unwrap();
        fs::write(folder.join(version).join("app.yaml"), version).unwrap();
        symlink(version, folder.join("..data_tmp")).unwrap();
        let old = fs::read_link(folder.join("..data"));
        fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
        if let Ok(old) = old {
            fs::remove_dir_all(folder.join(old)).unwrap();
        }
    }

    #[test]
    fn a_configmap_changes_when_its_symlink_is_swapped() {
        for path in ["config/app.yaml", "config"] {
            let mut case = watching(path, |folder| {
                fs::create_dir(folder.join("config")).unwrap();
                publish(&folder.join("config"), "..1");
                symlink("..data/app.yaml", folder.join("config/app.yaml")).unwrap();
            });
            for version in ["..2", "..3", "..4"] {
                assert!(
                    case.is_change(|folder| publish(&folder.join("config"), version)),
                    "{path} {version}"
                );
            }
        }
    }

    #[test]
    fn a_symlink_on_the_way_may_lead_elsewhere() {
        let mut case = watching("current/../current/app/x", |folder| {
            for release in ["one/app", "two/app"] {
                fs::create_dir_all(folder.join(release)).unwrap();
            }
            symlink(folder.join("one"), folder.join("current")).unwrap();
        });
        assert!(case.is_change(|folder| write(folder.join("one/app/x"))));
        assert!(case.is_change(|folder| {
            symlink("two", folder.join("next")).unwrap();
            fs::rename(folder.join("next"), folder.join("current")).unwrap();
        }));
        assert!(!case.is_change(|folder| write(folder.join("one/app/x"))));
        assert!(case.is_change(|folder| write(folder.join("two/app/x"))));
    }

    #[test]
    fn a_circle_of_symlinks_is_no_end() {
        let mut case = watching("a/x", |folder| {
            symlink("b", folder.join("a")).unwrap();
            symlink("a", folder.join("b")).unwrap();
        });
        assert!(case.is_change(|folder| fs::remove_file(folder.join("b")).unwrap()));
    }

    #[test]
    fn a_burst_is_one_change_and_has_an_end() {
        let mut case = watching("a", |folder| write(folder.join("a")));
        let step = Duration::from_millis(200);
        let mut ends = Vec::new();
        for count in 1..=60 {
            write(case.folder.path().join("a"));
            case.changes.read(case.now);
            if case.after(step).is_some() {
                ends.push(count);
            }
        }
        assert_eq!(ends, [25, 50], "a burst is cut after five seconds");
        let deadline = case.changes.deadline().unwrap();
        assert_eq!(deadline - case.now, QUIET - step);
        assert_eq!(case.after(QUIET - step), Some(case.folder.path().join("a")));
        assert_eq!((case.changes.deadline(), case.after(LONGEST_BURST)), (None, None));
    }

    #[test]
    fn more_events_than_the_kernel_queues_are_a_change() {
        let mut case = watching("a", |folder| write(folder.join("a")));
        let is_change = case.is_change(|folder| {
            for number in 0..20_000 {
                drop(fs::File::create(folder.join("b")).unwrap());
                fs::rename(folder.join("b"), folder.join(format!("c{}", number % 2))).unwrap();
            }
        });
        // What was not read in the first turn is read in the next.
        while case.changes.has_unread() {
            case.changes.read(case.now);
        }
        assert!(is_change || case.changes.deadline().is_some());
    }
}
