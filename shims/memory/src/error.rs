//! What can go wrong.

use antipode_barrier::MissingLineage;
use antipode_lineage::{InvalidName, ReplicaName, StoreName};

/// An operation on an in-memory store that failed. Nothing was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MemoryError {
    /// A store or region was given a name that is none.
    #[error("memory store cannot be built: {name:?} is no name")]
    Name {
        /// The text given.
        name: String,
        /// What a name must look like.
        #[source]
        source: InvalidName,
    },

    /// A store was built without regions.
    #[error("memory store {store} has no region: give the builder one, the first is the primary")]
    NoRegion {
        /// The store.
        store: StoreName,
    },

    /// A region was given twice, or is called `primary`, which stands for whichever region is.
    #[error("memory store {store} cannot call a region {region}: the name is taken, choose another")]
    RegionTaken {
        /// The store.
        store: StoreName,
        /// The region.
        region: ReplicaName,
    },

    /// The store has no such region.
    #[error("memory store {store} has no region {region:?}: use one that it was built with")]
    UnknownRegion {
        /// The store.
        store: StoreName,
        /// The text given.
        region: String,
    },

    /// The region is stopped, or was left behind by a failover.
    #[error("region {region} of memory store {store} is down: start it, or let it rejoin after a failover")]
    RegionDown {
        /// The store.
        store: StoreName,
        /// The region.
        region: ReplicaName,
    },

    /// A region is so far behind that the log has no room for another write.
    #[error(
        "the log of memory store {store} is full: region {region} is {capacity} entries behind; heal, resume, start or detach it"
    )]
    LogFull {
        /// The store.
        store: StoreName,
        /// The region that holds the log back.
        region: ReplicaName,
        /// The most entries that the log holds.
        capacity: usize,
    },

    /// A [`Tail`](crate::Tail) read too slowly; the next read goes on at the oldest entry left.
    #[error(
        "a tail of memory store {store} missed {missed} entries: read faster, or give the log more capacity"
    )]
    TailLagged {
        /// The store.
        store: StoreName,
        /// How many entries are gone.
        missed: u64,
    },

    /// A failover to the region that is the primary already.
    #[error("region {region} of memory store {store} is the primary already: choose another one")]
    AlreadyPrimary {
        /// The store.
        store: StoreName,
        /// The region.
        region: ReplicaName,
    },

    /// There was no lineage to record into, and the store was told to refuse that.
    #[error(transparent)]
    MissingLineage(#[from] MissingLineage),
}

impl MemoryError {
    /// Whether a region was down.
    #[must_use]
    pub fn is_down(&self) -> bool {
        matches!(self, MemoryError::RegionDown { .. })
    }
}
