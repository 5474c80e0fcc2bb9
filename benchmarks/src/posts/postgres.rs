//! Posts in Postgres, each a row.

use std::sync::Arc;
use std::time::Duration;

use antipode::barrier::{BoxFuture, OnMissing, Store};
use antipode::postgres::PostgresStore;
use sqlx::{PgPool, Postgres, Transaction};

use super::{Access, EU, POSTS, Post, Posts, Reference};
use crate::Failure;
use crate::cli::Pair;
use crate::servers::postgres::{PostgresServers, failed, pool, version};

/// Insert, or the next version: what an application of posts would say.
const STORE: &str = "INSERT INTO antipode_benchmark_posts (id, body) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET body = excluded.body";
const TABLE: &str = "CREATE TABLE antipode_benchmark_posts (id text PRIMARY KEY, body bytea NOT NULL)";
const DELETE: &str = "DELETE FROM antipode_benchmark_posts WHERE id = $1";
/// Sets what the commit waits for, and tells which standbys it can wait for: none, and it would not wait.
const REMOTE_APPLY: &str = "SELECT current_setting('synchronous_standby_names') FROM set_config('synchronous_commit', 'remote_apply', true)";
const READ_RAW: &str = "SELECT body FROM antipode_benchmark_posts WHERE id = $1";
const READ: &str = "SELECT body, antipode_lineage FROM antipode_benchmark_posts WHERE id = $1";

/// A primary and a lagging standby.
pub(crate) struct PostgresPosts {
    servers: PostgresServers,
    writer: PostgresStore,
    reader: PostgresStore,
    to_primary: PgPool,
    to_replica: PgPool,
    version: String,
}

impl PostgresPosts {
    pub(crate) async fn open(given: Option<&Pair>) -> Result<Self, Failure> {
        let servers = PostgresServers::open(given, "antipode_benchmark_posts").await?;
        let PostgresServers { primary, replica, .. } = &servers;
        // Two handles, each with pools of its own: the writer and the reader are different services.
        let store = async || {
            let (primary, replica) = (pool(primary).await?, pool(replica).await?);
            let store = PostgresStore::builder(POSTS).primary(primary).replica(EU, replica);
            store.on_missing(OnMissing::Error).build().map_err(failed("be opened"))
        };
        let (writer, reader) = (store().await?, store().await?);
        let (to_primary, to_replica) = (pool(primary).await?, pool(replica).await?);
        sqlx::query(TABLE).execute(&to_primary).await.map_err(failed("make the table"))?;
        writer.migrate_table("antipode_benchmark_posts").await.map_err(failed("migrate the table"))?;
        PostgresServers::until_applied(&to_primary, &to_replica).await?;
        let version = version(&to_primary).await?;
        Ok(Self { servers, writer, reader, to_primary, to_replica, version })
    }

    /// A transaction whose commit waits until the standby has applied it.
    async fn remote_apply(&self) -> sqlx::Result<Transaction<'static, Postgres>> {
        let mut transaction = self.to_primary.begin().await?;
        let names: String = sqlx::query_scalar(REMOTE_APPLY).fetch_one(&mut *transaction).await?;
        if names.is_empty() {
            let advice =
                "synchronous_standby_names is empty: name the standby, or leave the mode remote-apply out";
            return Err(sqlx::Error::Configuration(advice.into()));
        }
        Ok(transaction)
    }
}

impl Posts for PostgresPosts {
    fn reader(&self) -> Arc<dyn Store> {
        Arc::new(self.reader.clone())
    }

    fn version(&self) -> String {
        self.version.clone()
    }

    fn set_lag(&self, lag: Duration) -> Result<(), Failure> {
        self.servers.set_lag(lag);
        Ok(())
    }

    fn clean_up(&self) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(self.servers.clean_up())
    }

    fn write<'a>(&'a self, access: Access, post: &'a Post) -> BoxFuture<'a, Result<Option<String>, Failure>> {
        Box::pin(async move {
            const OPERATION: &str = "store a post";
            let change = match &post.body {
                Some(body) => sqlx::query(STORE).bind(post.id()).bind(body),
                None => sqlx::query(DELETE).bind(post.id()),
            };
            match access {
                Access::Raw | Access::Own => {
                    let transaction = match access {
                        Access::Own => self.remote_apply().await,
                        _ => self.to_primary.begin().await,
                    };
                    let mut transaction = transaction.map_err(failed(OPERATION))?;
                    change.execute(&mut *transaction).await.map_err(failed(OPERATION))?;
                    transaction.commit().await.map_err(failed(OPERATION))?;
                }
                Access::Shim => {
                    let mut transaction = self.writer.shim().begin().await.map_err(failed(OPERATION))?;
                    change.execute(&mut transaction).await.map_err(failed(OPERATION))?;
                    transaction.commit().await.map_err(failed(OPERATION))?;
                }
            }
            Ok(None)
        })
    }

    fn read<'a>(
        &'a self,
        access: Access,
        post: &'a Reference,
    ) -> BoxFuture<'a, Result<Option<Vec<u8>>, Failure>> {
        Box::pin(async move {
            let id = &post.post;
            let body: Option<(Vec<u8>,)> = match access {
                Access::Raw | Access::Own => {
                    sqlx::query_as(READ_RAW).bind(id).fetch_optional(&self.to_replica).await
                }
                Access::Shim => {
                    let row = sqlx::query(READ).bind(id).fetch_optional(&self.reader.reads()).await;
                    row.and_then(|row| row.map(|row| Ok((sqlx::Row::try_get(&row, 0)?,))).transpose())
                }
            }
            .map_err(failed("read a post"))?;
            Ok(body.map(|(body,)| body))
        })
    }
}
