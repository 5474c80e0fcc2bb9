//! A primary, its replicas, and the store over them.

use std::time::Duration;

use antipode_barrier::{BarrierError, Registry, Report};
use antipode_docker::{RedisNode, RedisOptions, RedisTopology};
use antipode_lineage::{Epoch, Lineage, LineageScope, Position, Shard, StoreName, WriteId};
use antipode_redis::RedisStore;
use antipode_redis::redis::aio::MultiplexedConnection;
use antipode_redis::redis::{AsyncConnectionConfig, Client, FromRedisValue, cmd};

/// Long enough for a busy machine. Nothing is asserted about how long anything took.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Long enough for a write to arrive, if it were on its way.
pub(crate) const MOMENT: Duration = Duration::from_millis(500);

pub(crate) struct Stage {
    pub(crate) topology: RedisTopology,
    pub(crate) store: RedisStore,
}

impl Stage {
    /// A primary and two replicas, of which the service reads from both.
    pub(crate) async fn start() -> Self {
        Self::with(RedisOptions::default()).await
    }

    pub(crate) async fn with(options: RedisOptions) -> Self {
        let topology = RedisTopology::start(options).await.unwrap();
        let indices: Vec<usize> = (0..topology.replicas().len()).collect();
        let store = store(topology.primary(), &replicas(&topology, &indices));
        Self { topology, store }
    }

    /// The store of a service that reads from these replicas.
    pub(crate) fn reading(&self, indices: &[usize]) -> RedisStore {
        store(self.topology.primary(), &replicas(&self.topology, indices))
    }

    /// The driver's connection to the primary.
    pub(crate) async fn raw(&self) -> MultiplexedConnection {
        raw(self.topology.primary()).await
    }

    /// A field of `INFO` at a server.
    pub(crate) async fn info(&self, node: &RedisNode, field: &str) -> String {
        let info: String = cmd("INFO").query_async(&mut raw(node).await).await.unwrap();
        let line = info.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        line.unwrap_or_else(|| panic!("no {field} in {info}")).to_owned()
    }
}

pub(crate) fn replicas(topology: &RedisTopology, indices: &[usize]) -> Vec<(String, Client)> {
    indices.iter().map(|index| (format!("replica-{index}"), client(topology.replica(*index)))).collect()
}

pub(crate) fn store(primary: &RedisNode, replicas: &[(String, Client)]) -> RedisStore {
    let builder = RedisStore::builder("posts").primary(client(primary)).response_timeout(PATIENCE);
    let add = |builder: antipode_redis::RedisStoreBuilder, (name, client): &(String, Client)| {
        builder.replica(name, client.clone())
    };
    replicas.iter().fold(builder, add).build().unwrap()
}

pub(crate) async fn registry(store: &RedisStore) -> Registry {
    Registry::builder().store(store.clone()).deadline(PATIENCE).build().await.unwrap()
}

pub(crate) fn client(node: &RedisNode) -> Client {
    Client::open(node.url()).unwrap()
}

/// The driver's connection, which waits for as long as it takes.
pub(crate) async fn raw(node: &RedisNode) -> MultiplexedConnection {
    node.connect().await.unwrap()
}

pub(crate) async fn raw_client(client: &Client) -> MultiplexedConnection {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(PATIENCE))
        .set_response_timeout(Some(PATIENCE));
    client.get_multiplexed_async_connection_with_config(&config).await.unwrap()
}

/// What a server really shows, asked for with the plain driver.
pub(crate) async fn peek<T: FromRedisValue>(node: &RedisNode, key: &str) -> T {
    cmd("GET").arg(key).query_async(&mut raw(node).await).await.unwrap()
}

/// A dependency on another store, as it comes with a request.
pub(crate) fn foreign(position: u64) -> WriteId {
    let epoch = Epoch { history: 7, term: 1 };
    WriteId { store: name("orders"), shard: Shard::ONLY, epoch, position: Position(position) }
}

/// A scope that depends on this.
pub(crate) fn depending(write: WriteId) -> LineageScope {
    LineageScope::from(Lineage::from(write))
}

pub(crate) fn name(name: &str) -> StoreName {
    StoreName::parse(name).unwrap()
}

/// The one write of the store that the scope depends on.
pub(crate) fn placed(scope: &LineageScope) -> WriteId {
    let lineage = scope.lineage();
    let [write] = lineage.of_store(name("posts")) else { panic!("not one write: {lineage}") };
    *write
}

pub(crate) async fn barrier(registry: &Registry, write: WriteId) -> Result<Report, BarrierError> {
    registry.barrier_on(&Lineage::from(write)).await
}

/// A barrier that is not given the time to see anything arrive: why it did not pass.
pub(crate) async fn glance(registry: &Registry, write: WriteId) -> BarrierError {
    let error = registry.barrier_on(&Lineage::from(write)).deadline(MOMENT).await.unwrap_err();
    // On a busy machine the replica may not even answer in time.
    assert!(error.is_timeout() || error.is_store_down() || error.is_indeterminate(), "{error}");
    error
}
