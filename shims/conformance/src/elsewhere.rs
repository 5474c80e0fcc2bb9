//! A second store for lineages that span two: a log that its one replica follows when told to.

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

    pub(crate) fn write(&self) -> WriteId {
        let position = Position(self.written.end.fetch_add(1, Ordering::SeqCst) + 1);
        WriteId { store: self.name, shard: Shard::ONLY, epoch: EPOCH, position }
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

    fn probe<'a>(&'a self, _shards: Shards<'a>) -> BoxFuture<'a, Result<Frontiers, ProbeError>> {
        let end = Position(self.end.load(Ordering::SeqCst));
        Box::pin(async move { Ok(Frontier::new(EPOCH, end).into()) })
    }
}
