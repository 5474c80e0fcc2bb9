use std::sync::Arc;
use std::time::Duration;

use antipode_barrier::{BoxFuture, CheckError, Ledger, Observer, OnMissing, Recorder, Replica, Store};
use antipode_lineage::{LineageScope, ReplicaName, StoreName};
use sqlx::PgPool;

use crate::access::{Access, Kind};
use crate::check::{self, HistoryPolicy};
use crate::ledger::{PostgresLedger, RETENTION};
use crate::line::Role;
use crate::server::Server;
use crate::{PostgresError, PostgresReads, PostgresShim};

/// What the primary is called, as a replica.
const PRIMARY: &str = "primary";

/// A Postgres cluster: a primary and the streaming standbys that this process reads from.
///
/// Register it with a [`Registry`](antipode_barrier::Registry); a clone shares everything. Beside the
/// pools it holds one connection per server for positions, made as the pool makes its own.
/// Every pool must reach one server: put no load balancer between.
///
/// ```no_run
/// use antipode_barrier::Registry;
/// use antipode_lineage::LineageScope;
/// use antipode_postgres::PostgresStore;
/// use antipode_postgres::sqlx::{self, PgPool};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let posts = PostgresStore::builder("posts")
///     .primary(PgPool::connect("postgres://db.example/app").await?)
///     .replica("eu", PgPool::connect("postgres://db-eu.example/app").await?)
///     .build()?;
/// let registry = Registry::builder().store(posts.clone()).build().await?;
///
/// LineageScope::new()
///     .run(async {
///         let mut transaction = posts.shim().begin().await?;
///         sqlx::query("INSERT INTO posts (body) VALUES ($1)").bind("Hello").execute(&mut transaction).await?;
///         transaction.commit().await?;
///
///         registry.barrier().await?;
///         let rows = sqlx::query("SELECT * FROM posts").fetch_all(&posts.reads()).await?;
///         assert!(!rows.is_empty());
///         Ok::<(), Box<dyn std::error::Error>>(())
///     })
///     .await
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct PostgresStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    primary: Arc<Server>,
    replicas: Vec<Arc<Server>>,
    recorder: Recorder,
    capture_limit: Duration,
    history: HistoryPolicy,
    ledger: Arc<PostgresLedger>,
}

impl PostgresStore {
    /// Begins a store of this name, the one that every service uses for it.
    pub fn builder(name: impl Into<String>) -> PostgresStoreBuilder {
        PostgresStoreBuilder {
            name: name.into(),
            primary: None,
            replicas: Vec::new(),
            on_missing: OnMissing::default(),
            capture_limit: Duration::from_secs(1),
            history: HistoryPolicy::Required,
            branch_retention: RETENTION,
        }
    }

    /// The primary, for statements that write.
    #[must_use]
    pub fn shim(&self) -> PostgresShim {
        PostgresShim::new(self.access(&self.inner.primary, Kind::Write))
    }

    /// The replicas, for statements that read.
    #[must_use]
    pub fn reads(&self) -> PostgresReads {
        PostgresReads::new(self.clone())
    }

    /// The primary's pool. Statements that go through it are outside of the lineage.
    #[must_use]
    pub fn inner(&self) -> &PgPool {
        &self.inner.primary.pool
    }

    /// How many operations had no lineage to record into.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.inner.recorder.missed()
    }

    /// The server that reads in this scope go to.
    pub(crate) fn route(&self, scope: Option<&LineageScope>) -> &Arc<Server> {
        let Inner { primary, replicas, recorder, .. } = self.inner.as_ref();
        let proven = scope
            .and_then(|scope| scope.route(recorder.store()))
            .and_then(|name| replicas.iter().chain([primary]).find(|server| server.name == name));
        proven.or(replicas.first()).unwrap_or(primary)
    }

    pub(crate) fn access(&self, server: &Arc<Server>, kind: Kind) -> Access {
        Access {
            server: Arc::clone(server),
            primary: Arc::clone(&self.inner.primary),
            kind,
            recorder: self.inner.recorder.clone(),
            limit: self.inner.capture_limit,
        }
    }
}

impl Store for PostgresStore {
    fn name(&self) -> StoreName {
        self.inner.recorder.store()
    }

    fn primary(&self) -> Option<Arc<dyn Replica>> {
        Some(Arc::<Server>::clone(&self.inner.primary))
    }

    fn replicas(&self) -> Vec<Arc<dyn Replica>> {
        let Inner { primary, replicas, .. } = self.inner.as_ref();
        let readable = if replicas.is_empty() { std::slice::from_ref(primary) } else { replicas };
        readable.iter().map(|server| Arc::<Server>::clone(server) as Arc<dyn Replica>).collect()
    }

    fn check(&self) -> BoxFuture<'_, Result<(), CheckError>> {
        let Inner { primary, replicas, history, .. } = self.inner.as_ref();
        Box::pin(check::check(self.name(), primary, replicas, *history))
    }

    fn ledger(&self) -> Option<Arc<dyn Ledger>> {
        Some(Arc::clone(&self.inner.ledger) as _)
    }

    fn observed_by(&self, observer: Arc<dyn Observer>) {
        self.inner.recorder.observed_by(observer);
    }
}

/// Builds a [`PostgresStore`].
#[derive(Debug)]
#[must_use = "call `build`"]
pub struct PostgresStoreBuilder {
    name: String,
    primary: Option<PgPool>,
    replicas: Vec<(String, PgPool)>,
    on_missing: OnMissing,
    capture_limit: Duration,
    history: HistoryPolicy,
    branch_retention: Duration,
}

impl PostgresStoreBuilder {
    /// Where writes go.
    pub fn primary(self, pool: PgPool) -> Self {
        Self { primary: Some(pool), ..self }
    }

    /// A standby that this process reads from, by the name that it has here; the preferred one first.
    /// Without any, reads go to the primary.
    pub fn replica(mut self, name: impl Into<String>, pool: PgPool) -> Self {
        self.replicas.push((name.into(), pool));
        self
    }

    /// What to do with operations outside of any lineage. A warning by default.
    pub fn on_missing(self, on_missing: OnMissing) -> Self {
        Self { on_missing, ..self }
    }

    /// How long the position of a single statement may take to be learnt, beside the request. 1 s by
    /// default. After that an [unplaced write](antipode_lineage::WriteId::unplaced) stands for it.
    pub fn capture_limit(self, limit: Duration) -> Self {
        Self { capture_limit: limit, ..self }
    }

    /// Accepts a role that may not read the history of timelines. After a failover every write of
    /// before is then [`Indeterminate`](antipode_barrier::Verdict::Indeterminate) rather than visible or
    /// lost, and a standby that has heard of the new timeline cannot be asked while its link is down.
    pub fn without_history(self) -> Self {
        Self { history: HistoryPolicy::Optional, ..self }
    }

    /// How long the [branches](antipode_barrier::Registry::branch) in this store's ledger are known after
    /// they ended; a lineage older than that cannot be waited for as a whole. A day by default.
    pub fn branch_retention(self, retention: Duration) -> Self {
        Self { branch_retention: retention, ..self }
    }

    /// Makes the store. Nothing is sent to a server yet.
    ///
    /// # Errors
    /// [`PostgresError::Name`], [`PostgresError::DuplicateReplica`] and [`PostgresError::NoPrimary`].
    pub fn build(self) -> Result<PostgresStore, PostgresError> {
        let Self { name, primary, replicas, on_missing, capture_limit, history, branch_retention } = self;
        let store = StoreName::parse(&name).map_err(|source| PostgresError::Name { name, source })?;
        let primary = primary.ok_or(PostgresError::NoPrimary { store })?;
        let primary = Server::new(replica_name(PRIMARY)?, primary, Role::Primary);
        let mut servers: Vec<Arc<Server>> = Vec::with_capacity(replicas.len());
        for (name, pool) in replicas {
            let parsed = replica_name(&name)?;
            if servers.iter().chain([&primary]).any(|server| server.name == parsed) {
                return Err(PostgresError::DuplicateReplica { store, name });
            }
            servers.push(Server::new(parsed, pool, Role::Replica));
        }
        let recorder = Recorder::new(store, on_missing);
        let ledger = Arc::new(PostgresLedger::new(store, Arc::clone(&primary), branch_retention));
        let inner = Inner { primary, replicas: servers, recorder, capture_limit, history, ledger };
        Ok(PostgresStore { inner: Arc::new(inner) })
    }
}

fn replica_name(name: &str) -> Result<ReplicaName, PostgresError> {
    ReplicaName::parse(name).map_err(|source| PostgresError::Name { name: name.to_owned(), source })
}
