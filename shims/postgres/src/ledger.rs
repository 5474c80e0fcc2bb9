//! The branch ledger: a table at the primary.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use antipode_barrier::{BoxFuture, BranchState, Ledger, ProbeError, Store};
use antipode_lineage::{Branch, BranchId, Lineage, StoreName};
use sqlx::{AssertSqlSafe, Executor};

use crate::migration::migrate_with;
use crate::server::Server;
use crate::{PostgresError, PostgresStore};

/// The branch ledger's table as SQL, for migration tools.
pub const BRANCH_LEDGER: &str = include_str!("../migrations/branches.sql");

/// How long a branch is known after it ended, unless told otherwise.
pub(crate) const RETENTION: Duration = Duration::from_secs(24 * 3_600);

/// The columns that say how a branch stands, by the server's clock.
const STANDING: &str = "id, lineage, leased_until > clock_timestamp() AS leased, \
    (extract(epoch FROM leased_until - clock_timestamp()) * 1000)::int8 AS left_ms, waits";

/// Once closed or out of its lease a branch is not changed any more.
const IS_OPEN: &str = "lineage IS NULL AND leased_until > clock_timestamp()";

type Row = (String, Option<String>, bool, i64, String);

impl PostgresStore {
    /// Makes the table of the store's branch ledger in the primary's database. May be repeated. The role
    /// may create a schema.
    ///
    /// Before this, [branches](antipode_barrier::Registry::branch) in this store are answered with errors.
    ///
    /// # Errors
    /// [`PostgresError::Driver`] if the role may not.
    pub async fn create_branch_ledger(&self) -> Result<(), PostgresError> {
        let create =
            migrate_with(self.inner(), async |connection| connection.execute(BRANCH_LEDGER).await.map(drop));
        create.await.map_err(|source| PostgresError::Driver {
            store: self.name(),
            operation: "make its branch ledger",
            source,
        })
    }
}

/// The table `antipode.branches`.
#[derive(Debug)]
pub(crate) struct PostgresLedger {
    store: StoreName,
    primary: Arc<Server>,
    retention: Duration,
}

impl PostgresLedger {
    pub(crate) fn new(store: StoreName, primary: Arc<Server>, retention: Duration) -> Self {
        Self { store, primary, retention }
    }

    /// One statement that changes a branch and returns it, or returns nothing as the branch is not open.
    async fn step(&self, statement: String, branch: BranchId, text: &str) -> Result<BranchState, ProbeError> {
        let mut connection = self.primary.acquire().await.map_err(|error| self.failed(error))?;
        let changed: Option<Row> = sqlx::query_as(AssertSqlSafe(statement))
            .bind(branch.to_string())
            .bind(text)
            .bind(millis(self.retention))
            .fetch_optional(&mut *connection)
            .await
            .map_err(|error| self.failed(error))?;
        drop(connection);
        match changed {
            Some(row) => state(&row),
            None => self.states(&[branch]).await?.pop().unwrap_or(Ok(BranchState::Unknown)),
        }
    }

    async fn states(
        &self,
        branches: &[BranchId],
    ) -> Result<Vec<Result<BranchState, ProbeError>>, ProbeError> {
        let ids: Vec<String> = branches.iter().map(BranchId::to_string).collect();
        let question = format!(
            "SELECT {STANDING} FROM antipode.branches WHERE id = ANY($1) AND kept_until > clock_timestamp()"
        );
        let mut connection = self.primary.acquire().await.map_err(|error| self.failed(error))?;
        let rows: Vec<Row> = sqlx::query_as(AssertSqlSafe(question))
            .bind(&ids)
            .fetch_all(&mut *connection)
            .await
            .map_err(|error| self.failed(error))?;
        let found: HashMap<&str, &Row> = rows.iter().map(|row| (row.0.as_str(), row)).collect();
        let state = |id: &String| found.get(id.as_str()).map_or(Ok(BranchState::Unknown), |row| state(row));
        Ok(ids.iter().map(state).collect())
    }

    fn failed(&self, source: sqlx::Error) -> ProbeError {
        let is_missing =
            source.as_database_error().is_some_and(|error| error.code().as_deref() == Some("42P01"));
        let operation = match is_missing {
            true => "find its branch ledger: call `create_branch_ledger` when deploying",
            false => "ask its branch ledger",
        };
        ProbeError::new(PostgresError::Driver { store: self.store, operation, source })
    }
}

impl Ledger for PostgresLedger {
    fn register<'a>(
        &'a self,
        branch: &'a Branch,
        lease: Duration,
    ) -> BoxFuture<'a, Result<BranchState, ProbeError>> {
        // Whoever registers takes away a few that nobody may ask for any more. Repeated, it returns the row
        // as it is.
        let lease = millis(lease);
        let statement = format!(
            "WITH forgotten AS (DELETE FROM antipode.branches WHERE id IN (\
                 SELECT id FROM antipode.branches WHERE kept_until < clock_timestamp() \
                 ORDER BY kept_until LIMIT 100 FOR UPDATE SKIP LOCKED)) \
             INSERT INTO antipode.branches AS held (id, name, lease_ms, leased_until, kept_until) \
             VALUES ($1, $2, {lease}, clock_timestamp() + {lease} * interval '1 ms', \
                 clock_timestamp() + ({lease} + $3::int8) * interval '1 ms') \
             ON CONFLICT (id) DO UPDATE SET id = held.id RETURNING {STANDING}"
        );
        Box::pin(async move { self.step(statement, branch.id, branch.name.as_str()).await })
    }

    fn renew<'a>(
        &'a self,
        branch: BranchId,
        waits: &'a [Branch],
    ) -> BoxFuture<'a, Result<BranchState, ProbeError>> {
        let statement = format!(
            "UPDATE antipode.branches SET waits = $2, \
                 leased_until = clock_timestamp() + lease_ms * interval '1 ms', \
                 kept_until = clock_timestamp() + (lease_ms + $3::int8) * interval '1 ms' \
             WHERE id = $1 AND {IS_OPEN} RETURNING {STANDING}"
        );
        Box::pin(async move { self.step(statement, branch, &BranchState::waits_text(waits)).await })
    }

    fn complete<'a>(
        &'a self,
        branch: BranchId,
        last: &'a Lineage,
    ) -> BoxFuture<'a, Result<BranchState, ProbeError>> {
        let statement = format!(
            "UPDATE antipode.branches SET lineage = $2, waits = '', \
                 kept_until = clock_timestamp() + $3::int8 * interval '1 ms' \
             WHERE id = $1 AND {IS_OPEN} RETURNING {STANDING}"
        );
        Box::pin(async move { self.step(statement, branch, &BranchState::last_text(last)).await })
    }

    fn read<'a>(&'a self, branches: &'a [BranchId]) -> BoxFuture<'a, Result<Vec<BranchState>, ProbeError>> {
        Box::pin(async move { self.states(branches).await?.into_iter().collect() })
    }
}

fn state((_, lineage, leased, left_ms, waits): &Row) -> Result<BranchState, ProbeError> {
    match lineage {
        Some(last) => BranchState::closed_of(last),
        None if *leased => {
            BranchState::open_of(Duration::from_millis(u64::try_from(*left_ms).unwrap_or(0)), waits)
        }
        None => Ok(BranchState::Abandoned),
    }
}

/// What an interval of the server holds, and more than anyone waits.
fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX).min(1 << 45)
}
