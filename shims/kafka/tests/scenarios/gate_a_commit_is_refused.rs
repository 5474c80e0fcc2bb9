//! A broker refuses a commit, which real ones do not do when asked to: the driver's mock of one does.

use std::time::Duration;

use antipode_barrier::Registry;
use antipode_kafka::rdkafka::ClientConfig;
use antipode_kafka::rdkafka::consumer::{BaseConsumer, Consumer};
use antipode_kafka::rdkafka::mocking::MockCluster;
use antipode_kafka::rdkafka::producer::{FutureProducer, FutureRecord};
use antipode_kafka::rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use antipode_kafka::rdkafka::{Offset, TopicPartitionList};
use antipode_kafka::{Gate, KafkaStore};

use crate::doorway::{LIMIT, TOPIC, next};

const EVERY: Duration = Duration::from_millis(100);

#[tokio::test(flavor = "multi_thread")]
async fn what_was_handled_is_said_again() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic(TOPIC, 1, 1).unwrap();
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", cluster.bootstrap_servers());
    let producer: FutureProducer = config.create().unwrap();
    producer.send(FutureRecord::to(TOPIC).key("bob").payload("b1"), LIMIT).await.unwrap();

    config.set("group.id", "readers").set("auto.offset.reset", "earliest");
    let notices = KafkaStore::builder(TOPIC).topic(TOPIC).config(&config).build().unwrap();
    let registry = Registry::builder().build().await.unwrap();
    let gate = Gate::builder(&notices, &registry).config(&config).topics([TOPIC]).commit_every(EVERY);
    let gate = gate.build().unwrap();
    let delivery = next(&gate).await;
    cluster.request_errors(
        RDKafkaApiKey::OffsetCommit,
        &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED],
    );
    delivery.done();
    let committed = async {
        while committed(&config).await != Offset::Offset(1) {
            // Nothing runs in between calls, and nothing more comes.
            let _ = tokio::time::timeout(EVERY * 2, gate.recv()).await;
        }
    };
    tokio::time::timeout(LIMIT, committed).await.expect("it was said once, and refused");
}

async fn committed(config: &ClientConfig) -> Offset {
    let config = config.clone();
    let asked = tokio::task::spawn_blocking(move || {
        let consumer: BaseConsumer = config.create().unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition(TOPIC, 0);
        consumer.committed_offsets(list, LIMIT).unwrap().elements()[0].offset()
    });
    asked.await.unwrap()
}
