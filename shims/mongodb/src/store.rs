//! The store that is registered.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use antipode_barrier::{BoxFuture, CheckError, Observer, OnMissing, Recorder, Replica, Store};
use antipode_lineage::{InvalidName, LineageScope, ReplicaName, StoreName};
use mongodb::Client;

use crate::check;
use crate::error::Error;
use crate::hello::Reach;
use crate::history::History;
use crate::hold::Clock;
use crate::server::Server;

/// The name of the primary among the servers to read from.
const PRIMARY: &str = "primary";

/// A MongoDB replica set with the members that this process reads from. Register it for barriers; a
/// clone shares everything.
///
/// A position is an optime: the election term, and the timestamp in the log.
/// **What a barrier promises:** the member has applied the log up to and including the write, so
/// reads with read concern `local` (the driver's default), `available` or a causal session's see it.
/// A read with read concern `majority` may see it a moment later, when the member has heard that a
/// majority has it. A write acknowledged by a majority is never rolled back. One acknowledged by fewer
/// (`w: 1`) is best effort, its lineage is marked weak: an election can cut it off, and then it is
/// reported as lost as soon as a majority has confirmed that election.
///
/// The role of the clients needs `clusterMonitor`, and `read` on the database `local`, if the servers
/// have access control: where an election cut the log is read from there.
#[derive(Debug, Clone)]
pub struct MongoStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    recorder: Recorder,
    primary: Arc<Server>,
    replicas: Vec<Arc<Server>>,
    capture_limit: Duration,
}

impl MongoStore {
    /// Begins a store of the name that all services use for it.
    pub fn builder(name: impl Into<String>) -> MongoStoreBuilder {
        MongoStoreBuilder {
            name: name.into(),
            primary: None,
            replicas: Vec::new(),
            on_missing: OnMissing::default(),
            capture_limit: Duration::from_secs(1),
        }
    }

    /// The client of the primary. What goes through it is outside of the lineage.
    #[must_use]
    pub fn inner(&self) -> &Client {
        &self.inner.primary.client
    }

    /// How many operations had no lineage to record into.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.inner.recorder.missed()
    }

    /// The scope that an operation records into.
    pub(crate) fn recorder(&self) -> &Recorder {
        &self.inner.recorder
    }

    /// Where writes go.
    pub(crate) fn primary_server(&self) -> &Arc<Server> {
        &self.inner.primary
    }

    /// The server that the scope's reads go to: the one that its last barrier proved fresh, else the
    /// preferred one, else the primary.
    ///
    /// # Errors
    /// [`Error::UnknownReplica`] if the route is of another process.
    pub(crate) fn route(&self, scope: Option<&LineageScope>) -> Result<&Arc<Server>, Error> {
        let Inner { primary, replicas, .. } = self.inner.as_ref();
        let Some(replica) = scope.and_then(|scope| scope.route(self.name())) else {
            return Ok(replicas.first().unwrap_or(primary));
        };
        let server = replicas.iter().chain([primary]).find(|server| server.name == replica);
        server.ok_or(Error::UnknownReplica { store: self.name(), replica })
    }

    /// How long the position of an operation may take to be learnt.
    pub(crate) fn capture_limit(&self) -> Duration {
        self.inner.capture_limit
    }
}

impl Store for MongoStore {
    fn name(&self) -> StoreName {
        self.inner.recorder.store()
    }

    fn primary(&self) -> Option<Arc<dyn Replica>> {
        Some(Arc::clone(&self.inner.primary) as _)
    }

    fn replicas(&self) -> Vec<Arc<dyn Replica>> {
        let Inner { primary, replicas, .. } = self.inner.as_ref();
        let readable = if replicas.is_empty() { std::slice::from_ref(primary) } else { replicas };
        readable.iter().map(|server| Arc::clone(server) as _).collect()
    }

    fn check(&self) -> BoxFuture<'_, Result<(), CheckError>> {
        Box::pin(check::store(&self.inner.primary, &self.inner.replicas))
    }

    fn observed_by(&self, observer: Arc<dyn Observer>) {
        self.inner.recorder.observed_by(observer);
    }
}

/// Builds a [`MongoStore`]. Connects to nothing.
#[derive(Debug)]
#[must_use = "call `build`"]
pub struct MongoStoreBuilder {
    name: String,
    primary: Option<Client>,
    replicas: Vec<(String, Client)>,
    on_missing: OnMissing,
    capture_limit: Duration,
}

impl MongoStoreBuilder {
    /// Where writes go: a client of the replica set, which finds the primary by itself, also after an
    /// election.
    pub fn primary(self, client: Client) -> Self {
        Self { primary: Some(client), ..self }
    }

    /// Adds a member that this process reads from, the preferred one first. Without any, it reads from
    /// the primary.
    ///
    /// The client must be connected to that one member: `directConnection=true`.
    pub fn replica(mut self, name: impl Into<String>, client: Client) -> Self {
        self.replicas.push((name.into(), client));
        self
    }

    /// What to do with operations outside of any lineage scope. They pass and are counted by default.
    pub fn on_missing(self, on_missing: OnMissing) -> Self {
        Self { on_missing, ..self }
    }

    /// How long the position of an operation may take to be learnt, beside the request. 1 s by
    /// default. After that an [unplaced write](antipode_lineage::WriteId::unplaced) stands for it.
    pub fn capture_limit(self, limit: Duration) -> Self {
        Self { capture_limit: limit, ..self }
    }

    /// The store.
    ///
    /// # Errors
    /// [`Error::Name`], [`Error::NoPrimary`] and [`Error::DuplicateReplica`]. `primary` is the
    /// primary's own name.
    pub fn build(self) -> Result<MongoStore, Error> {
        let store: StoreName = parse(self.name)?;
        let primary_client = self.primary.ok_or(Error::NoPrimary { store })?;
        let (history, clock) = (Arc::<History>::default(), Arc::new(Clock::new(primary_client.clone())));
        let server = |name, client, reach| {
            Arc::new(Server::new(store, name, client, reach, Arc::clone(&history), &clock))
        };
        let primary: ReplicaName = parse(PRIMARY.to_owned())?;
        let mut replicas: Vec<Arc<Server>> = Vec::with_capacity(self.replicas.len());
        for (name, client) in self.replicas {
            let replica: ReplicaName = parse(name)?;
            if replica == primary || replicas.iter().any(|known| known.name == replica) {
                return Err(Error::DuplicateReplica { store, replica });
            }
            replicas.push(server(replica, client, Reach::Direct));
        }
        let inner = Inner {
            recorder: Recorder::new(store, self.on_missing),
            primary: server(primary, primary_client, Reach::Primary),
            replicas,
            capture_limit: self.capture_limit,
        };
        Ok(MongoStore { inner: Arc::new(inner) })
    }
}

fn parse<N: FromStr<Err = InvalidName>>(name: String) -> Result<N, Error> {
    name.parse().map_err(|source| Error::Name { name, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn client() -> Client {
        Client::with_uri_str("mongodb://127.0.0.1:1/?directConnection=true").await.unwrap()
    }

    #[tokio::test]
    async fn a_store_is_refused_with_what_to_do() {
        let client = client().await;
        let refused = |builder: MongoStoreBuilder| builder.build().unwrap_err().to_string();
        assert!(refused(MongoStore::builder("posts")).contains("posts has no primary"));
        assert!(
            refused(MongoStore::builder("Posts").primary(client.clone())).contains("\"Posts\" cannot name")
        );
        let eu = MongoStore::builder("posts").primary(client.clone()).replica("eu", client.clone());
        assert!(refused(eu.replica("eu", client.clone())).contains("two servers named eu"));
        let primary = MongoStore::builder("posts").primary(client.clone()).replica("primary", client);
        assert!(refused(primary).contains("named primary"));
    }

    #[tokio::test]
    async fn reads_go_where_the_scope_says() {
        let client = client().await;
        let store = MongoStore::builder("posts").primary(client.clone()).replica("eu", client);
        let store = store.build().unwrap();
        let scope = LineageScope::new();
        assert_eq!(store.route(None).unwrap().name.as_str(), "eu");
        for route in ["primary", "eu"] {
            scope.set_route(store.name(), route.parse().unwrap());
            assert_eq!(store.route(Some(&scope)).unwrap().name.as_str(), route);
        }
        scope.set_route(store.name(), "us".parse().unwrap());
        assert!(store.route(Some(&scope)).unwrap_err().to_string().contains("no replica us"));
    }
}
