//! Shows what happened, and decides nothing: the log, the reason of the end, and what can be asked for by HTTP.

mod exposition;
pub mod figures;
pub mod http;
pub mod log;
pub mod metrics;
pub mod page;
pub mod probes;
pub mod routes;
#[cfg(test)]
mod sample;
pub mod shown;
mod table;
pub mod termination;
