//! Bytes to lines and back: one JSON text and one line end each (Node: `lib/internal/child_process/serialization.js`).
//!
//! Knows nothing of what a line says, only where it ends, and that it must end.

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
    /// Cuts what came into lines, line ends left out. What is behind the last end is kept for the next time.
    pub fn split(&mut self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, TooLong> {
        let mut lines = Vec::new();
        let mut pieces = bytes.split(|byte| *byte == b'\n').peekable();
        while let Some(piece) = pieces.next() {
            if self.rest.len() + piece.len() > LONGEST {
                return Err(TooLong);
            }
            self.rest.extend_from_slice(piece);
            if pieces.peek().is_some() {
                lines.push(std::mem::take(&mut self.rest));
            }
        }
        Ok(lines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(pieces: &[&str]) -> Vec<String> {
        let mut splitter = Splitter::default();
        let lines = pieces.iter().flat_map(|piece| splitter.split(piece.as_bytes()).unwrap());
        lines.map(|line| String::from_utf8(line).unwrap()).collect()
    }

    #[test]
    fn lines_may_be_split_and_joined_anywhere() {
        assert_eq!(split(&["{}\n{}\n"]), ["{}", "{}"]);
        assert_eq!(split(&["{", "}", "\n", "\"a", "\"\n1"]), ["{}", "\"a\""]);
        assert_eq!(split(&["", "\n\n"]), ["", ""]);
    }

    #[test]
    fn a_line_without_end_is_not_kept() {
        let mut splitter = Splitter::default();
        assert_eq!(splitter.split(&vec![b'x'; LONGEST]), Ok(vec![]));
        assert_eq!(splitter.split(b"\n").map(|lines| lines[0].len()), Ok(LONGEST));
        assert_eq!(splitter.split(&vec![b'x'; LONGEST + 1]), Err(TooLong));
    }
}
