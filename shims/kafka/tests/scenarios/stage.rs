//! Brokers, a topic, and the store over it.

use std::time::Duration;

use antipode_barrier::{BarrierError, OnMissing, Registry, Report, Store};
use antipode_docker::{KafkaOptions, KafkaTopology};
use antipode_kafka::rdkafka::ClientConfig;
use antipode_kafka::rdkafka::consumer::Consumer;
use antipode_kafka::rdkafka::error::{KafkaError, RDKafkaErrorCode};
use antipode_kafka::rdkafka::message::Message;
use antipode_kafka::rdkafka::producer::FutureRecord;
use antipode_kafka::{KafkaConsumer, KafkaProducer, KafkaStore, KafkaStoreBuilder, Visible};
use antipode_lineage::{Epoch, Lineage, LineageScope, Position, Shard, StoreName, WriteId};

/// Long enough for a busy machine. Nothing is asserted about how long anything took.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

/// Long enough for a write to arrive, if it were on its way.
pub(crate) const MOMENT: Duration = Duration::from_millis(700);

pub(crate) const TOPIC: &str = "orders";

pub(crate) struct Stage {
    pub(crate) topology: KafkaTopology,
    pub(crate) store: KafkaStore,
}

impl Stage {
    /// One broker, one partition.
    pub(crate) async fn start() -> Self {
        Self::with(KafkaOptions::default(), 1, 1, &[]).await
    }

    pub(crate) async fn with(
        options: KafkaOptions,
        partitions: i32,
        replication: i32,
        settings: &[(&str, &str)],
    ) -> Self {
        let topology = KafkaTopology::start(options).await.unwrap();
        topology.create_topic(TOPIC, partitions, replication, settings).await.unwrap();
        let store = builder(&topology).build().unwrap();
        // As registering does: a record sent before anyone looked at the log could be of any epoch.
        store.check().await.unwrap();
        Self { topology, store }
    }

    /// The store of a service for which "visible" means this.
    pub(crate) fn store(&self, visible: Visible) -> KafkaStore {
        builder(&self.topology).visible(visible).build().unwrap()
    }

    pub(crate) fn config(&self) -> ClientConfig {
        config(&self.topology)
    }

    pub(crate) fn producer(&self) -> KafkaProducer {
        self.store.producer(&self.config()).unwrap()
    }

    /// A consumer of all records, from the first one on.
    pub(crate) fn consumer(&self, store: &KafkaStore, group: &str) -> KafkaConsumer {
        let mut config = self.config();
        config.set("group.id", group).set("auto.offset.reset", "earliest");
        config.set("enable.auto.commit", "false").set("session.timeout.ms", "6000");
        let consumer = store.consumer(&config).unwrap();
        consumer.subscribe(&[TOPIC]).unwrap();
        consumer
    }
}

pub(crate) fn builder(topology: &KafkaTopology) -> KafkaStoreBuilder {
    KafkaStore::builder("orders").topic(TOPIC).config(&config(topology)).on_missing(OnMissing::Error)
}

pub(crate) fn config(topology: &KafkaTopology) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", topology.bootstrap());
    config
}

pub(crate) fn record(payload: &str) -> FutureRecord<'_, str, str> {
    FutureRecord::to(TOPIC).key("key").payload(payload)
}

/// Sends a record in a scope that depends on nothing else, and tells where it is.
pub(crate) async fn written(producer: &KafkaProducer, payload: &str) -> WriteId {
    let scope = LineageScope::new();
    scope.run(producer.send(record(payload), PATIENCE)).await.unwrap();
    placed(&scope).await
}

pub(crate) async fn registry(store: &KafkaStore) -> Registry {
    Registry::builder().store(store.clone()).deadline(PATIENCE).build().await.unwrap()
}

/// A dependency on another store, as it comes with a request.
pub(crate) fn foreign(position: u64) -> WriteId {
    let epoch = Epoch { history: 7, term: 1 };
    WriteId { store: name("posts"), shard: Shard::ONLY, epoch, position: Position(position) }
}

/// A scope that depends on this.
pub(crate) fn depending(write: WriteId) -> LineageScope {
    LineageScope::from(Lineage::from(write))
}

pub(crate) fn name(name: &str) -> StoreName {
    StoreName::parse(name).unwrap()
}

/// The one write of the store that the scope depends on.
pub(crate) async fn placed(scope: &LineageScope) -> WriteId {
    let lineage = scope.settled().await;
    let [write] = lineage.of_store(name("orders")) else { panic!("not one write: {lineage}") };
    *write
}

pub(crate) async fn barrier(registry: &Registry, write: WriteId) -> Result<Report, BarrierError> {
    registry.barrier_on(&Lineage::from(write)).await
}

/// A barrier that is not given the time to see anything arrive: why it did not pass.
pub(crate) async fn glance(registry: &Registry, write: WriteId) -> BarrierError {
    registry.barrier_on(&Lineage::from(write)).deadline(MOMENT).await.unwrap_err()
}

/// The next record's text. The driver also tells of brokers that went away, and comes back to them by
/// itself.
pub(crate) async fn receive(consumer: &KafkaConsumer) -> (String, i64) {
    let received = async {
        loop {
            match consumer.recv().await {
                Err(KafkaError::MessageConsumption(
                    RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::AllBrokersDown,
                )) => {}
                received => return received.unwrap(),
            }
        }
    };
    let record = tokio::time::timeout(PATIENCE, received).await.unwrap();
    (String::from_utf8(record.payload().unwrap().to_vec()).unwrap(), record.offset())
}
