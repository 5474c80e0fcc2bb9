//! Single statements: run as they are, their positions captured beside the request.

use std::sync::Arc;
use std::time::Duration;

use antipode_barrier::Recorder;
use antipode_lineage::{Epoch, Lineage, LineageScope, Shard, StoreName, WriteId};
use async_stream::try_stream;
use futures_util::future::BoxFuture;
use futures_util::stream::{BoxStream, StreamExt, TryStreamExt};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgDatabaseError, PgQueryResult, PgRow, PgSeverity};
use sqlx::{Connection, Either, Execute, Executor, Postgres};
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::PostgresError;
use crate::line::{Mark, SampleError};
use crate::position::{NUDGE, Place};
use crate::rows::Rows;
use crate::server::Server;

/// What a statement yields: rows, and a result at the end of each part.
pub(crate) type Items<'e> = BoxStream<'e, sqlx::Result<Either<PgQueryResult, PgRow>>>;

/// The way to one server.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    pub(crate) server: Arc<Server>,
    /// Finishes what a standby waits for.
    pub(crate) primary: Arc<Server>,
    pub(crate) kind: Kind,
    pub(crate) recorder: Recorder,
    /// How long a capture may take.
    pub(crate) limit: Duration,
}

/// What statements may do. A statement's text says little about that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Anything: each one's position is that of a write.
    Write,
    /// Reads only: the position seen is enough.
    Read,
}

impl Access {
    /// Runs a statement.
    pub(crate) fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> Items<'e>
    where
        E: 'q + Execute<'q, Postgres>,
    {
        // Now, not when the stream is first polled: that may be in another task.
        let scope = self.recorder.scope();
        Box::pin(try_stream! {
            let Some(scope) = scope.map_err(|error| PostgresError::from(error).into_driver())? else {
                let mut connection = self.server.acquire().await?;
                let mut items = connection.fetch_many(query);
                while let Some(item) = items.try_next().await? {
                    yield item;
                }
                return;
            };
            let mut running = Running::begin(self, scope).await?;
            let mut outcome = Ok(());
            {
                let Some(connection) = running.connection.as_mut() else { return };
                let mut items = connection.fetch_many(query);
                while let Some(item) = items.next().await {
                    match item {
                        Ok(Either::Right(row)) => {
                            running.rows.join(
                                &row,
                                &running.scope,
                                running.access.store(),
                                &running.access.server,
                            );
                            yield Either::Right(row);
                        }
                        Ok(done) => {
                            running.rows.end_result();
                            yield done;
                        }
                        Err(error) => {
                            outcome = Err(error);
                            break;
                        }
                    }
                }
            }
            running.end(&outcome);
            outcome?;
        })
    }

    /// Runs a statement to its end and keeps the first row.
    pub(crate) fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, sqlx::Result<Option<PgRow>>>
    where
        E: 'q + Execute<'q, Postgres>,
    {
        first_row(self.fetch_many(query))
    }

    pub(crate) fn store(&self) -> StoreName {
        self.recorder.store()
    }

    /// Where the log stands, on the connection that wrote. If that has broken, the line tells, provided
    /// that the server is still what it was.
    async fn place(self, mut connection: PoolConnection<Postgres>) -> Option<Lineage> {
        if let Ok(Ok(place)) = timeout(self.limit / 2, Place::ask(&mut connection)).await {
            return Some(place.lineage(self.store()));
        }
        connection.close_on_drop();
        drop(connection);
        let since = self.server.line.last_mark()?;
        self.witness(Some(since)).await
    }

    /// The same once the statement under way has ended, whichever way.
    async fn drained(self, mut connection: PoolConnection<Postgres>) -> Option<Lineage> {
        connection.ping().await.ok()?;
        self.place(connection).await
    }

    /// The history that the server was last seen in, however long ago.
    pub(crate) fn last_epoch(&self) -> Option<Epoch> {
        self.server.line.last_mark().map(|mark| mark.epoch)
    }

    /// What stands for what is done from now on, as long as its place is not known.
    pub(crate) fn unplaced(&self) -> WriteId {
        let epoch = self.last_epoch().unwrap_or_else(|| {
            // A process that only writes has not asked yet. What it does next will know.
            self.server.line.refresh_mark();
            Epoch::UNKNOWN
        });
        WriteId::unplaced_in(self.store(), Shard::ONLY, epoch)
    }

    /// The position that reads at this server, and acknowledged writes, have reached by now.
    pub(crate) async fn witness(self, since: Option<Mark>) -> Option<Lineage> {
        let store = self.store();
        let mut sample = match self.server.line.sample_since(since).await {
            Ok(sample) => sample,
            Err(SampleError::Failed) => return None,
            // The server may have acknowledged a write and then been replaced.
            Err(SampleError::TurnedOver { before }) => {
                return Some(WriteId::unplaced_in(store, Shard::ONLY, before).into());
            }
        };
        let asynchronous = sample.asynchronous;
        if asynchronous || sample.unfinished {
            let nudge = sqlx::raw_sql(NUDGE).execute(&self.primary.pool);
            let nudged = timeout(self.limit / 2, nudge).await;
            if asynchronous {
                nudged.ok()?.ok()?;
                sample = self.server.line.sample_since(since).await.ok()?;
            }
        }
        let (epoch, position) = (sample.frontier.epoch, sample.witness);
        Some(Place { epoch, position, asynchronous }.lineage(store))
    }
}

/// The rows up to the end: an error may come after the first.
pub(crate) fn first_row(mut items: Items<'_>) -> BoxFuture<'_, sqlx::Result<Option<PgRow>>> {
    Box::pin(async move {
        let mut first = None;
        while let Some(item) = items.try_next().await? {
            if let (None, Either::Right(row)) = (&first, item) {
                first = Some(row);
            }
        }
        Ok(first)
    })
}

/// A statement under way. However it ends, the scope learns of it.
struct Running {
    access: Access,
    scope: LineageScope,
    /// The history just before the statement, if known.
    before: Option<Mark>,
    /// What stands for the statement as long as its place is not known.
    fallback: WriteId,
    /// `None` once ended.
    connection: Option<PoolConnection<Postgres>>,
    rows: Rows,
}

impl Running {
    async fn begin(access: Access, scope: LineageScope) -> sqlx::Result<Self> {
        let before = access.server.line.mark();
        if before.is_none() && access.server.is_short_of_connections() {
            // The statements that follow can then share their captures.
            access.server.line.refresh_mark();
        }
        let fallback = access.unplaced();
        let connection = Some(access.server.acquire().await?);
        Ok(Self { access, scope, before, fallback, connection, rows: Rows::default() })
    }

    fn end(&mut self, outcome: &sqlx::Result<()>) {
        let Some(connection) = self.connection.take() else { return };
        match outcome {
            Ok(()) => self.capture(connection),
            Err(error) if was_refused(error) => {
                if self.rows.any() {
                    self.capture(connection);
                }
            }
            Err(_) if self.access.kind == Kind::Read && !self.rows.any() => {}
            Err(_) => self.scope.add(self.fallback),
        }
    }

    /// The statement has been acknowledged on this connection.
    fn capture(&self, connection: PoolConnection<Postgres>) {
        let access = self.access.clone();
        let (fallback, limit) = (self.fallback, access.limit);
        match (access.kind, self.before) {
            (Kind::Read, since) => {
                drop(connection);
                self.scope.defer(fallback, limit, access.witness(since));
            }
            // Others wait for a connection: theirs comes first. One sample serves all who are done.
            (Kind::Write, Some(before)) if access.server.is_short_of_connections() => {
                drop(connection);
                self.scope.defer(fallback, limit, access.witness(Some(before)));
            }
            (Kind::Write, _) => self.scope.defer(fallback, limit, access.place(connection)),
        }
    }
}

impl Drop for Running {
    /// The user dropped the statement half-way.
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        let (fallback, limit) = (self.fallback, self.access.limit);
        match (self.access.kind, Handle::try_current()) {
            (Kind::Read, _) if !self.rows.any() => {}
            (Kind::Read, Ok(_)) => {
                drop(connection);
                self.scope.defer(fallback, limit, self.access.clone().witness(self.before));
            }
            (Kind::Write, Ok(_)) => {
                self.scope.defer(fallback, limit, self.access.clone().drained(connection))
            }
            (_, Err(_)) => self.scope.add(fallback),
        }
    }
}

/// Whether the server or the driver refused the statement: nothing of it happened.
pub(crate) fn was_refused(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(error) => error
            .try_downcast_ref::<PgDatabaseError>()
            .is_some_and(|error| !matches!(error.severity(), PgSeverity::Fatal | PgSeverity::Panic)),
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => {
            false
        }
        _ => true,
    }
}
