//! Writing to and reading from Kafka, from outside of the crate under test.

use std::time::{Duration, Instant};

use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{Consumer, StreamConsumer},
    error::KafkaResult,
    producer::{FutureProducer, FutureRecord},
};
use tokio::time::sleep;

/// Far more than anything here needs: it only ends a test that would hang.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// Writes a record to partition 0 and returns its offset.
pub(crate) async fn write(bootstrap: &str, topic: &str, value: &str, acks: &str) -> KafkaResult<i64> {
    let producer: FutureProducer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("acks", acks)
        .set("message.timeout.ms", "20000")
        .create()?;
    let record = FutureRecord::<(), str>::to(topic).payload(value).partition(0);
    let delivery = producer.send(record, LIMIT).await.map_err(|(error, _)| error)?;
    Ok(delivery.offset)
}

/// The first values of partition 0, as many as come within a limit.
pub(crate) async fn read(bootstrap: &str, topic: &str, count: usize, limit: Duration) -> Vec<String> {
    let consumer: StreamConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "reader")
        .set("enable.auto.commit", "false")
        .create()
        .unwrap();
    let mut places = TopicPartitionList::new();
    places.add_partition_offset(topic, 0, Offset::Beginning).unwrap();
    consumer.assign(&places).unwrap();
    let deadline = tokio::time::Instant::now() + limit;
    let mut values = Vec::new();
    while values.len() < count {
        let Ok(next) = tokio::time::timeout_at(deadline, consumer.recv()).await else { break };
        // The brokers may be out of reach for a while.
        let Ok(message) = next else { continue };
        values.push(String::from_utf8(message.payload().unwrap().to_vec()).unwrap());
    }
    values
}

/// Waits until something holds.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !holds().await {
        assert!(Instant::now() < deadline, "never {what}");
        sleep(Duration::from_millis(20)).await;
    }
}
