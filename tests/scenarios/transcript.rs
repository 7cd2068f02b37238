//! What a story told, line by line.

use std::fmt::Write;

use allcores::supervisor::time::Time;

#[derive(Clone, Default)]
pub struct Transcript(String);

impl Transcript {
    /// Something happened at this time, in milliseconds from the start.
    pub fn tell(&mut self, now: Time, what: &str) {
        writeln!(self.0, "{:>6} {what}", now.since_start().as_millis()).unwrap();
    }

    /// This followed.
    pub fn then(&mut self, what: &str) {
        writeln!(self.0, "       - {what}").unwrap();
    }

    pub fn text(&self) -> &str {
        &self.0
    }

    /// Forgets what was told so far.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// It says this, whatever the indentation.
    #[track_caller]
    pub fn must_be(&self, expected: &str) {
        let lines = |text: &str| {
            text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect::<Vec<_>>()
        };
        assert!(lines(&self.0) == lines(expected), "the story went:\n{}", self.0);
    }
}
