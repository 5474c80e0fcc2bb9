//! Posts in Redis, each the value of a key.

use std::sync::Arc;
use std::time::Duration;

use antipode::barrier::{BoxFuture, OnMissing, Store};
use antipode::redis::RedisStore;
use redis::aio::ConnectionManager;
use redis::{AsyncCommands, Client, Cmd, RedisResult};

use super::{Access, EU, POSTS, Post, Posts, Reference};
use crate::Failure;
use crate::cli::Pair;
use crate::servers::redis::{PREFIX, RedisServers, Waiting, failed, raw_connection, version};

/// A primary and a lagging replica.
pub(crate) struct RedisPosts {
    servers: RedisServers,
    writer: RedisStore,
    reader: RedisStore,
    to_primary: ConnectionManager,
    to_replica: ConnectionManager,
    waiting: Waiting,
    version: String,
}

impl RedisPosts {
    pub(crate) async fn open(given: Option<&Pair>) -> Result<Self, Failure> {
        let servers = RedisServers::open(given, 1).await?;
        let RedisServers { primary, replica, .. } = &servers;
        let client = |url: &str| Client::open(url).map_err(failed("be reached"));
        // Two handles: the writer and the reader are different services.
        let store = || {
            let store = RedisStore::builder(POSTS).primary(client(primary)?).replica(EU, client(replica)?);
            store.on_missing(OnMissing::Error).build().map_err(failed("be opened"))
        };
        Ok(Self {
            writer: store()?,
            reader: store()?,
            to_primary: raw_connection(primary).await?,
            to_replica: raw_connection(replica).await?,
            waiting: Waiting::new(client(primary)?),
            version: version(primary).await?,
            servers,
        })
    }
}

fn key(post: &str) -> String {
    format!("{PREFIX}{post}")
}

impl Posts for RedisPosts {
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
                Some(body) => Cmd::set(key(post.id()), body.as_slice()),
                None => Cmd::del(key(post.id())),
            };
            let written: RedisResult<()> = match access {
                Access::Raw => change.query_async(&mut self.to_primary.clone()).await,
                Access::Shim => change.query_async(&mut self.writer.shim(self.to_primary.clone())).await,
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
                Access::Raw | Access::Own => self.to_replica.clone().get(key(&post.post)).await,
                // The only replica, which is where any barrier routes to, over a patient connection.
                Access::Shim => self.reader.shim(self.to_replica.clone()).get(key(&post.post)).await,
            }
            .map_err(failed(OPERATION))
        })
    }
}
