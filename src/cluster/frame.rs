//! Bytes to lines and back: one JSON text and one line end each (Node: `lib/internal/child_process/serialization.js`).
//!
//! Knows nothing of what a line says, only where it ends, and that it must end.

use std::borrow::Cow;

/// The longest line that a worker may send.
pub const LONGEST: usize = 8 * 1024 * 1024;

/// The beginning of a line whose end has not come.
#[derive(Clone, Debug, Default)]
pub struct Splitter {
    rest: Vec<u8>,
}

/// A line without end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

impl Splitter {
    /// Takes the next line off what came, its end left out; a line that came whole is not copied. What is behind the last end is
    /// kept for the next time.
    pub fn next<'a>(&mut self, bytes: &mut &'a [u8]) -> Result<Option<Cow<'a, [u8]>>, TooLong> {
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let (piece, behind) = bytes.split_at(end.unwrap_or(bytes.len()));
        if self.rest.len() + piece.len() > LONGEST {
            return Err(TooLong);
        }
        *bytes = behind.strip_prefix(b"\n").unwrap_or_default();
        if end.is_some() && self.rest.is_empty() {
            return Ok(Some(Cow::Borrowed(piece)));
        }
        self.rest.extend_from_slice(piece);
        Ok(end.map(|_| Cow::Owned(std::mem::take(&mut self.rest))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(splitter: &mut Splitter, mut bytes: &[u8]) -> Result<Vec<Vec<u8>>, TooLong> {
        let mut lines = Vec::new();
        while let Some(line) = splitter.next(&mut bytes)? {
            lines.push(line.into_owned());
        }
        assert!(bytes.is_empty());
        Ok(lines)
    }

    fn lines(pieces: &[&str]) -> Vec<String> {
        let mut splitter = Splitter::default();
        let lines = pieces.iter().flat_map(|piece| split(&mut splitter, piece.as_bytes()).unwrap());
        lines.map(|line| String::from_utf8(line).unwrap()).collect()
    }

    #[test]
    fn lines_may_be_split_and_joined_anywhere() {
        assert_eq!(lines(&["{}\n{}\n"]), ["{}", "{}"]);
        assert_eq!(lines(&["{", "}", "\n", "\"a", "\"\n1\n2", "\n"]), ["{}", "\"a\"", "1", "2"]);
        assert_eq!(lines(&["", "\n\n"]), ["", ""]);
    }

    #[test]
    fn a_line_without_end_is_not_kept() {
        let mut splitter = Splitter::default();
        assert_eq!(split(&mut splitter, &vec![b'x'; LONGEST]), Ok(vec![]));
        assert_eq!(split(&mut splitter, b"\n").map(|lines| lines[0].len()), Ok(LONGEST));
        assert_eq!(split(&mut splitter, &vec![b'x'; LONGEST + 1]), Err(TooLong));
    }
}
