//! A second store for lineages that span two: logs that its one replica follows when told to.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use antipode_barrier::{BoxFuture, Frontier, Frontiers, ProbeError, Replica, Shards, Store};
use antipode_lineage::{Epoch, InvalidName, Position, ReplicaName, Shard, StoreName, WriteId};

const EPOCH: Epoch = Epoch { history: 0xe15e, term: 1 };

/// The store. Nothing is in it but positions.
pub(crate) struct Elsewhere {
    name: StoreName,
    written: Arc<Log>,
    applied: Arc<Log>,
}

struct Log {
    name: ReplicaName,
    end: AtomicU64,
}

impl Elsewhere {
    pub(crate) fn new() -> Result<Arc<Self>, InvalidName> {
        let log = |name| Ok(Arc::new(Log { name: ReplicaName::parse(name)?, end: AtomicU64::new(0) }));
        let name = StoreName::parse("elsewhere")?;
        Ok(Arc::new(Self { name, written: log("written")?, applied: log("applied")? }))
    }

    /// A write in a log of its own: no other write covers it.
    pub(crate) fn write(&self) -> WriteId {
        let number = self.written.end.fetch_add(1, Ordering::SeqCst) + 1;
        WriteId { store: self.name, shard: Shard(number), epoch: EPOCH, position: Position(number) }
    }

    /// Lets the replica apply all there is.
    pub(crate) fn catch_up(&self) {
        self.applied.end.store(self.written.end.load(Ordering::SeqCst), Ordering::SeqCst);
    }
}

impl Store for Elsewhere {
    fn name(&self) -> StoreName {
        self.name
    }

    fn primary(&self) -> Option<Arc<dyn Replica>> {
        Some(Arc::clone(&self.written) as Arc<dyn Replica>)
    }

    fn replicas(&self) -> Vec<Arc<dyn Replica>> {
        vec![Arc::clone(&self.applied) as Arc<dyn Replica>]
    }
}

impl Replica for Log {
    fn name(&self) -> ReplicaName {
        self.name
    }

    fn probe<'a>(&'a self, shards: Shards<'a>) -> BoxFuture<'a, Result<Frontiers, ProbeError>> {
        let end = self.end.load(Ordering::SeqCst);
        let shards = match shards {
            Shards::All => (1..=end).map(Shard).collect(),
            Shards::Of(shards) => shards.to_vec(),
        };
        let at_end = move |shard| (shard, Frontier::new(EPOCH, Position(end)));
        Box::pin(async move { Ok(shards.into_iter().map(at_end).collect()) })
    }
}
