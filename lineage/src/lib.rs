//! Causal lineage: what a write is called, what a request depends on, and how that travels.
//!
//! - [`WriteId`] names a write by store, shard, epoch and position.
//! - [`Lineage`] is the set of writes that a request depends on, a join-semilattice bounded by the
//!   shards touched.
//! - [`Branch`] names work that a request started elsewhere: an open entry of the lineage.
//! - [`Lineage::to_fields`] is the form stored beside a value.
//! - [`LineageCodec`] makes the text that travels, with a checksum or signed with [`SigningKeys`],
//!   and [`Baggage`] carries it among the members of a W3C baggage header.
#![cfg_attr(
    feature = "tokio",
    doc = "- [`LineageScope`] is the lineage of the running request, and [`InCurrentLineage`] carries it into spawned tasks."
)]
//!
//! ```
//! use antipode_lineage::{Epoch, Lineage, LineageCodec, Position, Shard, WriteId};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // What a shim learns from its store when a post is written:
//! let epoch = Epoch { history: 0x5eed, term: 1 };
//! let post = WriteId { store: "posts".parse()?, shard: Shard::ONLY, epoch, position: Position(4_711) };
//!
//! // What the notification about it carries, and what its reader depends on:
//! let text = LineageCodec::plain().encode(&Lineage::from(post));
//! let mut lineage = LineageCodec::plain().decode(&text)?;
//! assert_eq!(lineage.writes(), [post]);
//!
//! // A later write to the same log stands for the earlier one.
//! lineage.add(WriteId { position: Position(4_812), ..post });
//! assert_eq!(lineage.writes().len(), 1);
//! # Ok(()) }
//! ```
//!
//! This crate is pure: no clock, no I/O, and without the `tokio` feature no async.
//!
//! The idea and the words are those of *Antipode: Enforcing Cross-Service Causal Consistency in
//! Distributed Applications* (SOSP 2023).

mod baggage;
mod body;
mod branch;
#[cfg(feature = "tokio")]
mod captured;
mod fields;
#[allow(clippy::module_inception)]
mod lineage;
mod name;
#[cfg(feature = "tokio")]
mod running;
#[cfg(feature = "tokio")]
mod scope;
mod signing;
mod wire;
mod write_id;

pub use baggage::{BAGGAGE_KEY, Baggage, BaggageHeader, MAX_BAGGAGE_LEN, MAX_BAGGAGE_MEMBERS, MAX_READ_LEN};
pub use branch::{Branch, BranchId, InvalidBranch, MAX_BRANCHES};
#[cfg(feature = "tokio")]
pub use captured::{CaptureObserver, Captured};
pub use fields::InvalidField;
pub use lineage::{Lineage, MAX_ENTRIES};
pub use name::{BranchName, InvalidName, MAX_NAME_LEN, ReplicaName, StoreName};
#[cfg(feature = "tokio")]
pub use running::{AwaitedBranches, RunningBranch};
#[cfg(feature = "tokio")]
pub use scope::{InCurrentLineage, InLineage, LineageScope};
pub use signing::{InvalidKey, MIN_KEY_LEN, SigningKey, SigningKeys};
pub use wire::{LineageCodec, MAX_WIRE_LEN, WireError};
pub use write_id::{Epoch, Position, Shard, WriteId};
