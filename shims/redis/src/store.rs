//! The store that is registered.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use antipode_barrier::{BoxFuture, CheckError, Ledger, Observer, OnMissing, Replica, Store};
use antipode_lineage::{InvalidName, LineageScope, ReplicaName, StoreName};
use redis::aio::ConnectionManager;
use redis::{Client, cmd};

use crate::check;
use crate::error::Error;
use crate::histories::Histories;
use crate::ledger::{RETENTION, RedisLedger};
use crate::replication::Sharding;
use crate::server::Server;
use crate::shared::Shared;
use crate::shim::RedisShim;

/// The name of the primary among the servers to read from.
pub(crate) const PRIMARY: &str = "primary";

/// A Redis primary with the replicas that this process reads from. Register it for barriers; its
/// shims carry lineage. A clone shares everything.
///
/// A position is the replication offset within one replication id. **What a barrier promises:** the
/// replica has applied the replication stream up to and including the write. No protection against
/// expiry, eviction and overwriting. Redis may lose acknowledged writes in a failover: they are
/// reported as lost, or as indeterminate where no server knows the history any more.
///
/// ```no_run
/// use antipode_barrier::Registry;
/// use antipode_redis::{RedisStore, redis::{AsyncCommands, Client}};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let posts = RedisStore::builder("posts")
///     .primary(Client::open("redis://us.example/")?)
///     .replica("eu", Client::open("redis://eu.example/")?)
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
pub struct RedisStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    primary: Arc<Server>,
    replicas: Vec<Arc<Server>>,
    ledger: Arc<RedisLedger>,
}

/// Builds a [`RedisStore`]. Connects to nothing.
#[derive(Debug)]
#[must_use = "call `build`"]
pub struct RedisStoreBuilder {
    name: String,
    primary: Option<Client>,
    replicas: Vec<(String, Client)>,
    on_missing: OnMissing,
    response_timeout: Option<Duration>,
    branch_retention: Duration,
}

impl RedisStore {
    /// Begins a store of the name that all services use for it.
    pub fn builder(name: impl Into<String>) -> RedisStoreBuilder {
        RedisStoreBuilder {
            name: name.into(),
            primary: None,
            replicas: Vec::new(),
            on_missing: OnMissing::default(),
            response_timeout: None,
            branch_retention: RETENTION,
        }
    }

    /// A shim around a connection of your own to any server of this store.
    pub fn shim<C>(&self, connection: C) -> RedisShim<C> {
        RedisShim::new(connection, Arc::clone(&self.inner.shared))
    }

    /// A shim to the primary, over a connection that this process shares and that reconnects by
    /// itself. For blocking commands and `WATCH`, use [`shim`](Self::shim).
    ///
    /// # Errors
    /// [`Error::Connect`] if there is no connection yet and none can be made.
    pub async fn connection(&self) -> Result<RedisShim<ConnectionManager>, Error> {
        Ok(self.shim(self.inner.primary.connection().await?))
    }

    /// A shim to the server that the current scope's reads go to: the replica that its last barrier
    /// proved fresh, else the preferred one, else the primary. Take it after the barrier.
    ///
    /// # Errors
    /// [`Error::Connect`], or [`Error::UnknownReplica`] if the route is of another process.
    pub async fn read_connection(&self) -> Result<RedisShim<ConnectionManager>, Error> {
        match LineageScope::current().and_then(|scope| scope.route(self.name())) {
            Some(route) => self.connection_to(route).await,
            None => {
                let preferred = self.inner.replicas.first().unwrap_or(&self.inner.primary);
                Ok(self.shim(preferred.connection().await?))
            }
        }
    }

    /// The same for an explicit scope, which is recorded into as well.
    ///
    /// # Errors
    /// Those of [`read_connection`](Self::read_connection).
    pub async fn read_connection_within(
        &self,
        scope: &LineageScope,
    ) -> Result<RedisShim<ConnectionManager>, Error> {
        Ok(scope.run(self.read_connection()).await?.within(scope.clone()))
    }

    /// A shim to the replica of this name, or to the primary if it is `primary`.
    ///
    /// # Errors
    /// [`Error::Connect`], or [`Error::UnknownReplica`].
    pub async fn connection_to(&self, replica: ReplicaName) -> Result<RedisShim<ConnectionManager>, Error> {
        let server = self.servers().find(|server| server.name == replica);
        let server = server.ok_or(Error::UnknownReplica { store: self.name(), replica })?;
        Ok(self.shim(server.connection().await?))
    }

    /// How many commands passed without a lineage to record into.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.inner.shared.recorder.missed()
    }

    async fn checked(&self) -> Result<(), CheckError> {
        let primary = &self.inner.primary;
        check::store(primary, &self.inner.replicas).await?;
        let commands = primary.ask(&cmd("COMMAND")).await;
        let commands = commands.and_then(|commands| self.inner.shared.learn(commands));
        commands.map(|_| ()).map_err(|error| {
            check::refuse(primary, "does not list its commands: check that its ACL allows COMMAND")
                .with_source(error)
        })
    }

    fn servers(&self) -> impl Iterator<Item = &Arc<Server>> {
        self.inner.replicas.iter().chain([&self.inner.primary])
    }
}

impl Store for RedisStore {
    fn name(&self) -> StoreName {
        self.inner.shared.store()
    }

    fn primary(&self) -> Option<Arc<dyn Replica>> {
        Some(Arc::clone(&self.inner.primary) as _)
    }

    fn replicas(&self) -> Vec<Arc<dyn Replica>> {
        let replicas: Vec<_> = self.inner.replicas.iter().map(|replica| Arc::clone(replica) as _).collect();
        if replicas.is_empty() { vec![Arc::clone(&self.inner.primary) as _] } else { replicas }
    }

    fn check(&self) -> BoxFuture<'_, Result<(), CheckError>> {
        Box::pin(self.checked())
    }

    fn ledger(&self) -> Option<Arc<dyn Ledger>> {
        Some(Arc::clone(&self.inner.ledger) as _)
    }

    fn observed_by(&self, observer: Arc<dyn Observer>) {
        self.inner.shared.recorder.observed_by(observer);
    }
}

impl RedisStoreBuilder {
    /// Where writes go.
    pub fn primary(self, client: Client) -> Self {
        Self { primary: Some(client), ..self }
    }

    /// Adds a replica that this process reads from, the preferred one first. Without any, it reads
    /// from the primary.
    ///
    /// The address must lead to one and the same server every time: put no load balancer between.
    pub fn replica(mut self, name: impl Into<String>, client: Client) -> Self {
        self.replicas.push((name.into(), client));
        self
    }

    /// What to do with commands outside of any lineage scope. They pass and are counted by default.
    pub fn on_missing(self, on_missing: OnMissing) -> Self {
        Self { on_missing, ..self }
    }

    /// How long connecting and each reply may take on the connections that this process shares, those of
    /// [`RedisStore::connection`] and [`RedisStore::read_connection`]. A write that exceeds it may have
    /// happened: it stays in the lineage without a position. The driver's own limits are 1 s and 500 ms.
    pub fn response_timeout(self, limit: Duration) -> Self {
        Self { response_timeout: Some(limit), ..self }
    }

    /// How long the [branches](antipode_barrier::Registry::branch) in this store's ledger are known after
    /// they ended; a lineage older than that cannot be waited for as a whole. A day by default.
    pub fn branch_retention(self, retention: Duration) -> Self {
        Self { branch_retention: retention, ..self }
    }

    /// The store.
    ///
    /// # Errors
    /// [`Error::Name`], [`Error::NoPrimary`] and [`Error::DuplicateReplica`]. `primary` is the
    /// primary's own name.
    pub fn build(self) -> Result<RedisStore, Error> {
        let store: StoreName = parse(self.name)?;
        let histories = Arc::<Histories>::default();
        let limit = self.response_timeout;
        let server = |name, client| {
            Arc::new(Server::new(store, name, client, Arc::clone(&histories)).with_response_timeout(limit))
        };
        let primary: ReplicaName = parse(PRIMARY.to_owned())?;
        let mut replicas: Vec<Arc<Server>> = Vec::with_capacity(self.replicas.len());
        for (name, client) in self.replicas {
            let replica: ReplicaName = parse(name)?;
            if replica == primary || replicas.iter().any(|known| known.name == replica) {
                return Err(Error::DuplicateReplica { store, replica });
            }
            replicas.push(server(replica, client));
        }
        let primary = server(primary, self.primary.ok_or(Error::NoPrimary { store })?);
        let inner = Inner {
            shared: Shared::new(store, self.on_missing, Sharding::Single),
            ledger: Arc::new(RedisLedger::new(Arc::clone(&primary), self.branch_retention)),
            primary,
            replicas,
        };
        Ok(RedisStore { inner: Arc::new(inner) })
    }
}

pub(crate) fn parse<N: FromStr<Err = InvalidName>>(name: String) -> Result<N, Error> {
    name.parse().map_err(|source| Error::Name { name, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client() -> Client {
        Client::open("redis://127.0.0.1:1/").unwrap()
    }

    #[test]
    fn a_store_is_refused_with_what_to_do() {
        let refused = |builder: RedisStoreBuilder| builder.build().unwrap_err().to_string();
        assert!(refused(RedisStore::builder("posts")).contains("posts has no primary"));
        assert!(refused(RedisStore::builder("Posts").primary(client())).contains("\"Posts\" cannot name"));
        let twice = RedisStore::builder("posts").primary(client()).replica("eu", client());
        assert!(refused(twice.replica("eu", client())).contains("two servers named eu"));
        let primary = RedisStore::builder("posts").primary(client()).replica("primary", client());
        assert!(refused(primary).contains("named primary"));
    }

    #[tokio::test]
    async fn reads_go_where_the_scope_says() {
        let store = RedisStore::builder("posts").primary(client()).replica("eu", client()).build().unwrap();
        let reached = async |scope: &LineageScope| match store.read_connection_within(scope).await {
            Err(Error::Connect { replica, .. } | Error::UnknownReplica { replica, .. }) => {
                replica.to_string()
            }
            other => panic!("nothing listens there: {other:?}"),
        };
        let scope = LineageScope::new();
        assert_eq!(reached(&scope).await, "eu");
        for route in ["primary", "eu", "us"] {
            scope.set_route(store.name(), route.parse().unwrap());
            assert_eq!(reached(&scope).await, route);
        }
    }
}
