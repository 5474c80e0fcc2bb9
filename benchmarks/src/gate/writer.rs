//! The service that writes posts, and records that refer to them.

use antipode::lineage::LineageScope;
use futures_util::future::try_join_all;
use rdkafka::producer::FutureRecord;
use redis::Cmd;

use super::stage::{Stage, TOPIC, connection, posts, records};
use crate::Failure;
use crate::cli::Gate;
use crate::servers::kafka::{LIMIT, failed};
use crate::servers::redis::{PREFIX, failed as redis_failed, raw_connection};

/// How many requests run at once, each with keys of its own.
const AT_ONCE: u32 = 64;

/// The key of a post in Redis.
pub(super) fn post(key: u32) -> String {
    format!("{PREFIX}gate:{key}")
}

/// How many records each key gets.
pub(super) fn versions(settings: &Gate) -> u32 {
    settings.records / settings.keys
}

/// Every key's post is written in one version after the other, each followed by a record that refers to
/// it: `version`, under the key.
pub(super) async fn write(stage: &Stage, settings: &Gate) -> Result<(), Failure> {
    let bootstrap = stage.kafka.bootstrap();
    let producer = records(&bootstrap)?;
    let producer = producer.producer(connection(&bootstrap).set("linger.ms", "1"));
    let producer = producer.map_err(failed("be written to"))?;
    let store = posts(&stage.redis.primary, &stage.redis.replica)?;
    let to_primary = raw_connection(&stage.redis.primary).await?;
    let requests = (0..AT_ONCE).map(async |request| {
        for version in 0..versions(settings) {
            for key in (request..settings.keys).step_by(AT_ONCE as usize) {
                let work = async {
                    let set = Cmd::set(post(key), version);
                    let mut shim = store.shim(to_primary.clone());
                    let () = set.query_async(&mut shim).await.map_err(redis_failed("store a post"))?;
                    let (key, version) = (key.to_string(), version.to_string());
                    let record = FutureRecord::to(TOPIC).key(&key).payload(&version);
                    producer.send(record, LIMIT).await.map_err(failed("write a record"))
                };
                LineageScope::new().run(work).await?;
            }
        }
        Ok::<(), Failure>(())
    });
    try_join_all(requests).await.map(drop)
}
