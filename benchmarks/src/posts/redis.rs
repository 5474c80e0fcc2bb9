//! Posts in Redis, each the value of a key.

use std::sync::Arc;
use std::time::Duration;

use antipode::barrier::{BoxFuture, OnMissing, Store};
use antipode::redis::RedisStore;
use antipode_docker::{RedisOptions, RedisTopology};
use redis::aio::ConnectionManager;
use redis::{AsyncCommands, Client, Cmd, RedisResult};

use super::{Access, EU, POSTS, Post, Posts, Reference};
use crate::Failure;
use crate::servers::redis::{Waiting, failed, raw_connection, version};

/// A primary, and a replica behind a proxy that delays its replication.
pub(crate) struct RedisPosts {
    topology: RedisTopology,
    writer: RedisStore,
    reader: RedisStore,
    to_primary: ConnectionManager,
    to_replica: ConnectionManager,
    waiting: Waiting,
    version: String,
}

impl RedisPosts {
    pub(crate) async fn open() -> Result<Self, Failure> {
        let topology = RedisTopology::start(RedisOptions::default().replicas(1)).await?;
        let (primary, replica) = (topology.primary().url(), topology.replica(0).url());
        let client = |url: &str| Client::open(url).map_err(failed("be reached"));
        // Two handles: the writer and the reader are different services.
        let store = || {
            let store = RedisStore::builder(POSTS).primary(client(&primary)?).replica(EU, client(&replica)?);
            store.on_missing(OnMissing::Error).build().map_err(failed("be opened"))
        };
        Ok(Self {
            writer: store()?,
            reader: store()?,
            to_primary: raw_connection(&primary).await?,
            to_replica: raw_connection(&replica).await?,
            waiting: Waiting::new(client(&primary)?),
            version: version(&primary).await?,
            topology,
        })
    }
}

impl Posts for RedisPosts {
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
                Some(body) => Cmd::set(post.id(), body.as_slice()),
                None => Cmd::del(post.id()),
            };
            let written: RedisResult<()> = match access {
                Access::Raw => change.query_async(&mut self.to_primary.clone()).await,
                Access::Shim => {
                    let mut shim = self.writer.connection().await.map_err(failed(OPERATION))?;
                    change.query_async(&mut shim).await
                }
                Access::Own => return self.waiting.write(change).await.map(|()| None),
            };
            written.map(|()| None).map_err(failed(OPERATION))
        })
    }

    fn read<'a>(
        &'a self,
        access: Access,
        post: &'a Reference,
    ) -> BoxFuture<'a, Result<Option<Vec<u8>>, Failure>> {
        Box::pin(async move {
            const OPERATION: &str = "read a post";
            match access {
                Access::Raw | Access::Own => {
                    self.to_replica.clone().get(&post.post).await.map_err(failed(OPERATION))
                }
                Access::Shim => {
                    let mut shim = self.reader.read_connection().await.map_err(failed(OPERATION))?;
                    shim.get(&post.post).await.map_err(failed(OPERATION))
                }
            }
        })
    }
}
