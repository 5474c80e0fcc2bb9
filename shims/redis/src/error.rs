//! What can go wrong with a store, beside the driver's own errors.

use antipode_lineage::{InvalidName, ReplicaName, StoreName, WireError};
use redis::RedisError;

/// An error of a [`RedisStore`](crate::RedisStore). Commands sent through a shim fail with the
/// driver's [`RedisError`] instead, as the driver's traits want it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The store's or a replica's name cannot be one.
    #[error("{name:?} cannot name a redis store or replica: {source}")]
    Name {
        /// The name given.
        name: String,
        /// What a name must look like.
        source: InvalidName,
    },
    /// The store was built without a primary.
    #[error("store {store} has no primary: call `.primary(client)` before `.build()`")]
    NoPrimary {
        /// The store.
        store: StoreName,
    },
    /// Two servers of the store were given the same name.
    #[error("store {store} has two servers named {replica}: give each replica a name of its own")]
    DuplicateReplica {
        /// The store.
        store: StoreName,
        /// The name given twice.
        replica: ReplicaName,
    },
    /// A read was routed to a replica that this process does not have.
    #[error("store {store} has no replica {replica}: add it with `.replica(..)` where the store is built")]
    UnknownReplica {
        /// The store.
        store: StoreName,
        /// The replica asked for.
        replica: ReplicaName,
    },
    /// The server could not be reached.
    #[error("store {store} could not connect to {replica}: check its address and that it runs")]
    Connect {
        /// The store.
        store: StoreName,
        /// The server.
        replica: ReplicaName,
        /// The driver's error.
        source: RedisError,
    },
}

impl Error {
    /// Whether the server could not be reached.
    #[must_use]
    pub fn is_connect(&self) -> bool {
        matches!(self, Error::Connect { .. })
    }
}

/// The lineage in a stream entry cannot be read: damaged, forged, or of a later version.
///
/// Not knowing what an entry depends on, take it as depending on
/// [everything](antipode_lineage::Lineage::everything), or set it aside.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("stream entry {id} has a lineage that cannot be read: {source}")]
#[non_exhaustive]
pub struct EntryLineageError {
    /// The entry's id.
    pub id: String,
    /// What is wrong with it.
    pub source: WireError,
}
