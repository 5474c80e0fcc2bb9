use antipode_lineage::{Epoch, Lineage, LineageScope, WriteId};
use async_stream::try_stream;
use futures_util::future::BoxFuture;
use futures_util::stream::TryStreamExt;
use sqlx::postgres::{PgRow, PgStatement, PgTypeInfo};
use sqlx::{AssertSqlSafe, Describe, Either, Execute, Executor, PgConnection, Postgres, SqlStr, Transaction};
use tokio::runtime::Handle;

use crate::PostgresError;
use crate::access::{Access, Items, first_row, was_refused};
use crate::position::{Place, is_page_boundary, position_sql};
use crate::rows::Rows;
use crate::stored::{beside, setting, without};

/// A transaction whose writes carry the lineage, and whose commit adds its position to it.
///
/// `&mut PostgresTransaction` is a sqlx [`Executor`](sqlx::Executor). The lineage is handed to the server
/// with `BEGIN`, and again before a statement if the request has come to depend on more meanwhile (one
/// round trip). Tables that were [migrated](crate::PostgresStore::migrate_table) store it beside every
/// row inserted or updated. The position comes back with the commit's answer.
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

/// The first statement makes the commit wait for its flush where someone had turned that off, and fails
/// in a transaction that is already rolled back: there a bare `COMMIT` would answer without an error.
/// The last gives the driver, which takes the transaction for open, one to roll back: the server would
/// log a warning otherwise.
const COMMIT: &str = concat!(
    "SELECT set_config('synchronous_commit', 'on', true) \
     WHERE current_setting('synchronous_commit') = 'off'; COMMIT; ",
    position_sql!(),
    "; BEGIN"
);
const ROLLBACK: &str = concat!("ROLLBACK; ", position_sql!(), "; BEGIN");
/// After [`COMMIT`], which leaves a transaction open.
const NUDGE: &str = concat!(
    "SET LOCAL synchronous_commit = local; SELECT pg_logical_emit_message(true, 'antipode', ''); COMMIT; ",
    position_sql!(),
    "; BEGIN"
);
/// How many statements of [`COMMIT`] have ended when the transaction is committed.
const COMMITTED: usize = 2;

impl PostgresTransaction {
    pub(crate) async fn begin(
        access: Access,
        scope: Option<LineageScope>,
        statement: SqlStr,
    ) -> Result<Self, PostgresError> {
        let store = access.store();
        let carried = match &scope {
            Some(scope) => beside(scope, store, access.last_epoch()).await,
            None => Lineage::new(),
        };
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
        Ok(Self { inner, access, scope, carried, rows: Rows::default(), stage: Stage::Open, fallback })
    }

    /// The user's connection. Statements that go through it are part of the transaction, but what they
    /// read is outside of the lineage. Do not end the transaction there.
    pub fn inner(&mut self) -> &mut PgConnection {
        &mut self.inner
    }

    /// Commits, and adds the position to the lineage.
    ///
    /// Where the commit succeeded but its position could not be learnt, an
    /// [unplaced write](WriteId::unplaced) stands for it.
    ///
    /// # Errors
    /// [`PostgresError::Aborted`] and [`PostgresError::Driver`] (a deferred constraint, a serialization
    /// failure): nothing happened. [`PostgresError::UnknownOutcome`]: it may have happened.
    pub async fn commit(mut self) -> Result<(), PostgresError> {
        self.stage = Stage::Committing;
        let (ended, outcome) = self.run(COMMIT).await;
        let place = match outcome {
            Ok(place) => place,
            Err(source) if ended < COMMITTED => return Err(self.not_committed(source)),
            Err(_) => None,
        };
        self.settle(place).await;
        Ok(())
    }

    /// Rolls back. Writes add nothing to the lineage; reads add a position at or after theirs.
    ///
    /// # Errors
    /// [`PostgresError::Driver`] if the server did not answer; it rolls back all the same.
    pub async fn rollback(mut self) -> Result<(), PostgresError> {
        let (_, outcome) = self.run(ROLLBACK).await;
        let store = self.access.store();
        match outcome {
            Ok(place) => {
                if self.rows.any() {
                    self.settle(place).await;
                }
                self.stage = Stage::Ended;
                Ok(())
            }
            Err(source) => Err(PostgresError::Driver { store, operation: "roll back", source }),
        }
    }

    /// Runs several statements in one round trip: how many ended, and the position among the answers.
    async fn run(&mut self, sql: &'static str) -> (usize, sqlx::Result<Option<Place>>) {
        let (mut ended, mut place) = (0, None);
        let mut items = sqlx::raw_sql(sql).fetch_many(&mut *self.inner);
        loop {
            match items.try_next().await {
                Ok(None) => return (ended, Ok(place)),
                Ok(Some(Either::Left(_))) => ended += 1,
                // The setting, where it had to be made, is a row of another form.
                Ok(Some(Either::Right(row))) => place = Place::from_row(&row).ok(),
                Err(error) => return (ended, Err(error)),
            }
        }
    }

    /// Adds the position of what has been committed, or read.
    async fn settle(&mut self, mut place: Option<Place>) {
        if place.is_some_and(|place| is_page_boundary(place.position)) {
            place = self.run(NUDGE).await.1.ok().flatten();
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
        let store = self.access.store();
        let here = self.access.last_epoch();
        let covered = |write: &WriteId| write.epoch == Epoch::UNKNOWN || Some(write.epoch) == here;
        if self.carried.covers(&without(&scope.lineage(), covered, store)) {
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
