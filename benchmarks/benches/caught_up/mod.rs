//! A store whose replica is always up to date, with as many shards as wanted: what is measured with it
//! is the engine alone.

use std::sync::Arc;
use std::time::Duration;

use antipode::barrier::{BoxFuture, Frontier, Frontiers, ProbeError, Registry, Replica, Shards, Store};
use antipode::lineage::{Epoch, Lineage, Position, ReplicaName, Shard, StoreName, WriteId};

const EPOCH: Epoch = Epoch { history: 0x5eed_5eed_5eed_5eed, term: 3 };
const APPLIED: Position = Position(1_000_000);

/// Stores that are caught up, and a lineage of one write in each of their shards. The registry has asked
/// them once, and believes the answers for an hour.
pub(crate) async fn caught_up(stores: u64, shards: u64) -> (Registry, Lineage) {
    let names = (0..stores).map(|store| StoreName::parse(format!("store-{store}")).expect("a name"));
    let names: Vec<StoreName> = names.collect();
    let hour = Duration::from_secs(3600);
    let registry = names.iter().fold(Registry::builder().frontier_ttl(hour), |registry, name| {
        registry.store(CaughtUp { name: *name, shards })
    });
    let registry = registry.build().await.expect("a registry");
    let lineage = names.iter().flat_map(|name| (0..shards).map(|shard| write(*name, shard))).collect();
    registry.barrier_on(&lineage).await.expect("visible");
    (registry, lineage)
}

/// A write that the stores have applied.
pub(crate) fn write(store: StoreName, shard: u64) -> WriteId {
    WriteId { store, shard: Shard(shard), epoch: EPOCH, position: Position(APPLIED.0 - shard) }
}

/// What the only replica is called.
pub(crate) fn replica() -> ReplicaName {
    ReplicaName::parse("eu").expect("a name")
}

#[derive(Clone, Copy)]
struct CaughtUp {
    name: StoreName,
    shards: u64,
}

impl Store for CaughtUp {
    fn name(&self) -> StoreName {
        self.name
    }

    fn primary(&self) -> Option<Arc<dyn Replica>> {
        None
    }

    fn replicas(&self) -> Vec<Arc<dyn Replica>> {
        vec![Arc::new(*self)]
    }
}

impl Replica for CaughtUp {
    fn name(&self) -> ReplicaName {
        replica()
    }

    fn probe<'a>(&'a self, _shards: Shards<'a>) -> BoxFuture<'a, Result<Frontiers, ProbeError>> {
        let frontiers = (0..self.shards).map(|shard| (Shard(shard), Frontier::new(EPOCH, APPLIED))).collect();
        Box::pin(async { Ok(frontiers) })
    }
}
