//! The store that is registered.

use std::sync::Arc;
use std::time::Duration;

use antipode_barrier::{BoxFuture, CheckError, Observer, Recorder, Replica, Shards, Store};
use antipode_lineage::{Lineage, LineageCodec, LineageScope, Shard, StoreName, WriteId};
use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::consumer::{ConsumerContext, DefaultConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::producer::{DefaultProducerContext, FutureProducer, Partitioner, ProducerContext};
use tokio::time::Instant;

use crate::builder::KafkaStoreBuilder;
use crate::consumer::KafkaConsumer;
use crate::error::Error;
use crate::header;
use crate::places::Places;
use crate::producer::{KafkaProducer, WeakAcks, producer_config};
use crate::reader::{Delivered, Reader};
use crate::shard::partition_shard;
use crate::threaded::{KafkaThreadedProducer, LineageContext, delivery_limit};

/// How long a store waits for its leaders to settle when it is registered.
const SETTLING: Duration = Duration::from_secs(5);

/// Between two questions meanwhile.
const PAUSE: Duration = Duration::from_millis(100);

/// Topics of one Kafka cluster, as one store: each partition is a shard. Register it for barriers; its
/// producers and consumers carry lineage. A clone shares everything.
///
/// A position is a record's offset + 1, an epoch is the topic's id and the partition's leader epoch. **What
/// a barrier promises** is what [`Visible`](crate::Visible) says, within the log that the partition has
/// now: a record of a topic that was deleted since, or one that a new leader cut off, is lost.
///
/// ```no_run
/// use std::time::Duration;
///
/// use antipode_barrier::Registry;
/// use antipode_kafka::KafkaStore;
/// use antipode_kafka::rdkafka::{ClientConfig, consumer::Consumer, producer::FutureRecord};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let mut config = ClientConfig::new();
/// config.set("bootstrap.servers", "kafka.example:9092");
/// let notifications =
///     KafkaStore::builder("notifications").topic("notifications").config(&config).build()?;
/// let registry = Registry::builder().store(notifications.clone()).build().await?;
///
/// // In a handler, inside of the request's lineage scope:
/// let producer = notifications.producer(&config)?;
/// let record = FutureRecord::to("notifications").key("alice").payload("post:1");
/// producer.send(record, Duration::from_secs(5)).await?;
///
/// // In another service: handle each record in a scope that depends on what its writer depended on.
/// let consumer = notifications.consumer(config.clone().set("group.id", "mailer"))?;
/// consumer.subscribe(&["notifications"])?;
/// let record = consumer.recv().await?;
/// let scope = record.scope();
/// registry.barrier_on(&scope.settled().await).await?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct KafkaStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) recorder: Recorder,
    pub(crate) codec: LineageCodec,
    pub(crate) weak_acks: WeakAcks,
    pub(crate) places: Arc<Places>,
    pub(crate) delivered: Arc<Delivered>,
    pub(crate) log: Arc<Reader>,
    pub(crate) readers: Vec<Arc<Reader>>,
}

impl KafkaStore {
    /// Begins a store of the name that all services use for it.
    pub fn builder(name: impl Into<String>) -> KafkaStoreBuilder {
        KafkaStoreBuilder::new(name.into())
    }

    pub(crate) fn new(inner: Inner) -> Self {
        Self { inner: Arc::new(inner) }
    }

    /// A producer with this configuration, with `acks=all` and `enable.idempotence=true` unless it says
    /// otherwise.
    ///
    /// # Errors
    /// [`Error::Client`], and [`Error::WeakAcks`] unless the store allows less than `acks=all`.
    pub fn producer(&self, config: &ClientConfig) -> Result<KafkaProducer, Error> {
        let (config, acks) = producer_config(self.name(), config, self.inner.weak_acks)?;
        Ok(KafkaProducer::new(self.clone(), config.create().map_err(|source| self.client(source))?, acks))
    }

    /// The same with a context of your own.
    ///
    /// # Errors
    /// Those of [`producer`](Self::producer).
    pub fn producer_with_context<C: ClientContext + 'static>(
        &self,
        config: &ClientConfig,
        context: C,
    ) -> Result<KafkaProducer<C>, Error> {
        let (config, acks) = producer_config(self.name(), config, self.inner.weak_acks)?;
        let producer: FutureProducer<C> =
            config.create_with_context(context).map_err(|source| self.client(source))?;
        Ok(KafkaProducer::new(self.clone(), producer, acks))
    }

    /// A producer over the driver's `ThreadedProducer`, with the same defaults.
    ///
    /// # Errors
    /// Those of [`producer`](Self::producer).
    pub fn threaded_producer(&self, config: &ClientConfig) -> Result<KafkaThreadedProducer, Error> {
        self.threaded_producer_with_context(config, DefaultProducerContext)
    }

    /// The same with a context of your own, whose delivery callback and opaque work as before.
    ///
    /// # Errors
    /// Those of [`producer`](Self::producer).
    pub fn threaded_producer_with_context<C, Part>(
        &self,
        config: &ClientConfig,
        context: C,
    ) -> Result<KafkaThreadedProducer<C, Part>, Error>
    where
        C: ProducerContext<Part> + 'static,
        Part: Partitioner + Send + Sync + 'static,
    {
        let (config, acks) = producer_config(self.name(), config, self.inner.weak_acks)?;
        let made = config.create_with_context(LineageContext::new(context));
        let inner = made.map_err(|source| self.client(source))?;
        Ok(KafkaThreadedProducer::new(self.clone(), inner, acks, delivery_limit(&config)))
    }

    /// A consumer with this configuration.
    ///
    /// # Errors
    /// [`Error::Client`].
    pub fn consumer(&self, config: &ClientConfig) -> Result<KafkaConsumer<DefaultConsumerContext>, Error> {
        Ok(KafkaConsumer::new(self.clone(), config.create().map_err(|source| self.client(source))?))
    }

    /// The same with a context of your own.
    ///
    /// # Errors
    /// [`Error::Client`].
    pub fn consumer_with_context<C: ConsumerContext + 'static>(
        &self,
        config: &ClientConfig,
        context: C,
    ) -> Result<KafkaConsumer<C>, Error> {
        let consumer = config.create_with_context(context).map_err(|source| self.client(source))?;
        Ok(KafkaConsumer::new(self.clone(), consumer))
    }

    /// What the writer of a record depended on: everything if its header cannot be read, nothing if there
    /// is none.
    pub fn writer_lineage<M: Message>(&self, record: &M) -> Lineage {
        header::lineage_or_everything(self.name(), record, &self.inner.codec)
    }

    /// The same with the record's own place, as far as it is known without asking a broker. Where it is
    /// not, the record stands as [unplaced](WriteId::unplaced_in); [`record_scope`](Self::record_scope)
    /// finds out.
    pub fn record_lineage<M: Message>(&self, record: &M) -> Lineage {
        let mut lineage = self.writer_lineage(record);
        let place = self.own_place(record);
        lineage.add(match place {
            Some((shard, offset)) => {
                let places = &self.inner.places;
                places.known(shard, offset).unwrap_or_else(|| places.unplaced(Some(shard)))
            }
            None => WriteId::unplaced(self.name()),
        });
        lineage
    }

    /// A scope to handle a record in: it depends on what the record's writer depended on, and on the
    /// record itself.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn record_scope<M: Message>(&self, record: &M) -> LineageScope {
        let scope = LineageScope::from(self.writer_lineage(record));
        match self.own_place(record) {
            Some((shard, offset)) => self.inner.places.add_read(&scope, shard, offset),
            None => scope.add(WriteId::unplaced(self.name())),
        }
        scope
    }

    /// How many records were sent without a lineage to take along.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.inner.recorder.missed()
    }

    /// A record was handed to the user.
    pub(crate) fn delivered<M: Message>(&self, record: &M) {
        if let Some((shard, offset)) = self.own_place(record) {
            self.inner.delivered.advance(shard, offset);
        }
    }

    pub(crate) fn recorder(&self) -> &Recorder {
        &self.inner.recorder
    }

    pub(crate) fn codec(&self) -> &LineageCodec {
        &self.inner.codec
    }

    pub(crate) fn places(&self) -> &Arc<Places> {
        &self.inner.places
    }

    /// `None` for a record of a topic that the store does not cover.
    fn own_place<M: Message>(&self, record: &M) -> Option<(Shard, u64)> {
        let topics = &self.inner.places.cluster.topics;
        topics.iter().find(|topic| *topic == record.topic())?;
        Some((partition_shard(record.topic(), record.partition())?, u64::try_from(record.offset()).ok()?))
    }

    fn client(&self, source: KafkaError) -> Error {
        Error::Client { store: self.name(), source: Box::new(source) }
    }

    async fn checked(&self) -> Result<(), CheckError> {
        let deadline = Instant::now() + SETTLING;
        loop {
            match self.asked().await {
                // A topic that was just made: its leaders are about to know it.
                Err(error) if error.is_unsettled() && Instant::now() < deadline => {
                    tokio::time::sleep(PAUSE).await;
                }
                outcome => {
                    return outcome
                        .map_err(|error| CheckError::new(self.name(), error.to_string()).with_source(error));
                }
            }
        }
    }

    async fn asked(&self) -> Result<(), Error> {
        let Inner { log, readers, .. } = self.inner.as_ref();
        for reader in std::iter::once(log).chain(readers) {
            reader.frontiers(Shards::All).await?;
        }
        Ok(())
    }
}

impl Store for KafkaStore {
    fn name(&self) -> StoreName {
        self.inner.recorder.store()
    }

    fn primary(&self) -> Option<Arc<dyn Replica>> {
        Some(Arc::clone(&self.inner.log) as _)
    }

    fn replicas(&self) -> Vec<Arc<dyn Replica>> {
        self.inner.readers.iter().map(|reader| Arc::clone(reader) as _).collect()
    }

    /// All topics exist, and the leader of every partition answers.
    fn check(&self) -> BoxFuture<'_, Result<(), CheckError>> {
        Box::pin(self.checked())
    }

    fn observed_by(&self, observer: Arc<dyn Observer>) {
        self.inner.recorder.observed_by(observer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_record_whose_place_is_not_known_is_unplaced() {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", "127.0.0.1:1");
        let store = KafkaStore::builder("orders").topic("a").config(&config).build().unwrap();
        let record = |topic: &str| {
            let (topic, time) = (topic.to_owned(), rdkafka::Timestamp::NotAvailable);
            rdkafka::message::OwnedMessage::new(None, None, topic, time, 0, 7, None)
        };
        let unplaced = Lineage::from(WriteId::unplaced(store.name()));
        for topic in ["a", "not covered"] {
            assert_eq!(store.record_lineage(&record(topic)), unplaced);
            assert_eq!(store.record_scope(&record(topic)).settled().await, unplaced);
            assert_eq!(store.writer_lineage(&record(topic)), Lineage::new());
        }
    }
}
