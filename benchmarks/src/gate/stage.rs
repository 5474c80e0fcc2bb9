//! The servers of a run, and how its processes reach them.

use antipode::barrier::OnMissing;
use antipode::kafka::KafkaStore;
use antipode::redis::RedisStore;
use antipode_docker::{KafkaOptions, KafkaTopology};
use rdkafka::ClientConfig;
use redis::Client;

use crate::Failure;
use crate::cli::Gate;
use crate::posts::{EU, POSTS};
use crate::servers::kafka::failed;
use crate::servers::redis::{RedisServers, failed as redis_failed};

/// The records that refer to posts.
pub(super) const TOPIC: &str = "antipode-benchmark-gate";

/// Those of the part with a stuck key.
pub(super) const STUCK: &str = "antipode-benchmark-stuck";

const PARTITIONS: i32 = 12;

pub(super) struct Stage {
    pub(super) kafka: KafkaTopology,
    pub(super) redis: RedisServers,
}

impl Stage {
    pub(super) async fn open(settings: &Gate) -> Result<Self, Failure> {
        let kafka = KafkaTopology::start(KafkaOptions::default()).await?;
        for topic in [TOPIC, STUCK] {
            kafka.create_topic(topic, PARTITIONS, 1, &[]).await?;
        }
        let redis = RedisServers::open(None, 1).await?;
        redis.set_lag(settings.lag);
        Ok(Self { kafka, redis })
    }
}

/// The store of the records.
pub(super) fn records(bootstrap: &str) -> Result<KafkaStore, Failure> {
    let store = KafkaStore::builder("records").topic(TOPIC).topic(STUCK).config(&connection(bootstrap));
    store.on_missing(OnMissing::Error).build().map_err(failed("be opened"))
}

/// The store of the posts.
pub(super) fn posts(primary: &str, replica: &str) -> Result<RedisStore, Failure> {
    let client = |url: &str| Client::open(url).map_err(redis_failed("be reached"));
    let store = RedisStore::builder(POSTS).primary(client(primary)?).replica(EU, client(replica)?);
    store.on_missing(OnMissing::Error).build().map_err(redis_failed("be opened"))
}

pub(super) fn connection(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap);
    config
}

/// How records are consumed: a dead process is noticed within 2 s.
pub(super) fn consuming(bootstrap: &str, group: &str) -> ClientConfig {
    let mut config = connection(bootstrap);
    config
        .set("group.id", group)
        .set("auto.offset.reset", "earliest")
        .set("session.timeout.ms", "2000")
        .set("heartbeat.interval.ms", "300");
    config
}
