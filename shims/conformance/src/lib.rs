//! The conformance suite: one set of scenarios that every store passes.
//!
//! A store is put through it by a [`Bed`]: a running primary with two replicas, reads and writes through
//! the shim, reads without it, and faults. The scenarios write, wait at barriers and read while links
//! are cut, servers stand still, restart and fail over, and compare what barriers say with what the
//! servers really show.
//!
//! In the store's package:
//!
//! ```toml
//! [dev-dependencies]
//! antipode-conformance = { path = "../conformance" }
//!
//! [[test]]
//! name = "conformance"
//! harness = false
//! ```
//!
//! and in `tests/conformance.rs`, below the bed:
//!
//! ```text
//! fn main() -> std::process::ExitCode {
//!     antipode_conformance::run::<PostgresBed>()
//! }
//! ```
//!
//! What is not asserted: how long anything takes, beyond that it ends.

mod bed;
mod counted;
mod elsewhere;
mod record;
mod runner;
mod scenarios;
mod stage;
mod waiting;

pub use bed::{Bed, BedResult, Change, Fault, Node, Support};
pub use runner::{run, run_if_asked};
