//! The lineage of a key, as it is stored beside its value.

use antipode_docker::RedisOptions;
use antipode_lineage::{Lineage, LineageScope};
use antipode_redis::RedisShim;
use antipode_redis::redis::aio::{ConnectionManager, MultiplexedConnection};
use antipode_redis::redis::{Cmd, FromRedisValue};

use crate::stage::{Stage, depending, foreign};

/// One server is enough here.
pub(crate) async fn alone() -> (Stage, MultiplexedConnection) {
    let stage = Stage::with(RedisOptions::default().replicas(0)).await;
    let raw = stage.raw().await;
    (stage, raw)
}

pub(crate) fn command(words: &str) -> Cmd {
    let mut command = Cmd::new();
    command.arg(words.split(' ').collect::<Vec<_>>());
    command
}

impl Stage {
    /// A connection of a request that depends on the order with this number only.
    pub(crate) async fn writer(&self, order: u64) -> RedisShim<ConnectionManager> {
        self.store.connection().await.unwrap().within(depending(foreign(order)))
    }

    /// Does this in a request that depends on the order with this number.
    pub(crate) async fn run<T: FromRedisValue>(&self, order: u64, words: &str) -> T {
        command(words).query_async(&mut self.writer(order).await).await.unwrap()
    }

    /// The greatest order that a request depends on after this.
    pub(crate) async fn learnt(&self, words: &str) -> u64 {
        let scope = LineageScope::new();
        let mut posts = self.store.connection().await.unwrap().within(scope.clone());
        let () = command(words).query_async(&mut posts).await.unwrap();
        order(&scope.lineage())
    }

    /// The greatest order stored beside a key.
    pub(crate) async fn beside(&self, key: &str) -> u64 {
        self.learnt(&format!("EXISTS {key}")).await
    }
}

pub(crate) fn order(lineage: &Lineage) -> u64 {
    assert!(!lineage.has_overflowed(), "{lineage}");
    lineage.of_store(foreign(0).store).first().map_or(0, |write| write.position.0)
}
