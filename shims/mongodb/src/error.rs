//! What can go wrong with a store, beside the driver's own errors.

use antipode_barrier::MissingLineage;
use antipode_lineage::{InvalidName, ReplicaName, StoreName};

/// An error of a [`MongoStore`](crate::MongoStore) or of something made from it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The store's or a replica's name cannot be one.
    #[error("{name:?} cannot name a mongodb store or replica: {source}")]
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
    /// The server does not say where it stands.
    #[error("store {store}: the server behind {replica} {problem}")]
    Server {
        /// The store.
        store: StoreName,
        /// The server.
        replica: ReplicaName,
        /// What is wrong, and what to do.
        problem: &'static str,
    },
    /// The operation was made outside of any lineage, which the store was told to refuse.
    #[error(transparent)]
    MissingLineage(#[from] MissingLineage),
    /// The driver refused, or the server did.
    #[error("store {store}: the mongodb driver reports: {source}")]
    Driver {
        /// The store.
        store: StoreName,
        /// The driver's error.
        source: mongodb::error::Error,
    },
}

impl Error {
    /// Whether the operation was outside of any lineage.
    #[must_use]
    pub fn is_missing_lineage(&self) -> bool {
        matches!(self, Error::MissingLineage(_))
    }

    /// The driver's error, if it is one.
    #[must_use]
    pub fn driver(&self) -> Option<&mongodb::error::Error> {
        match self {
            Error::Driver { source, .. } => Some(source),
            _ => None,
        }
    }
}
