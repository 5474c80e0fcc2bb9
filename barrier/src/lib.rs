//! The barrier engine: waits until every write in a lineage is visible at the replicas that a reader
//! uses.
//!
//! - [`Registry`] holds the stores of this process, each with its primary and the replicas it reads
//!   from. [`Registry::barrier`] waits for the current lineage.
//! - [`Store`] and [`Replica`] are what a store implements: the engine asks a replica how far it has
//!   applied its logs ([`Frontier`]) and judges the writes by that ([`Verdict`]).
//! - [`Recorder`] is how shims reach the current lineage; a [`Line`] is how those who capture positions
//!   share the questions that they ask a server.
//! - [`Registry::branch`] registers work that a request starts elsewhere, in a [`Ledger`] that a store holds;
//!   a [whole](Barrier::whole) barrier waits for its end.
//!
//! One watcher per replica probes on behalf of all barriers that wait there, on demand: its probes do
//! not depend on how many wait, and there are none when nobody does. Every barrier has a deadline.
//!
//! The state machine takes time and answers as arguments; only its driver knows tokio.

mod barrier;
mod branch;
mod decision;
mod error;
mod frontier;
mod known;
mod ledger;
mod ledger_reads;
mod line;
mod observer;
mod pacing;
mod recorder;
mod registry;
mod report;
mod standing;
mod store;
mod store_wait;
mod waiting;
mod wanted;
mod watch;
mod watcher;
mod whole;

pub use barrier::{Barrier, BarrierFuture, OnTimeout};
pub use branch::{BranchError, DEFAULT_LEASE, NewBranch, OpenBranch};
pub use error::{BarrierError, BranchDependency, BranchStanding, Dependency};
pub use frontier::{Ancestor, Frontier, Frontiers, Verdict};
pub use ledger::{BranchState, Ledger};
pub use line::Line;
pub use observer::{Observer, ProbeKind, Probed};
pub use recorder::{MissingLineage, OnMissing, Recorder};
pub use registry::{DEFAULT_DEADLINE, Registry, RegistryBuilder, RegistryError};
pub use report::{Report, Wait};
pub use store::{BoxFuture, CheckError, ProbeError, Replica, Shards, Store, Target};
