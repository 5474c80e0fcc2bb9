//! The store that is registered.

use std::sync::Arc;

use antipode_barrier::{BoxFuture, CheckError, Observer, OnMissing, Replica, Store};
use antipode_lineage::{LineageScope, ReplicaName, StoreName};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::{Client, RedisError, cmd};
use tokio::sync::OnceCell;

use super::check;
use super::connection::RedisClusterConnection;
use super::nodes::Nodes;
use super::primaries::Primaries;
use super::region::Region;
use crate::check::refuse;
use crate::error::Error;
use crate::replication::Sharding;
use crate::server::Server;
use crate::shared::Shared;
use crate::shim::RedisShim;
use crate::store::{PRIMARY, RedisStore, parse};

/// How often the driver repeats a request that a server puts off, because its slot is on the move or
/// has no primary, and how long it waits in between, in ms: some three seconds in all. By default it
/// goes on for many minutes.
const RETRIES: u32 = 16;
const MIN_WAIT: u64 = 10;
const MAX_WAIT: u64 = 400;

/// A Redis Cluster with the replicas that this process reads from. Register it for barriers; its
/// shims carry lineage. A clone shares everything.
///
/// Each shard has a log of its own, called by its replication id: a position is (replication id,
/// offset) there. A barrier asks only for the shards that the lineage names. A replica that takes
/// over knows which id it left, so a position is found, or reported as lost, over failovers; other
/// shards are not concerned. **What a barrier promises** is what [`RedisStore`] promises, for all
/// keys that the shim reads through the route.
///
/// # When slots move
/// The value goes into another log. When a node of a region first sees that a slot has a new owner,
/// nothing is said to be visible in that region until its replica of the *new* owner has applied all
/// that the new owner had by then. While the slot is still on the move, keys that the replica has not
/// got are asked for at the primary (see [`RedisClusterConnection`]).
///
/// - A move that ended before this process registered the store is taken for replicated: start (or
///   register) after a rebalancing only when replicas have caught up.
/// - Redis itself may lose what was just moved if the new owner fails over: that is not seen.
/// - While a slot is on the move, Redis refuses commands on several keys that are not all on one side,
///   which a key with its lineage is (`TRYAGAIN`). They are repeated for some three seconds.
///
/// ```no_run
/// use antipode_barrier::Registry;
/// use antipode_redis::{RedisStore, redis::{AsyncCommands, Client}};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let eu = ["redis://eu1.example/", "redis://eu2.example/", "redis://eu3.example/"];
/// let eu = eu.into_iter().map(Client::open).collect::<Result<Vec<_>, _>>()?;
/// let posts = RedisStore::cluster("posts")
///     .node(Client::open("redis://us1.example/")?)
///     .region("eu", eu)
///     .build()?;
/// let registry = Registry::builder().store(posts.clone()).build().await?;
///
/// // In a handler, inside of the request's lineage scope:
/// let () = posts.connection().await?.set("post:1", "hello").await?;
/// // In another service, inside of the scope of what it received:
/// registry.barrier().await?;
/// let post: String = posts.read_connection().await?.get("post:1").await?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct RedisClusterStore {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    client: ClusterClient,
    writes: OnceCell<ClusterConnection>,
    seeds: Vec<Arc<Server>>,
    primaries: Arc<Primaries>,
    regions: Vec<Arc<Region>>,
}

/// Builds a [`RedisClusterStore`]. Connects to nothing.
#[derive(Debug)]
#[must_use = "call `build`"]
pub struct RedisClusterStoreBuilder {
    name: String,
    nodes: Vec<Client>,
    regions: Vec<(String, Vec<Client>)>,
    on_missing: OnMissing,
}

impl RedisStore {
    /// Begins a store over a Redis Cluster, of the name that all services use for it.
    pub fn cluster(name: impl Into<String>) -> RedisClusterStoreBuilder {
        RedisClusterStoreBuilder {
            name: name.into(),
            nodes: Vec::new(),
            regions: Vec::new(),
            on_missing: OnMissing::default(),
        }
    }
}

impl RedisClusterStore {
    /// A shim around the driver's connection to a cluster of your own making. Let it read from
    /// primaries, as it does by default. Other than [`connection`](Self::connection), it does not
    /// follow redirects within transactions.
    pub fn shim(&self, connection: ClusterConnection) -> RedisShim<ClusterConnection> {
        RedisShim::new(connection, Arc::clone(&self.inner.shared))
    }

    /// A shim to the primaries, over a connection that this process shares.
    ///
    /// All commands of one pipeline or transaction must have their keys in one slot, as always with
    /// the driver; so must the keys of one command. A key without a hash tag that contains `}` cannot
    /// be used. If the slot moves while a pipeline is executed, the driver sends all of it again: put
    /// what must not happen twice into a transaction, or a command of its own.
    ///
    /// # Errors
    /// [`Error::Connect`] if there is no connection yet and none can be made.
    pub async fn connection(&self) -> Result<RedisShim<RedisClusterConnection>, Error> {
        self.connection_to(self.inner.primaries.name()).await
    }

    /// A shim to the region that the current scope's reads go to: the one that its last barrier
    /// proved fresh, else the preferred one. Take it after the barrier.
    ///
    /// # Errors
    /// [`Error::Connect`], or [`Error::UnknownReplica`] if the route is of another process.
    pub async fn read_connection(&self) -> Result<RedisShim<RedisClusterConnection>, Error> {
        let route = LineageScope::current().and_then(|scope| scope.route(self.name()));
        let preferred = self.inner.regions.first().map(|region| region.name);
        self.connection_to(route.or(preferred).unwrap_or_else(|| self.inner.primaries.name())).await
    }

    /// The same for an explicit scope, which is recorded into as well.
    ///
    /// # Errors
    /// Those of [`read_connection`](Self::read_connection).
    pub async fn read_connection_within(
        &self,
        scope: &LineageScope,
    ) -> Result<RedisShim<RedisClusterConnection>, Error> {
        Ok(scope.run(self.read_connection()).await?.within(scope.clone()))
    }

    /// A shim to the region of this name, or to the primaries if it is `primary`.
    ///
    /// # Errors
    /// [`Error::Connect`], or [`Error::UnknownReplica`].
    pub async fn connection_to(
        &self,
        replica: ReplicaName,
    ) -> Result<RedisShim<RedisClusterConnection>, Error> {
        let mut regions = self.inner.regions.iter();
        let region = regions.find(|region| region.name == replica).cloned();
        if region.is_none() && replica != self.inner.primaries.name() {
            return Err(Error::UnknownReplica { store: self.name(), replica });
        }
        let mut writes = self.writes().await?;
        let table = self.inner.shared.commands(&mut writes).await.map_err(|error| self.failed(error))?;
        if let Some(region) = &region {
            region.look().await;
        }
        let connection = RedisClusterConnection::new(region, writes, table);
        Ok(RedisShim::new(connection, Arc::clone(&self.inner.shared)))
    }

    /// How many commands passed without a lineage to record into.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.inner.shared.recorder.missed()
    }

    async fn writes(&self) -> Result<ClusterConnection, Error> {
        let connect = || self.inner.client.get_async_connection();
        self.inner.writes.get_or_try_init(connect).await.cloned().map_err(|error| self.failed(error))
    }

    fn failed(&self, source: RedisError) -> Error {
        Error::Connect { store: self.name(), replica: self.inner.primaries.name(), source }
    }

    async fn checked(&self) -> Result<(), CheckError> {
        check::cluster(&self.inner.seeds, &self.inner.regions).await?;
        for seed in &self.inner.seeds {
            let Ok(commands) = seed.ask(&cmd("COMMAND")).await else { continue };
            let learnt = self.inner.shared.learn(commands).map(|_| ());
            return learnt.map_err(|error| {
                refuse(seed, "does not list its commands: check that its ACL allows COMMAND")
                    .with_source(error)
            });
        }
        Ok(())
    }
}

impl Store for RedisClusterStore {
    fn name(&self) -> StoreName {
        self.inner.shared.store()
    }

    fn primary(&self) -> Option<Arc<dyn Replica>> {
        Some(Arc::clone(&self.inner.primaries) as _)
    }

    fn replicas(&self) -> Vec<Arc<dyn Replica>> {
        let regions: Vec<_> = self.inner.regions.iter().map(|region| Arc::clone(region) as _).collect();
        if regions.is_empty() { vec![Arc::clone(&self.inner.primaries) as _] } else { regions }
    }

    fn check(&self) -> BoxFuture<'_, Result<(), CheckError>> {
        Box::pin(self.checked())
    }

    fn observed_by(&self, observer: Arc<dyn Observer>) {
        self.inner.shared.recorder.observed_by(observer);
    }
}

impl RedisClusterStoreBuilder {
    /// Adds a node to learn the others from, who are reached with its credentials and its TLS, at the
    /// addresses that they announce. Give several: one of them must answer.
    pub fn node(mut self, client: Client) -> Self {
        self.nodes.push(client);
        self
    }

    /// Adds a region that this process reads from, the preferred one first: a node of each shard.
    /// Without any, it reads from the primaries. Keys of a shard that has no node in the region are
    /// read at their primary.
    ///
    /// Each address must lead to one and the same server every time: put no load balancer between.
    pub fn region(mut self, name: impl Into<String>, nodes: impl IntoIterator<Item = Client>) -> Self {
        self.regions.push((name.into(), nodes.into_iter().collect()));
        self
    }

    /// What to do with commands outside of any lineage scope. They pass and are counted by default.
    pub fn on_missing(self, on_missing: OnMissing) -> Self {
        Self { on_missing, ..self }
    }

    /// The store.
    ///
    /// # Errors
    /// [`Error::Name`], [`Error::NoPrimary`] without a node, [`Error::DuplicateReplica`], and
    /// [`Error::Connect`] if the nodes' credentials differ. `primary` is the primaries' own name.
    pub fn build(self) -> Result<RedisClusterStore, Error> {
        let store: StoreName = parse(self.name)?;
        let primary: ReplicaName = parse(PRIMARY.to_owned())?;
        let first = self.nodes.first().ok_or(Error::NoPrimary { store })?;
        let nodes = Arc::new(Nodes::new(store, primary, first.clone()));
        let infos = self.nodes.iter().map(|node| node.get_connection_info().clone());
        let client = ClusterClient::builder(infos)
            .retries(RETRIES)
            .min_retry_wait(MIN_WAIT)
            .max_retry_wait(MAX_WAIT)
            .build()
            .map_err(|source| Error::Connect { store, replica: primary, source })?;
        let servers = |name: ReplicaName, clients: Vec<Client>| -> Vec<Arc<Server>> {
            let server = |client| Arc::new(Server::new(store, name, client, Arc::clone(&nodes.histories)));
            clients.into_iter().map(server).collect()
        };
        let mut regions: Vec<Arc<Region>> = Vec::with_capacity(self.regions.len());
        for (name, clients) in self.regions {
            let replica: ReplicaName = parse(name)?;
            if replica == primary || regions.iter().any(|known| known.name == replica) {
                return Err(Error::DuplicateReplica { store, replica });
            }
            regions.push(Arc::new(Region::new(replica, servers(replica, clients), Arc::clone(&nodes))));
        }
        let seeds = servers(primary, self.nodes);
        let inner = Inner {
            shared: Shared::new(store, self.on_missing, Sharding::ByHistory),
            client,
            writes: OnceCell::new(),
            primaries: Arc::new(Primaries::new(primary, seeds.clone(), nodes)),
            seeds,
            regions,
        };
        Ok(RedisClusterStore { inner: Arc::new(inner) })
    }
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner")
            .field("store", &self.shared.store())
            .field("regions", &self.regions)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client() -> Client {
        Client::open("redis://127.0.0.1:1/").unwrap()
    }

    #[test]
    fn a_store_is_refused_with_what_to_do() {
        let refused = |builder: RedisClusterStoreBuilder| builder.build().unwrap_err().to_string();
        assert!(refused(RedisStore::cluster("posts")).contains("posts has no primary"));
        assert!(refused(RedisStore::cluster("Posts").node(client())).contains("\"Posts\" cannot name"));
        let twice = RedisStore::cluster("posts").node(client()).region("eu", [client()]);
        assert!(refused(twice.region("eu", [client()])).contains("two servers named eu"));
        let primary = RedisStore::cluster("posts").node(client()).region("primary", [client()]);
        assert!(refused(primary).contains("named primary"));
    }
}
