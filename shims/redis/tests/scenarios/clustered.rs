//! A cluster, the store over it, and a key of each shard.

use std::time::Duration;

use antipode_barrier::{BarrierError, Registry, Report};
use antipode_docker::{Member, RedisClusterOptions, RedisClusterTopology, RedisNode};
use antipode_lineage::{Lineage, LineageScope, StoreName, WriteId};
use antipode_redis::redis::aio::MultiplexedConnection;
use antipode_redis::redis::{AsyncCommands, Client, cmd, pipe};
use antipode_redis::{RedisClusterStore, RedisStore};

/// Long enough for a busy machine. Nothing is asserted about how long anything took.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Long enough for a write to arrive, if it were on its way.
pub(crate) const MOMENT: Duration = Duration::from_millis(700);

/// A key of each of the three shards, and the slot of the first.
pub(crate) const KEYS: [&str; 3] = ["b", "c", "a"];
pub(crate) const SLOT: u16 = 3300;

pub(crate) struct Clustered {
    pub(crate) topology: RedisClusterTopology,
    pub(crate) store: RedisClusterStore,
}

impl Clustered {
    /// Three primaries, each with these many replicas, of which the service reads from the first.
    pub(crate) async fn start(replicas: usize) -> Self {
        let options = RedisClusterOptions::default().replicas(replicas);
        let topology = RedisClusterTopology::start(options).await.unwrap();
        let store = store(&topology, &[0]);
        Self { topology, store }
    }

    /// Writes through the shim, in a scope of its own.
    pub(crate) async fn write(&self, key: &str, value: &str) -> WriteId {
        let scope = LineageScope::new();
        let mut posts = self.store.connection().await.unwrap().within(scope.clone());
        let () = posts.set(key, value).await.unwrap();
        let lineage = scope.lineage();
        let [write] = lineage.of_store(name("posts")) else { panic!("not one write: {lineage}") };
        assert!(!write.is_unplaced(), "{write}");
        *write
    }

    pub(crate) async fn registry(&self) -> Registry {
        registry(&self.store).await
    }

    /// A field of `INFO` at a server.
    pub(crate) async fn info(&self, node: &RedisNode, field: &str) -> String {
        let info: String = cmd("INFO").query_async(&mut raw(node).await).await.unwrap();
        let line = info.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        line.unwrap_or_else(|| panic!("no {field} in {info}")).to_owned()
    }
}

/// The store of a service whose regions are made of the replicas of these indices.
pub(crate) fn store(topology: &RedisClusterTopology, regions: &[usize]) -> RedisClusterStore {
    let builder = RedisStore::cluster("posts");
    let builder = topology.nodes().fold(builder, |builder, node| builder.node(client(node)));
    let region = |builder: antipode_redis::RedisClusterStoreBuilder, index: &usize| {
        let nodes = (0..topology.shards()).map(|shard| client(topology.node(shard, Member::Replica(*index))));
        builder.region(format!("replica-{index}"), nodes)
    };
    regions.iter().fold(builder, region).build().unwrap()
}

pub(crate) async fn registry(store: &RedisClusterStore) -> Registry {
    Registry::builder().store(store.clone()).deadline(PATIENCE).build().await.unwrap()
}

pub(crate) fn client(node: &RedisNode) -> Client {
    Client::open(node.url()).unwrap()
}

/// The driver's connection, which waits for as long as it takes.
pub(crate) async fn raw(node: &RedisNode) -> MultiplexedConnection {
    node.connect().await.unwrap()
}

/// What a server really shows, asked for with the plain driver; `None` also if the key is not its.
pub(crate) async fn peek(node: &RedisNode, key: &str) -> Option<String> {
    let mut asked = pipe();
    asked.add_command(cmd("READONLY")).ignore().get(key);
    let shown: Result<(Option<String>,), _> = asked.query_async(&mut raw(node).await).await;
    shown.ok().and_then(|(value,)| value)
}

pub(crate) fn name(name: &str) -> StoreName {
    StoreName::parse(name).unwrap()
}

pub(crate) async fn barrier(registry: &Registry, write: WriteId) -> Result<Report, BarrierError> {
    registry.barrier_on(&Lineage::from(write)).await
}

/// A barrier that is not given the time to see anything arrive: why it did not pass.
pub(crate) async fn glance(registry: &Registry, write: WriteId) -> BarrierError {
    let error = registry.barrier_on(&Lineage::from(write)).deadline(MOMENT).await.unwrap_err();
    assert!(error.is_timeout() || error.is_store_down(), "{error}");
    error
}
