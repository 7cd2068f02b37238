//! Shows what happened, and decides nothing: the log, and the reason of the end.

pub mod log;
pub mod termination;
