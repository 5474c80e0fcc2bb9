use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use antipode_barrier::{BoxFuture, Frontiers, ProbeError, Replica, Shards};
use antipode_lineage::{ReplicaName, StoreName};
use sqlx::PgPool;

use crate::line::{Line, Role};

/// One server of a store: the user's pool for statements, a line of our own for positions.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) name: ReplicaName,
    pub(crate) pool: PgPool,
    pub(crate) line: Line,
    /// Stored lineages that could not be read.
    unreadable: AtomicU64,
}

impl Server {
    pub(crate) fn new(name: ReplicaName, pool: PgPool, role: Role) -> Arc<Self> {
        let line = Line::new(pool.clone(), role);
        Arc::new(Self { name, pool, line, unreadable: AtomicU64::new(0) })
    }

    /// Counts, and warns at the 1st, 2nd, 4th, 8th … time.
    pub(crate) fn warn_unreadable(&self, store: StoreName, error: &(dyn std::error::Error + 'static)) {
        let count = self.unreadable.fetch_add(1, Ordering::Relaxed) + 1;
        if count.is_power_of_two() {
            tracing::warn!(%store, count, error, "stored lineage is unreadable: depending on everything");
        }
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
