//! Posts in Postgres, each a row.

use std::sync::Arc;
use std::time::Duration;

use antipode::barrier::{BoxFuture, OnMissing, Store};
use antipode::postgres::PostgresStore;
use antipode_docker::{PostgresOptions, PostgresTopology};
use sqlx::PgPool;

use super::{Access, EU, POSTS, Post, Posts, Reference};
use crate::Failure;
use crate::servers::postgres::{failed, pool, version};

/// Insert, or the next version: what an application of posts would say.
const STORE: &str =
    "INSERT INTO posts (id, body) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET body = excluded.body";
const DELETE: &str = "DELETE FROM posts WHERE id = $1";
const REMOTE_APPLY: &str = "SET LOCAL synchronous_commit = remote_apply";
const READ_RAW: &str = "SELECT body FROM posts WHERE id = $1";
const READ: &str = "SELECT body, antipode_lineage FROM posts WHERE id = $1";

/// A primary, and a streaming standby behind a proxy that delays its replication. Commits wait for the
/// standby only where they ask for it.
pub(crate) struct PostgresPosts {
    topology: PostgresTopology,
    writer: PostgresStore,
    reader: PostgresStore,
    to_primary: PgPool,
    to_replica: PgPool,
    version: String,
}

impl PostgresPosts {
    pub(crate) async fn open() -> Result<Self, Failure> {
        let topology = PostgresTopology::start(PostgresOptions::default().standbys(1)).await?;
        topology.primary().set_setting("synchronous_commit", "local").await?;
        topology.primary().set_setting("synchronous_standby_names", "*").await?;
        let (primary, replica) = (topology.primary().url(), topology.standby(0).url());
        // Two handles, each with pools of its own: the writer and the reader are different services.
        let store = async || {
            let (primary, replica) = (pool(&primary).await?, pool(&replica).await?);
            let store = PostgresStore::builder(POSTS).primary(primary).replica(EU, replica);
            store.on_missing(OnMissing::Error).build().map_err(failed("be opened"))
        };
        let (writer, reader) = (store().await?, store().await?);
        let (to_primary, to_replica) = (pool(&primary).await?, pool(&replica).await?);
        let table = "CREATE TABLE posts (id text PRIMARY KEY, body bytea NOT NULL)";
        sqlx::query(table).execute(&to_primary).await.map_err(failed("make the table"))?;
        writer.migrate_table("posts").await.map_err(failed("migrate the table"))?;
        let version = version(&to_primary).await?;
        Ok(Self { topology, writer, reader, to_primary, to_replica, version })
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
        self.topology.link(0).set_delay_to_client(lag);
        Ok(())
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
                    let mut transaction = self.to_primary.begin().await.map_err(failed(OPERATION))?;
                    if access == Access::Own {
                        let applied = sqlx::raw_sql(REMOTE_APPLY).execute(&mut *transaction).await;
                        applied.map_err(failed(OPERATION))?;
                    }
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
