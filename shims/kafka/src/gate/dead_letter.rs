//! Records that go to a topic of their own.

use std::time::Duration;

use antipode_barrier::BarrierError;
use antipode_lineage::StoreName;
use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, Message, OwnedHeaders, OwnedMessage};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::util::Timeout;

use crate::Error;

/// The header of a dead letter that says where it comes from, and why it was not handled.
pub const DEAD_LETTER_HEADER: &str = "antipode-dead-letter";

/// How long one attempt to write a letter may take.
const LIMIT: Duration = Duration::from_secs(10);

/// What a producer takes from a consumer's configuration: how to reach the brokers.
const CONNECTION: &[&str] =
    &["bootstrap.servers", "metadata.broker.list", "security.", "sasl.", "ssl.", "socket."];

/// Writes dead letters. A clone shares the producer.
#[derive(Clone)]
pub(super) struct DeadLetters {
    topic: String,
    producer: FutureProducer,
}

impl DeadLetters {
    pub(super) fn new(store: StoreName, consumer: &ClientConfig, topic: &str) -> Result<Self, Error> {
        let mut config = ClientConfig::new();
        for (key, value) in consumer.config_map() {
            if CONNECTION.iter().any(|prefix| key.starts_with(prefix)) {
                config.set(key, value);
            }
        }
        config.set("enable.idempotence", "true").set("message.timeout.ms", LIMIT.as_millis().to_string());
        let producer = config.create().map_err(|source| Error::Client { store, source: Box::new(source) })?;
        Ok(Self { topic: topic.to_owned(), producer })
    }

    /// Writes a letter and waits until its topic has it.
    pub(super) async fn send(&self, message: OwnedMessage, why: &BarrierError) -> Result<(), KafkaError> {
        let from = (message.topic(), message.partition(), message.offset());
        let reason = format!("{} [{}] @{}: {why}", from.0, from.1, from.2);
        let headers = message.headers().cloned().unwrap_or_else(OwnedHeaders::new);
        let headers = headers.insert(Header { key: DEAD_LETTER_HEADER, value: Some(&reason) });
        let mut record = FutureRecord::to(&self.topic).headers(headers);
        record.key = message.key();
        record.payload = message.payload();
        self.producer.send(record, Timeout::After(LIMIT)).await.map(drop).map_err(|(error, _)| error)
    }
}
