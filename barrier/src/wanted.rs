//! What a probe is to ask for.

use antipode_lineage::{Shard, WriteId};

use crate::Shards;

/// The shards to ask a replica for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted {
    All,
    Of(Vec<Shard>),
}

impl Wanted {
    /// The shards of some writes of one store, sorted.
    pub(crate) fn by(writes: &[WriteId]) -> Self {
        let mut shards: Vec<Shard> = writes.iter().map(|write| write.shard).collect();
        shards.dedup();
        Wanted::Of(shards)
    }

    /// The question to the replica.
    pub(crate) fn shards(&self) -> Shards<'_> {
        match self {
            Wanted::All => Shards::All,
            Wanted::Of(shards) => Shards::Of(shards),
        }
    }

    /// Whether this shard is one of them.
    pub(crate) fn contains(&self, shard: Shard) -> bool {
        match self {
            Wanted::All => true,
            Wanted::Of(shards) => shards.contains(&shard),
        }
    }

    /// Whether an answer about these shards says how all the writes stand.
    pub(crate) fn covers(&self, writes: &[WriteId]) -> bool {
        writes.iter().all(|write| self.contains(write.shard))
    }
}
