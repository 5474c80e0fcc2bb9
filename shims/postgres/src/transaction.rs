use antipode_lineage::{Epoch, Lineage, LineageScope, WriteId};
use async_stream::try_stream;
use futures_util::future::BoxFuture;
use futures_util::stream::TryStreamExt;
use sqlx::postgres::{PgRow, PgStatement, PgTypeInfo};
use sqlx::{
    AssertSqlSafe, Describe, Either, Execute, Executor, PgConnection, Postgres, Row, SqlStr, Transaction,
};
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::PostgresError;
use crate::access::{Access, Items, first_row, was_refused};
use crate::position::{Place, flushed_sql, is_page_boundary, position_sql, remember_sql};
use crate::rows::Rows;
use crate::stored::{beside, setting, without};

/// A transaction whose writes carry the lineage, and whose commit adds its position to it.
///
/// `&mut PostgresTransaction` is a sqlx [`Executor`](sqlx::Executor). The lineage is handed to the server
/// with `BEGIN`, and again before a statement if the request has come to depend on more meanwhile (one
/// round trip). Tables that were [migrated](crate::PostgresStore::migrate_table) store it beside every
/// row inserted or updated. The position comes back with the commit's answer.
///
/// A session's first commit takes a round trip more: it learns what its server's positions belong to, and keeps
/// that in the session's setting `antipode.epoch`. In a pool that resets its sessions each commit does.
///
/// Dropped without [`commit`](PostgresTransaction::commit), it is rolled back: it adds no write to the
/// lineage, but what was read in it stays. Savepoints are not offered; issue them as statements.
#[derive(Debug)]
pub struct PostgresTransaction {
    inner: Transaction<'static, Postgres>,
    access: Access,
    scope: Option<LineageScope>,
    /// What the server was told.
    carried: Lineage,
    /// What the request depended on when that was last compared with it.
    compared: Lineage,
    rows: Rows,
    stage: Stage,
    /// What stands for it if its place cannot be learnt.
    fallback: WriteId,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Open,
    /// The commit was sent.
    Committing,
    Ended,
}

/// The first statement tells whether the commit waits for its flush, and fails in a transaction that is
/// already rolled back: there a bare `COMMIT` would answer without an error. The last gives the driver,
/// which takes the transaction for open, one to roll back: the server would log a warning otherwise.
const COMMIT: &str = concat!("SHOW synchronous_commit; COMMIT; ", flushed_sql!(), "; BEGIN");
const ROLLBACK: &str = concat!("ROLLBACK; ", position_sql!(), "; BEGIN");
/// After [`COMMIT`], which leaves a transaction open: moves the flush position past all that is committed.
const NUDGE: &str = concat!(
    "SET LOCAL synchronous_commit = local; SELECT pg_logical_emit_message(true, 'antipode', ''); COMMIT; ",
    position_sql!(),
    "; BEGIN"
);
/// After [`COMMIT`], in a session that does not know yet what its positions belong to.
const REMEMBER: &str = concat!(remember_sql!(), "; COMMIT; ", position_sql!(), "; BEGIN");
/// How many statements of [`COMMIT`] have ended when the transaction is committed.
const COMMITTED: usize = 2;

/// What came back for several statements in one round trip.
struct Ran {
    /// How many ended.
    ended: usize,
    /// Of all of them.
    answers: Vec<PgRow>,
    outcome: sqlx::Result<()>,
}

impl PostgresTransaction {
    pub(crate) async fn begin(
        access: Access,
        scope: Option<LineageScope>,
        statement: SqlStr,
    ) -> Result<Self, PostgresError> {
        let store = access.store();
        let (mut compared, mut carried) = Default::default();
        if let Some(scope) = &scope {
            compared = scope.lineage();
            carried = beside(scope, store, access.last_epoch()).await;
        }
        let fallback = access.unplaced();
        let mut sql = statement.as_str().to_owned();
        // Outside of transactions the setting is empty.
        if carried != Lineage::new() {
            sql = format!("{sql}; {}", set_local(&carried));
        }
        let begun = access.server.pool.begin_with(AssertSqlSafe(sql)).await;
        let inner = begun.map_err(|source| PostgresError::Driver {
            store,
            operation: "begin a transaction",
            source,
        })?;
        let rows = Rows::default();
        Ok(Self { inner, access, scope, carried, compared, rows, stage: Stage::Open, fallback })
    }

    /// The user's connection. Statements that go through it are part of the transaction, but what they
    /// read is outside of the lineage. Do not end the transaction there.
    pub fn inner(&mut self) -> &mut PgConnection {
        &mut self.inner
    }

    /// Commits, and adds the position to the lineage. The commit is durable, also where
    /// `synchronous_commit` was turned off: it is flushed before this returns, if not before others see it.
    ///
    /// Where the commit succeeded but its position could not be learnt, or not within the
    /// [capture limit](crate::PostgresStoreBuilder::capture_limit), an [unplaced write](WriteId::unplaced)
    /// stands for it.
    ///
    /// # Errors
    /// [`PostgresError::Aborted`] and [`PostgresError::Driver`] (a deferred constraint, a serialization
    /// failure): nothing happened. [`PostgresError::UnknownOutcome`]: it may have happened.
    pub async fn commit(mut self) -> Result<(), PostgresError> {
        self.stage = Stage::Committing;
        let Ran { ended, answers, outcome } = self.run(COMMIT).await;
        if ended < COMMITTED
            && let Err(source) = outcome
        {
            return Err(self.not_committed(source));
        }
        let is_durable =
            answers.first().is_some_and(|row| row.try_get(0).is_ok_and(|waits: &str| waits != "off"));
        let place = match answers.get(1) {
            _ if !is_durable => {
                let flushed = self.ask_in_time(NUDGE).await;
                let store = self.access.store();
                Some(flushed.map_err(|source| PostgresError::UnknownOutcome { store, source })?)
            }
            Some(row) => match Place::remembered(row) {
                Some(place) => Some(place),
                None => self.ask_in_time(REMEMBER).await.ok(),
            },
            None => None,
        };
        self.settle(place).await;
        Ok(())
    }

    /// Rolls back. Writes add nothing to the lineage; reads add a position at or after theirs.
    ///
    /// # Errors
    /// [`PostgresError::Driver`] if the server did not answer; it rolls back all the same.
    pub async fn rollback(mut self) -> Result<(), PostgresError> {
        let place = self.ask(ROLLBACK).await.map_err(|source| PostgresError::Driver {
            store: self.access.store(),
            operation: "roll back",
            source,
        })?;
        if self.rows.any() {
            self.settle(Some(place)).await;
        }
        self.stage = Stage::Ended;
        Ok(())
    }

    /// Runs several statements in one round trip.
    async fn run(&mut self, sql: &'static str) -> Ran {
        let (mut ended, mut answers) = (0, Vec::new());
        let mut items = sqlx::raw_sql(sql).fetch_many(&mut *self.inner);
        loop {
            match items.try_next().await {
                Ok(None) => return Ran { ended, answers, outcome: Ok(()) },
                Ok(Some(Either::Left(_))) => ended += 1,
                Ok(Some(Either::Right(row))) => answers.push(row),
                Err(source) => return Ran { ended, answers, outcome: Err(source) },
            }
        }
    }

    /// The same, where the position is the last answer.
    async fn ask(&mut self, sql: &'static str) -> sqlx::Result<Place> {
        let Ran { answers, outcome, .. } = self.run(sql).await;
        outcome?;
        Place::from_row(answers.last().ok_or(sqlx::Error::RowNotFound)?)
    }

    /// The same after a commit, which must not hang where the server falls silent between two answers.
    async fn ask_in_time(&mut self, sql: &'static str) -> sqlx::Result<Place> {
        match timeout(self.access.limit, self.ask(sql)).await {
            Ok(place) => place,
            Err(elapsed) => Err(sqlx::Error::Io(elapsed.into())),
        }
    }

    /// Adds the position of what has been committed, or read.
    async fn settle(&mut self, mut place: Option<Place>) {
        if place.is_some_and(|place| is_page_boundary(place.position)) {
            place = self.ask_in_time(NUDGE).await.ok();
        }
        self.stage = Stage::Ended;
        let Some(scope) = &self.scope else { return };
        let store = self.access.store();
        scope.add(place.map_or(self.fallback, |place| place.write(store)));
    }

    fn not_committed(&mut self, source: sqlx::Error) -> PostgresError {
        const IN_FAILED_TRANSACTION: &str = "25P02";
        let store = self.access.store();
        if !was_refused(&source) {
            // The drop adds the unplaced write.
            return PostgresError::UnknownOutcome { store, source };
        }
        self.stage = Stage::Open;
        let code = source.as_database_error().and_then(|error| error.code());
        if code.as_deref() == Some(IN_FAILED_TRANSACTION) {
            return PostgresError::Aborted { store };
        }
        PostgresError::Driver { store, operation: "commit a transaction", source }
    }

    /// Tells the server what the request has come to depend on since it was last told. What it read in
    /// this store is left out: this transaction's own position covers it.
    async fn refresh(&mut self) -> sqlx::Result<()> {
        let Some(scope) = &self.scope else { return Ok(()) };
        let now = scope.lineage();
        if now == self.compared {
            return Ok(());
        }
        let store = self.access.store();
        let here = self.access.last_epoch();
        let covered = |write: &WriteId| write.epoch == Epoch::UNKNOWN || Some(write.epoch) == here;
        if self.carried.covers(&without(&now, covered, store)) {
            self.compared = now;
            return Ok(());
        }
        let lineage = beside(scope, store, here).await;
        if self.carried.covers(&without(&lineage, covered, store)) {
            return Ok(());
        }
        sqlx::raw_sql(AssertSqlSafe(set_local(&lineage))).execute(&mut *self.inner).await?;
        self.carried = lineage;
        Ok(())
    }
}

impl Drop for PostgresTransaction {
    fn drop(&mut self) {
        let Some(scope) = &self.scope else { return };
        match (self.stage, Handle::try_current()) {
            (Stage::Committing, _) => scope.add(self.fallback),
            (Stage::Open, Ok(_)) if self.rows.any() => {
                scope.defer(self.fallback, self.access.limit, self.access.clone().witness(None));
            }
            (Stage::Open, Err(_)) if self.rows.any() => scope.add(self.fallback),
            _ => {}
        }
    }
}

impl<'c> Executor<'c> for &'c mut PostgresTransaction {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> Items<'e>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        Box::pin(try_stream! {
            self.refresh().await?;
            let mut items = self.inner.fetch_many(query);
            while let Some(item) = items.try_next().await? {
                match (&item, &self.scope) {
                    (Either::Right(row), Some(scope)) => {
                        self.rows.join(row, scope, self.access.store(), &self.access.server);
                    }
                    (Either::Left(_), _) => self.rows.end_result(),
                    _ => {}
                }
                yield item;
            }
        })
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, sqlx::Result<Option<PgRow>>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        first_row(self.fetch_many(query))
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, sqlx::Result<PgStatement>>
    where
        'c: 'e,
    {
        self.inner.prepare_with(sql, parameters)
    }

    #[doc(hidden)]
    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, sqlx::Result<Describe<Postgres>>>
    where
        'c: 'e,
    {
        self.inner.describe(sql)
    }
}

fn set_local(lineage: &Lineage) -> String {
    format!("SET LOCAL antipode.lineage = '{}'", setting(lineage))
}
