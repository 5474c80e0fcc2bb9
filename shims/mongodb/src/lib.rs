//! The MongoDB shim: collections, sessions and transactions that carry lineage.
//!
//! - [`MongoStore`] is what is registered for barriers: a replica set and the members to read from.
//!
//! # What happens in an election
//! A position is an optime: the election term, and the timestamp in the log. Where a term ended is
//! looked up once in the log of a member, and remembered for the lifetime of the process: a write
//! beyond that place is *lost*, one before it is waited for as usual. That is only believed once a
//! majority has an entry of the new term: until then, probes of members that are in the new term fail,
//! and barriers go on waiting. A member that still has what was cut off, and one that is rolling it
//! back, cannot be asked either: nothing is called visible there. A term from before the oldest entry
//! of the log is *indeterminate*.
//!
//! # Versions
//! MongoDB 6.0 or later, a replica set; `mongos` is refused.

#![allow(dead_code)] // Until the operations that use it are here.

mod capture;
mod check;
mod error;
mod hello;
mod history;
mod oplog;
mod position;
mod server;
mod store;

pub use error::Error;
pub use mongodb;
pub use store::{MongoStore, MongoStoreBuilder};
