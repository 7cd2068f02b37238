//! The reason of the end, where Kubernetes looks for it (`terminationMessagePath`).

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Kubernetes reads no more than this.
const LONGEST: usize = 4096;
/// Where Kubernetes looks unless told otherwise.
const USUAL: &str = "/dev/termination-log";

/// Writes one line. The usual file is written when it exists, a file that was asked for in any case.
pub fn write(asked_for: Option<&PathBuf>, reason: &str) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).truncate(true);
    let file = match asked_for {
        Some(path) => options.create(true).open(path),
        None => match options.open(Path::new(USUAL)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            opened => opened,
        },
    };
    file?.write_all(line(reason).as_bytes())
}

fn line(reason: &str) -> String {
    let mut line = reason.replace(['\n', '\r'], " ");
    line.truncate(line.floor_char_boundary(LONGEST - 1));
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_reason_is_cut_between_letters_and_stays_one_line() {
        let line = line(&format!("a\n{}", "é".repeat(4000)));
        assert!(line.len() <= LONGEST && line.ends_with("é\n") && line.starts_with("a é"));
    }

    #[test]
    fn a_file_that_was_asked_for_is_made_and_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("reason");
        write(Some(&path), "a longer first reason").unwrap();
        write(Some(&path), "second").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "second\n");
        assert!(write(Some(&directory.path().join("no/such")), "x").is_err());
    }
}
