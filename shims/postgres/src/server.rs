use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use antipode_barrier::{BoxFuture, Frontiers, ProbeError, Replica, Shards};
use antipode_lineage::{ReplicaName, StoreName};
use sqlx::pool::PoolConnection;
use sqlx::{PgPool, Postgres};

use crate::line::{Line, Role};

/// One server of a store: the user's pool for statements, a line of our own for positions.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) name: ReplicaName,
    pub(crate) pool: PgPool,
    pub(crate) line: Line,
    /// Statements that wait for a connection.
    queue: AtomicUsize,
    /// Stored lineages that could not be read.
    unreadable: AtomicU64,
}

impl Server {
    pub(crate) fn new(name: ReplicaName, pool: PgPool, role: Role) -> Arc<Self> {
        let line = Line::new(pool.clone(), role);
        Arc::new(Self { name, pool, line, queue: AtomicUsize::new(0), unreadable: AtomicU64::new(0) })
    }

    /// A connection of the user's pool.
    pub(crate) async fn acquire(&self) -> sqlx::Result<PoolConnection<Postgres>> {
        let _queued = Queued::enter(&self.queue);
        self.pool.acquire().await
    }

    /// Whether others would have to wait for a connection that is held any longer.
    pub(crate) fn is_short_of_connections(&self) -> bool {
        self.queue.load(Ordering::Relaxed) > 0 || self.pool.num_idle() == 0
    }

    /// Counts, and warns at the 1st, 2nd, 4th, 8th … time.
    pub(crate) fn warn_unreadable(&self, store: StoreName, error: &(dyn std::error::Error + 'static)) {
        let count = self.unreadable.fetch_add(1, Ordering::Relaxed) + 1;
        if count.is_power_of_two() {
            tracing::warn!(%store, count, error, "stored lineage is unreadable: depending on everything");
        }
    }
}

/// One who waits for a connection.
struct Queued<'a>(&'a AtomicUsize);

impl<'a> Queued<'a> {
    fn enter(queue: &'a AtomicUsize) -> Self {
        queue.fetch_add(1, Ordering::Relaxed);
        Self(queue)
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Replica for Server {
    fn name(&self) -> ReplicaName {
        self.name
    }

    fn probe<'a>(&'a self, _: Shards<'a>) -> BoxFuture<'a, Result<Frontiers, ProbeError>> {
        Box::pin(async { Ok(self.line.sample().await?.frontier.into()) })
    }
}
