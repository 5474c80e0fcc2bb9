//! The store that is registered.

use std::sync::Arc;
use std::time::Duration;

use antipode_barrier::{BoxFuture, CheckError, OnMissing, Recorder, Replica, Shards, Store};
use antipode_lineage::{
    InvalidName, Lineage, LineageCodec, LineageScope, ReplicaName, Shard, StoreName, WriteId,
};
use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::consumer::{ConsumerContext, DefaultConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::producer::FutureProducer;

use tokio::time::Instant;

use crate::cluster::{Cluster, End};
use crate::connection::{Dial, Tcp};
use crate::consumer::KafkaConsumer;
use crate::error::Error;
use crate::header;
use crate::places::Places;
use crate::producer::{KafkaProducer, WeakAcks, producer_config};
use crate::reader::{Delivered, Reader, View, Visible};
use crate::shard::{partition_shard, topic_hash};

/// The name of the partitions' leaders among the replicas.
const LOG: &str = "log";

/// How long a store waits for its leaders to settle when it is registered.
const SETTLING: Duration = Duration::from_secs(5);

/// Between two questions meanwhile.
const PAUSE: Duration = Duration::from_millis(100);

/// Topics of one Kafka cluster, as one store: each partition is a shard. Register it for barriers; its
/// producers and consumers carry lineage. A clone shares everything.
///
/// A position is a record's offset + 1, an epoch is the topic's id and the partition's leader epoch. **What
/// a barrier promises** is what [`Visible`] says, within the log that the partition has now: a record of
/// a topic that was deleted since, or one that a new leader cut off, is lost.
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
struct Inner {
    recorder: Recorder,
    codec: LineageCodec,
    weak_acks: WeakAcks,
    places: Arc<Places>,
    delivered: Arc<Delivered>,
    log: Arc<Reader>,
    readers: Vec<Arc<Reader>>,
}

/// Builds a [`KafkaStore`]. Connects to nothing.
#[must_use = "call `build`"]
pub struct KafkaStoreBuilder {
    name: String,
    topics: Vec<String>,
    config: ClientConfig,
    readers: Vec<(String, Visible)>,
    weak_acks: WeakAcks,
    on_missing: OnMissing,
    codec: LineageCodec,
    dialer: Option<Arc<dyn Dial>>,
}

impl KafkaStore {
    /// Begins a store of the name that all services use for it.
    pub fn builder(name: impl Into<String>) -> KafkaStoreBuilder {
        KafkaStoreBuilder {
            name: name.into(),
            topics: Vec::new(),
            config: ClientConfig::new(),
            readers: Vec::new(),
            weak_acks: WeakAcks::default(),
            on_missing: OnMissing::default(),
            codec: LineageCodec::plain(),
            dialer: None,
        }
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
}

impl KafkaStoreBuilder {
    /// Adds a topic. Records of other topics pass the store's producers and consumers as well, but
    /// nobody can wait for them.
    pub fn topic(mut self, topic: impl Into<String>) -> Self {
        self.topics.push(topic.into());
        self
    }

    /// How to reach the brokers, in the driver's words: `bootstrap.servers` and, for [`Visible::Available`],
    /// `isolation.level`. The store's own questions go over connections of its own.
    pub fn config(self, config: &ClientConfig) -> Self {
        Self { config: config.clone(), ..self }
    }

    /// What "visible" means. [`Visible::Available`] by default.
    pub fn visible(self, visible: Visible) -> Self {
        let name = match &visible {
            Visible::Available => "available",
            Visible::Delivered => "delivered",
            Visible::Processed { .. } => "processed",
        };
        self.reader(name, visible)
    }

    /// Adds a replica of this name, for which "visible" means this: say, one per region, each with a group
    /// of its own. The preferred one first; a barrier waits for whichever is fresh first. `log` is the
    /// name of the partitions' leaders.
    pub fn reader(mut self, name: impl Into<String>, visible: Visible) -> Self {
        self.readers.push((name.into(), visible));
        self
    }

    /// What to do with producers that do not wait for the in-sync replicas. They are refused by default.
    pub fn weak_acks(self, weak_acks: WeakAcks) -> Self {
        Self { weak_acks, ..self }
    }

    /// What to do with records sent outside of any lineage scope. They pass and are counted by default.
    pub fn on_missing(self, on_missing: OnMissing) -> Self {
        Self { on_missing, ..self }
    }

    /// How lineage is written into headers: with a signature, say. Plain by default.
    pub fn codec(self, codec: LineageCodec) -> Self {
        Self { codec, ..self }
    }

    /// How the store's own connections are made. Needed where the brokers want TLS or SASL.
    pub fn dialer(self, dialer: impl Dial) -> Self {
        Self { dialer: Some(Arc::new(dialer)), ..self }
    }

    /// The store.
    ///
    /// # Errors
    /// [`Error::Name`], [`Error::NoTopics`], [`Error::TopicsCollide`], [`Error::NoBrokers`],
    /// [`Error::NoDialer`] and [`Error::DuplicateReader`].
    pub fn build(self) -> Result<KafkaStore, Error> {
        let name = |source| Error::Name { name: self.name.clone(), source };
        let store: StoreName = self.name.parse().map_err(name)?;
        self.check_topics(store)?;
        let brokers =
            self.config.get("bootstrap.servers").or_else(|| self.config.get("metadata.broker.list"));
        let brokers = brokers.unwrap_or_default().split(',').map(str::trim);
        let brokers: Vec<String> = brokers.filter(|broker| !broker.is_empty()).map(address).collect();
        if brokers.is_empty() {
            return Err(Error::NoBrokers { store });
        }
        let dialer = match (self.dialer, self.config.get("security.protocol")) {
            (Some(dialer), _) => dialer,
            (None, Some(protocol)) if !protocol.eq_ignore_ascii_case("plaintext") => {
                return Err(Error::NoDialer { store, protocol: protocol.to_owned() });
            }
            (None, _) => Arc::new(Tcp),
        };
        let cluster = Arc::new(Cluster::new(store, self.topics, brokers, dialer));
        let delivered = Arc::<Delivered>::default();
        let reads_all = |level: &str| level.eq_ignore_ascii_case("read_uncommitted");
        let end = match self.config.get("isolation.level") {
            Some(level) if reads_all(level) => End::HighWatermark,
            _ => End::LastStable,
        };
        let log = reader_of(&cluster, LOG, View::Log(End::Leader))?;
        let mut readers: Vec<Arc<Reader>> = Vec::with_capacity(self.readers.len());
        let chosen = if self.readers.is_empty() {
            vec![("available".to_owned(), Visible::Available)]
        } else {
            self.readers
        };
        for (name, visible) in chosen {
            let view = match visible {
                Visible::Available => View::Log(end),
                Visible::Delivered => View::Delivered(Arc::clone(&delivered)),
                Visible::Processed { group } => View::Group(group),
            };
            let reader = reader_of(&cluster, &name, view)?;
            if reader.name == log.name || readers.iter().any(|known| known.name == reader.name) {
                return Err(Error::DuplicateReader { store, reader: reader.name });
            }
            readers.push(reader);
        }
        let inner = Inner {
            recorder: Recorder::new(store, self.on_missing),
            codec: self.codec,
            weak_acks: self.weak_acks,
            places: Places::new(Arc::clone(&cluster)),
            delivered: Arc::clone(&delivered),
            log,
            readers,
        };
        Ok(KafkaStore { inner: Arc::new(inner) })
    }

    fn check_topics(&self, store: StoreName) -> Result<(), Error> {
        if self.topics.is_empty() {
            return Err(Error::NoTopics { store });
        }
        for (at, one) in self.topics.iter().enumerate() {
            let mut others = self.topics.iter().skip(at + 1);
            if let Some(other) = others.find(|other| topic_hash(other) == topic_hash(one)) {
                return Err(Error::TopicsCollide { store, one: one.clone(), other: other.clone() });
            }
        }
        Ok(())
    }
}

fn reader_of(cluster: &Arc<Cluster>, name: &str, view: View) -> Result<Arc<Reader>, Error> {
    let invalid = |source: InvalidName| Error::Name { name: name.to_owned(), source };
    let name: ReplicaName = name.parse().map_err(invalid)?;
    Ok(Arc::new(Reader { name, cluster: Arc::clone(cluster), view }))
}

/// The driver takes addresses without a port, and with a protocol.
fn address(broker: &str) -> String {
    let broker = broker.split_once("://").map_or(broker, |(_, address)| address);
    let has_port = broker.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    if has_port { broker.to_owned() } else { format!("{broker}:9092") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(settings: &[(&str, &str)]) -> ClientConfig {
        settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn orders() -> KafkaStoreBuilder {
        let config = config(&[("bootstrap.servers", "PLAINTEXT://127.0.0.1:1,localhost")]);
        KafkaStore::builder("orders").config(&config)
    }

    #[test]
    fn a_store_is_refused_with_what_to_do() {
        let refused = |builder: KafkaStoreBuilder| builder.build().unwrap_err().to_string();
        assert!(refused(orders()).contains("`.topic(name)`"));
        assert!(refused(orders().topic("a").topic("b").topic("a")).contains("both a and a"));
        assert!(refused(KafkaStore::builder("orders").topic("a")).contains("bootstrap.servers"));
        assert!(refused(KafkaStore::builder("Orders").topic("a")).contains("\"Orders\" cannot name"));
        let twice = orders().topic("a").reader("eu", Visible::Available).reader("eu", Visible::Delivered);
        assert!(refused(twice).contains("two readers named eu"));
        assert!(refused(orders().topic("a").reader("log", Visible::Available)).contains("named log"));
        let secured = config(&[("bootstrap.servers", "b:1"), ("security.protocol", "SASL_SSL")]);
        assert!(refused(orders().topic("a").config(&secured)).contains("cannot speak SASL_SSL"));
        assert!(orders().topic("a").config(&secured).dialer(Tcp).build().is_ok());
        let store = orders().topic("a").build().unwrap();
        assert_eq!(store.inner.log.cluster.bootstrap(), ["127.0.0.1:1", "localhost:9092"]);
    }

    #[tokio::test]
    async fn a_record_whose_place_is_not_known_is_unplaced() {
        let store = orders().topic("a").build().unwrap();
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
