//! A broker, a topic `notices`, and a post store whose replica is cut off when a test says so.

use std::collections::BTreeMap;
use std::time::Duration;

use antipode_barrier::Registry;
use antipode_docker::{KafkaOptions, KafkaTopology};
use antipode_kafka::rdkafka::consumer::{BaseConsumer, Consumer};
use antipode_kafka::rdkafka::producer::FutureRecord;
use antipode_kafka::rdkafka::{ClientConfig, Offset, TopicPartitionList};
use antipode_kafka::{Delivery, Gate, GateBuilder, KafkaProducer, KafkaStore};
use antipode_lineage::LineageScope;
use antipode_memory::{Lag, MemoryStore};

pub(crate) const TOPIC: &str = "notices";

/// Far more than anything here needs: it only ends a test that would hang.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// Long enough for what must not happen to happen.
pub(crate) const SILENCE: Duration = Duration::from_millis(1_500);

pub(crate) struct Doorway {
    pub(crate) topology: KafkaTopology,
    pub(crate) notices: KafkaStore,
    pub(crate) producer: KafkaProducer,
    pub(crate) posts: MemoryStore,
    pub(crate) registry: Registry,
}

impl Doorway {
    pub(crate) async fn open(partitions: i32) -> Self {
        let topology = KafkaTopology::start(KafkaOptions::default()).await.unwrap();
        topology.create_topic(TOPIC, partitions, 1, &[]).await.unwrap();
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", topology.bootstrap());
        let notices = KafkaStore::builder(TOPIC).topic(TOPIC).config(&config).build().unwrap();
        let producer = notices.producer(config.set("linger.ms", "0")).unwrap();
        let lag = Lag::of(Duration::from_millis(1));
        let posts = MemoryStore::builder("posts").region("us").lagging("eu", lag).build().unwrap();
        let read = posts.reading_from(["eu"]).unwrap();
        let registry = Registry::builder().store(read).build().await.unwrap();
        Self { topology, notices, producer, posts, registry }
    }

    /// A gate in the group `readers`.
    pub(crate) fn gate(&self) -> GateBuilder {
        Gate::builder(&self.notices, &self.registry).config(&self.config()).topics([TOPIC]).deadline(LIMIT)
    }

    pub(crate) fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", self.topology.bootstrap())
            .set("group.id", "readers")
            .set("auto.offset.reset", "earliest")
            .set("heartbeat.interval.ms", "300")
            .set("session.timeout.ms", "6000");
        config
    }

    /// Writes a post, and a notice of this key and value that depends on it.
    pub(crate) async fn post(&self, partition: i32, key: &str, value: &str) {
        let work = async {
            self.posts.shim().put(value, "hello").await.unwrap();
            self.send(partition, Some(key), value).await;
        };
        LineageScope::new().run(work).await;
    }

    /// Writes a notice that depends on nothing.
    pub(crate) async fn notice(&self, partition: i32, key: &str, value: &str) {
        LineageScope::new().run(self.send(partition, Some(key), value)).await;
    }

    pub(crate) async fn send(&self, partition: i32, key: Option<&str>, value: &str) {
        let mut record = FutureRecord::to(TOPIC).payload(value).partition(partition);
        record.key = key;
        self.producer.send(record, LIMIT).await.unwrap();
    }

    /// Whether the replica that the handlers read has the post.
    pub(crate) async fn sees(&self, post: &str) -> bool {
        let read = self.posts.reading_from(["eu"]).unwrap();
        LineageScope::new().run(async { read.shim().get(post).await.unwrap().is_some() }).await
    }

    /// Where the group stands.
    pub(crate) async fn committed(&self, partition: i32) -> Option<i64> {
        let config = self.config();
        let asked = tokio::task::spawn_blocking(move || {
            let consumer: BaseConsumer = config.create().unwrap();
            let mut list = TopicPartitionList::new();
            list.add_partition(TOPIC, partition);
            let answer = consumer.committed_offsets(list, LIMIT).unwrap();
            match answer.elements().first().unwrap().offset() {
                Offset::Offset(offset) => Some(offset),
                _ => None,
            }
        });
        asked.await.unwrap()
    }
}

/// The next record.
pub(crate) async fn next(gate: &Gate) -> Delivery<'_> {
    tokio::time::timeout(LIMIT, gate.recv()).await.expect("it hangs").unwrap()
}

/// So many records wait, and nothing comes.
pub(crate) async fn until_parked(gate: &Gate, count: usize) {
    let deadline = tokio::time::Instant::now() + LIMIT;
    while gate.parked() != count {
        assert!(tokio::time::Instant::now() < deadline, "{} are parked", gate.parked());
        if let Ok(delivery) = tokio::time::timeout(SILENCE / 10, gate.recv()).await {
            panic!("{:?} was not to come", delivery.map(|delivery| value(&delivery)));
        }
    }
}

/// Nothing comes for a while.
pub(crate) async fn silence(gate: &Gate) {
    if let Ok(delivery) = tokio::time::timeout(SILENCE, gate.recv()).await {
        panic!("{:?} was not to come", delivery.map(|delivery| value(&delivery)));
    }
}

pub(crate) fn value(delivery: &Delivery<'_>) -> String {
    String::from_utf8(delivery.payload().unwrap().to_vec()).unwrap()
}

/// Handles this many records, and tells which values each key had, in order.
pub(crate) async fn handle(gate: &Gate, count: usize) -> BTreeMap<String, Vec<String>> {
    let mut handled: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for _ in 0..count {
        let delivery = next(gate).await;
        let key = delivery.key().map(|key| String::from_utf8(key.to_vec()).unwrap());
        handled.entry(key.unwrap_or_default()).or_default().push(value(&delivery));
        delivery.done();
    }
    handled
}

/// A committed position, once the group is there.
pub(crate) async fn until_committed(doorway: &Doorway, gate: &Gate, partition: i32, offset: i64) {
    let arrived = async {
        while doorway.committed(partition).await != Some(offset) {
            // Nothing runs in between calls.
            let _ = tokio::time::timeout(Duration::from_millis(200), gate.recv()).await;
        }
    };
    tokio::time::timeout(LIMIT, arrived).await.expect("never committed");
}
