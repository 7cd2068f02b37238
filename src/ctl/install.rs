//! Copies this program to where another container will find it.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The file that is this program, whatever it is called.
const OURSELVES: &str = "/proc/self/exe";
/// For everybody to run.
const MODE: u32 = 0o755;

/// Copies it, so that there is nothing or all of it at any time. Gives the path that it has now.
pub fn install(path: &Path) -> Result<PathBuf, String> {
    let target = if path.is_dir() { path.join("allcores") } else { path.to_owned() };
    let failed = |error: io::Error| format!("{}: {error}", target.display());
    let name = target.file_name().ok_or_else(|| format!("{} names no file", target.display()))?;
    let mut draft_name = std::ffi::OsString::from(".");
    draft_name.push(name);
    draft_name.push(format!(".{}", std::process::id()));
    let draft = target.with_file_name(draft_name);
    copy(&draft).and_then(|()| fs::rename(&draft, &target)).map_err(|error| {
        let _ = fs::remove_file(&draft);
        failed(error)
    })?;
    Ok(target)
}

fn copy(draft: &Path) -> io::Result<()> {
    let mut from = File::open(OURSELVES)?;
    // One of an earlier container of the same number, which did not live to finish it.
    let _ = fs::remove_file(draft);
    let mut to = OpenOptions::new().write(true).create_new(true).mode(MODE).open(draft)?;
    io::copy(&mut from, &mut to)?;
    // Whatever the umask is.
    to.set_permissions(Permissions::from_mode(MODE))?;
    to.sync_all()
}
