//! The Redis shim: any [`redis::aio::ConnectionLike`], carrying lineage.
//!
//! - [`RedisStore`] is what is registered for barriers: a primary and the replicas to read from.
//! - [`RedisShim`] is a connection that carries lineage. It implements the driver's trait, so
//!   [`redis::AsyncCommands`], pipelines, transactions and scripts work on it as they are.
//! - [`stream_lineage`] is the lineage of one stream entry.
//!
//! # Where the lineage is
//! Beside the value, under a key of its own: `antipode:{key}`, or `antipode::key` if the key has a
//! hash tag, so that both are in one hash slot. It is a hash of
//! [`Lineage::to_fields`](antipode_lineage::Lineage::to_fields). A command that replaces the value
//! replaces it, one that changes the value joins it, and it goes and expires with its key. Readers
//! and writers without the shim see their keys as before; what they write keeps the lineage that was
//! there. Stream entries never change and carry their lineage themselves, in a field
//! [`LINEAGE_FIELD`].
//!
//! # Versions
//! Redis 7.0 or later, with one primary; cluster mode is refused.

mod batch;
mod check;
mod commands;
mod companion;
mod entries;
mod error;
mod histories;
mod keys;
mod record;
mod replication;
mod server;
mod shim;
mod store;
mod transaction;
mod treatment;

pub use entries::{LINEAGE_FIELD, stream_lineage};
pub use error::{EntryLineageError, Error};
pub use redis;
pub use shim::RedisShim;
pub use store::{RedisStore, RedisStoreBuilder};
