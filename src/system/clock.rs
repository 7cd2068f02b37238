//! The only reader of the monotonic clock.

use std::time::Instant;

use crate::supervisor::time::Time;

/// Counts from its own making.
pub struct Clock(Instant);

impl Clock {
    /// Starts counting.
    #[allow(clippy::disallowed_methods, reason = "this is the one place that may")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// The present moment.
    pub fn now(&self) -> Time {
        Time::after_start(self.0.elapsed())
    }
}
