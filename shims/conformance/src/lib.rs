//! The conformance suite: one set of scenarios that every store passes.
//!
//! A store is put through it by a [`Bed`]. In the store's package:
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
//! ```ignore
//! fn main() -> std::process::ExitCode {
//!     antipode_conformance::run::<PostgresBed>()
//! }
//! ```

mod bed;
mod counted;
mod elsewhere;
mod runner;
mod scenarios;
mod stage;
mod waiting;

pub use bed::{Bed, BedResult, Change, Fault, Node, Support};
pub use runner::run;
