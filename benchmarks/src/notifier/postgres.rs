//! Notifications through an outbox table in Postgres.
//!
//! `LISTEN` does not work on a standby: a subscriber listens at the primary, which says that there are
//! rows and which, and polls for them at the replica, as a reader of that region would.

use std::collections::BTreeSet;
use std::time::Duration;

use antipode::barrier::{BoxFuture, OnMissing};
use antipode::postgres::{PostgresStore, StoredLineage};
use futures_util::FutureExt;
use sqlx::PgPool;
use sqlx::postgres::PgListener;

use super::{Channel, Notification, Notifier, Subscription};
use crate::Failure;
use crate::cli::Pair;
use crate::posts::Reference;
use crate::servers::postgres::{PostgresServers, failed, pool, version};

const TABLE: &str = "CREATE TABLE antipode_benchmark_outbox (id int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY, post text NOT NULL)";
/// Stores a row and announces it, when it commits.
const PUBLISH: &str = "WITH row AS (INSERT INTO antipode_benchmark_outbox (post) VALUES ($1) RETURNING id)
    SELECT pg_notify($2, id::text) FROM row";
const RECEIVE: &str = "SELECT id, post, antipode_lineage, coalesce(octet_length(antipode_lineage::text), 0)
    FROM antipode_benchmark_outbox WHERE id = ANY($1) ORDER BY id";
/// Between two looks for rows that have not reached the replica.
const PAUSE: Duration = Duration::from_millis(1);

/// A primary with the outbox, and a standby that nothing delays.
pub(crate) struct PostgresNotifier {
    servers: PostgresServers,
    writer: PostgresStore,
    raw: PgPool,
    replica: PgPool,
    version: String,
}

impl PostgresNotifier {
    pub(crate) async fn open(given: Option<&Pair>) -> Result<Self, Failure> {
        let servers = PostgresServers::open(given, "antipode_benchmark_outbox").await?;
        let raw = pool(&servers.primary).await?;
        sqlx::query(TABLE).execute(&raw).await.map_err(failed("make the outbox"))?;
        let writer = PostgresStore::builder("notifications").primary(pool(&servers.primary).await?);
        let writer = writer.on_missing(OnMissing::Error).build().map_err(failed("be opened"))?;
        writer.migrate_table("antipode_benchmark_outbox").await.map_err(failed("migrate the outbox"))?;
        let replica = pool(&servers.replica).await?;
        PostgresServers::until_applied(&raw, &replica).await?;
        let version = version(&raw).await?;
        Ok(Self { writer, raw, replica, version, servers })
    }
}

impl Notifier for PostgresNotifier {
    fn version(&self) -> String {
        self.version.clone()
    }

    fn clean_up(&self) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(self.servers.clean_up())
    }

    fn publish<'a>(&'a self, channel: Channel, post: &'a Reference) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            const OPERATION: &str = "publish a notification";
            let publish = sqlx::query(PUBLISH).bind(post.to_string()).bind(channel.to_string());
            if channel.carries_lineage() {
                let mut transaction = self.writer.shim().begin().await.map_err(failed(OPERATION))?;
                publish.execute(&mut transaction).await.map_err(failed(OPERATION))?;
                transaction.commit().await.map_err(failed(OPERATION))
            } else {
                publish.execute(&self.raw).await.map(drop).map_err(failed(OPERATION))
            }
        })
    }

    fn subscribe(&self, channel: Channel) -> BoxFuture<'_, Result<Box<dyn Subscription>, Failure>> {
        Box::pin(async move {
            let mut listener =
                PgListener::connect(&self.servers.primary).await.map_err(failed("subscribe"))?;
            listener.listen(&channel.to_string()).await.map_err(failed("subscribe"))?;
            let subscription =
                OutboxSubscription { listener, replica: self.replica.clone(), awaited: BTreeSet::new() };
            Ok(Box::new(subscription) as Box<dyn Subscription>)
        })
    }
}

struct OutboxSubscription {
    listener: PgListener,
    replica: PgPool,
    /// Rows that were announced and not read yet.
    awaited: BTreeSet<i64>,
}

impl Subscription for OutboxSubscription {
    fn next(&mut self) -> BoxFuture<'_, Result<Vec<Notification>, Failure>> {
        Box::pin(async move {
            loop {
                self.listen().await?;
                let awaited: Vec<i64> = self.awaited.iter().copied().collect();
                let rows = sqlx::query_as(RECEIVE).bind(awaited).fetch_all(&self.replica).await;
                let rows: Vec<Row> = rows.map_err(failed("receive notifications"))?;
                for (id, ..) in &rows {
                    self.awaited.remove(id);
                }
                if !rows.is_empty() {
                    return rows.into_iter().map(parse).collect();
                }
                tokio::time::sleep(PAUSE).await;
            }
        })
    }
}

impl OutboxSubscription {
    /// Takes what was announced; waits if nothing is awaited.
    async fn listen(&mut self) -> Result<(), Failure> {
        loop {
            let announced = if self.awaited.is_empty() {
                Some(self.listener.recv().await)
            } else {
                // What has come in part stays with the listener.
                self.listener.recv().now_or_never()
            };
            let Some(announced) = announced else { return Ok(()) };
            let announced = announced.map_err(failed("listen for notifications"))?;
            let garbled =
                || Failure::Garbled { what: "a notification", found: announced.payload().to_owned() };
            self.awaited.insert(announced.payload().parse().map_err(|_| garbled())?);
        }
    }
}

/// The columns of [`RECEIVE`].
type Row = (i64, String, Option<StoredLineage>, i32);

fn parse((_, post, lineage, bytes): Row) -> Result<Notification, Failure> {
    let garbled = || Failure::Garbled { what: "a notification", found: post.clone() };
    Ok(Notification {
        post: Reference::parse(post.as_bytes()).ok_or_else(garbled)?,
        lineage: lineage.unwrap_or_default().into(),
        lineage_bytes: bytes.unsigned_abs() as usize,
    })
}
