//! Building a store.

use std::sync::Arc;

use antipode_barrier::{OnMissing, Recorder};
use antipode_lineage::{InvalidName, LineageCodec, ReplicaName, StoreName};
use rdkafka::ClientConfig;

use crate::cluster::{Cluster, End};
use crate::connection::{Dial, Tcp};
use crate::error::Error;
use crate::places::Places;
use crate::producer::WeakAcks;
use crate::reader::{Delivered, Reader, View, Visible};
use crate::shard::topic_hash;
use crate::store::{Inner, KafkaStore};

/// The name of the partitions' leaders among the replicas.
const LOG: &str = "log";

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

impl KafkaStoreBuilder {
    pub(crate) fn new(name: String) -> Self {
        Self {
            name,
            topics: Vec::new(),
            config: ClientConfig::new(),
            readers: Vec::new(),
            weak_acks: WeakAcks::default(),
            on_missing: OnMissing::default(),
            codec: LineageCodec::plain(),
            dialer: None,
        }
    }

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
        Ok(KafkaStore::new(inner))
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
    }

    #[test]
    fn brokers_are_named_as_the_driver_takes_them() {
        let named = ["PLAINTEXT://127.0.0.1:1", "localhost"].map(address);
        assert_eq!(named, ["127.0.0.1:1", "localhost:9092"]);
    }
}
