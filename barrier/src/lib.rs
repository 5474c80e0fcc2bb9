//! The barrier engine.

mod coalesced;
mod frontier;
mod recorder;
mod store;

pub use coalesced::Coalesced;
pub use frontier::{Ancestor, Frontier, Frontiers, Verdict};
pub use recorder::{MissingLineage, OnMissing, Recorder};
pub use store::{BoxFuture, CheckError, ProbeError, Replica, Shards, Store, Target};
