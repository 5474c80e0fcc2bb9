//! The Redis shim: any [`redis::aio::ConnectionLike`], carrying lineage.
//!
//! - [`RedisStore`] is what is registered for barriers: a primary and the replicas to read from.
//! - [`RedisShim`] is a connection that carries lineage. It implements the driver's trait, so
//!   [`redis::AsyncCommands`], pipelines, transactions and scripts work on it as they are.
//! - [`stream_lineage`] is the lineage of one stream entry.
//!
//! # Where the lineage is
//! Beside the value, under a key of its own: `antipode:{key}`, or `antipode::key` if the key has a
//! hash tag, so that both are in one hash slot. It is a text of
//! [`Lineage::to_fields`](antipode_lineage::Lineage::to_fields), `field=value ` for each. A command that
//! replaces the value replaces it, one that changes the value joins it, by appending (a field that stands
//! there more than once has its greatest value), and it goes and expires with its key. Readers
//! and writers without the shim see their keys as before; what they write keeps the lineage that was
//! there. Stream entries never change and carry their lineage themselves, in a field
//! [`LINEAGE_FIELD`].
//!
//! - `DBSIZE`, `KEYS`, `SCAN` and `RANDOMKEY` show these keys, too.
//! - A key that goes without the shim (deleted by another client, evicted, a hash whose last field
//!   expired) leaves them behind until the shim writes it again.
//! - Who changes when a key expires must use the shim: otherwise its lineage may expire first.
//! - Set `maxmemory-policy noeviction`: a server that evicts may evict a lineage before its value.
//!
//! # What happens in a failover
//! A position is (`master_replid`, offset). Where one replication id grew out of another is known by
//! the servers that are primaries, so a store remembers it for the lifetime of the process: a write
//! beyond the place is *lost*, one before it is waited for as usual. A position from an id that no
//! primary of this process ever left is *indeterminate*. A primary that never had a replica counts
//! nothing; writes to it are [unplaced](antipode_lineage::WriteId::unplaced), and wait for all that
//! the primary has.
//!
//! # The branch ledger
//! A store with one primary can hold the [branches](antipode_barrier::Registry::branch) of lineages:
//! a hash `{antipode-branches}:id` for each, changed by a script. Leases are measured by the primary's
//! clock. A branch is known for a day after it ended
//! ([`branch_retention`](RedisStoreBuilder::branch_retention)). What a failover loses of the ledger makes
//! a branch unknown or abandoned, never completed. A cluster holds no ledger.
//!
//! # Versions
//! Redis 7.0 or later: one primary with its replicas, or, with the feature `cluster`, a cluster
//! (`RedisStore::cluster`).

mod batch;
mod check;
#[cfg(feature = "cluster")]
mod cluster;
mod commands;
mod companion;
mod entries;
mod error;
mod expiring;
mod histories;
mod keys;
mod ledger;
mod record;
mod replication;
mod server;
mod shared;
mod shim;
mod store;
mod transaction;
mod treatment;

#[cfg(feature = "cluster")]
pub use cluster::{RedisClusterConnection, RedisClusterStore, RedisClusterStoreBuilder};
pub use entries::{LINEAGE_FIELD, stream_lineage};
pub use error::{EntryLineageError, Error};
pub use redis;
pub use shim::RedisShim;
pub use store::{RedisStore, RedisStoreBuilder};
