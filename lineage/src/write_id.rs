//! What a write is called: its store, shard, epoch and position.

use std::fmt;

use crate::StoreName;

/// One totally ordered replication log of a store: a Postgres cluster, a Redis (cluster) shard,
/// a MongoDB replica set, a Kafka partition. A store with a single log uses [`Shard::ONLY`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Shard(pub u64);

impl Shard {
    /// The shard of a store that has a single log.
    pub const ONLY: Shard = Shard(0);
}

/// Which history of a log a position belongs to.
///
/// Positions of different epochs do not compare: after a failover a bare position can pass
/// although the write it stood for was lost.
///
/// | store | `history` | `term` |
/// |---|---|---|
/// | Postgres | system identifier | timeline |
/// | Redis | first 64 bits of the replication id | 0 |
/// | MongoDB | hash of the replica set's id | election term |
/// | Kafka | first 64 bits of the topic id | leader epoch |
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch {
    /// Which log this is.
    pub history: u64,
    /// Which leadership of it. Larger is later where a store orders its terms.
    pub term: u64,
}

impl Epoch {
    /// The epoch of a write whose place is unknown (see [`WriteId::unplaced`]); no store has it.
    pub const UNKNOWN: Epoch = Epoch { history: 0, term: 0 };
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}/{}", self.history, self.term)
    }
}

/// A place in a shard's log: an LSN, a replication offset, an optime, a record offset + 1.
///
/// A replica shows a write when its frontier, in the same history, is at or past the write's
/// position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position(pub u64);

impl Position {
    /// The position of a write whose place is unknown (see [`WriteId::unplaced`]); no log gets there.
    pub const UNKNOWN: Position = Position(u64::MAX);
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The identifier of a write: where it stands in its store's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WriteId {
    /// The store written to.
    pub store: StoreName,
    /// The log within the store.
    pub shard: Shard,
    /// The history of that log.
    pub epoch: Epoch,
    /// The place in that history.
    pub position: Position,
}

impl WriteId {
    /// A write to `store` that happened but whose position could not be learnt (the connection
    /// broke between write and capture). A barrier takes it as "everything the store's primary
    /// holds when asked", which covers the write wherever it stands, unless a failover lost it
    /// meanwhile. Where the history is known, use [`unplaced_in`](WriteId::unplaced_in).
    #[must_use]
    pub fn unplaced(store: StoreName) -> Self {
        Self::unplaced_in(store, Shard::ONLY, Epoch::UNKNOWN)
    }

    /// A write whose position could not be learnt, but that was acknowledged in this history or a
    /// later one. A barrier takes it as "everything the primary holds when asked" as long as the
    /// primary is still in this history. After that nobody knows whether the write survived.
    #[must_use]
    pub fn unplaced_in(store: StoreName, shard: Shard, epoch: Epoch) -> Self {
        Self { store, shard, epoch, position: Position::UNKNOWN }
    }

    /// Whether the position could not be learnt.
    #[must_use]
    pub fn is_unplaced(&self) -> bool {
        self.position == Position::UNKNOWN || self.epoch == Epoch::UNKNOWN
    }

    /// The part that a lineage keeps one position for.
    pub(crate) fn key(&self) -> (StoreName, Shard, Epoch) {
        (self.store, self.shard, self.epoch)
    }
}

impl fmt::Display for WriteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.epoch == Epoch::UNKNOWN {
            return write!(f, "{}@?", self.store);
        }
        if self.is_unplaced() {
            return write!(f, "{}[{}]@{}:?", self.store, self.shard.0, self.epoch);
        }
        write!(f, "{}[{}]@{}:{}", self.store, self.shard.0, self.epoch, self.position)
    }
}
