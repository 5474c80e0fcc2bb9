//! What can go wrong with a store, beside the driver's own errors.

use std::{fmt, io};

use antipode_barrier::{BarrierError, MissingLineage};
use antipode_lineage::{InvalidName, ReplicaName, StoreName};
use rdkafka::error::KafkaError;
use rdkafka::message::OwnedMessage;

/// An error of a [`KafkaStore`](crate::KafkaStore) or its producers. Consumers fail with the driver's
/// [`KafkaError`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The store's name cannot be one.
    #[error("{name:?} cannot name a kafka store: {source}")]
    Name {
        /// The name given.
        name: String,
        /// What a name must look like.
        source: InvalidName,
    },
    /// The store was built without topics.
    #[error("store {store} covers no topics: call `.topic(name)` before `.build()`")]
    NoTopics {
        /// The store.
        store: StoreName,
    },
    /// Two topics would be the same shards.
    #[error("store {store} cannot cover both {one} and {other}: give one of them to another store")]
    TopicsCollide {
        /// The store.
        store: StoreName,
        /// One topic.
        one: String,
        /// The other, or the same again.
        other: String,
    },
    /// The configuration names no brokers.
    #[error("store {store} knows no brokers: set `bootstrap.servers` in its configuration")]
    NoBrokers {
        /// The store.
        store: StoreName,
    },
    /// The brokers want TLS or SASL, which the store's own connections need a dialer for.
    #[error("store {store} cannot speak {protocol} by itself: give it a dialer with `.dialer(..)`")]
    NoDialer {
        /// The store.
        store: StoreName,
        /// The configured `security.protocol`.
        protocol: String,
    },
    /// Two readers of the store were given the same name, or one is called `log`.
    #[error("store {store} has two readers named {reader}: give each a name of its own, other than log")]
    DuplicateReader {
        /// The store.
        store: StoreName,
        /// The name given twice.
        reader: ReplicaName,
    },
    /// The producer would not wait for the in-sync replicas.
    #[error(
        "store {store} refuses a producer with acks={acks}: use acks=all, or allow `WeakAcks::Mark` where the store is built"
    )]
    WeakAcks {
        /// The store.
        store: StoreName,
        /// The configured `acks`.
        acks: String,
    },
    /// The driver refused the configuration.
    #[error("store {store} could not make a client: check its configuration")]
    Client {
        /// The store.
        store: StoreName,
        /// The driver's error.
        source: Box<KafkaError>,
    },
    /// A record was sent outside of any lineage.
    #[error(transparent)]
    Missing(#[from] MissingLineage),
    /// The driver did not take a record into its queue.
    #[error("store {store} could not queue a record for {topic}: wait for room, or look at the record")]
    Queue {
        /// The store.
        store: StoreName,
        /// The topic.
        topic: String,
        /// The driver's error.
        source: Box<KafkaError>,
    },
    /// A record was not delivered, or nobody knows whether it was.
    #[error("store {store} could not deliver a record to {topic}")]
    Send {
        /// The store.
        store: StoreName,
        /// The topic.
        topic: String,
        /// The driver's error.
        source: Box<KafkaError>,
        /// The record, as the driver gives it back.
        record: Box<OwnedMessage>,
    },
    /// A producer that holds a record went away.
    #[error("store {store} does not know whether a record was delivered: its producer is gone")]
    Cancelled {
        /// The store.
        store: StoreName,
    },
    /// A broker could not be reached, or broke off.
    #[error("store {store} got no answer from broker {address}: check its address and that it runs")]
    Broker {
        /// The store.
        store: StoreName,
        /// The broker.
        address: String,
        /// What happened.
        source: io::Error,
    },
    /// A partition or a group is changing hands; asking again helps.
    #[error("store {store} found its brokers at odds: {reason}; ask again")]
    Unsettled {
        /// The store.
        store: StoreName,
        /// What they said, of which partition or group.
        reason: String,
    },
    /// A broker answered, but not with what was asked for.
    #[error("store {store} was refused by its brokers: {reason}")]
    Refused {
        /// The store.
        store: StoreName,
        /// What they said, of which topic.
        reason: String,
    },
    /// A gate's configuration would lose records, or lacks something.
    #[error("store {store} cannot be read through a gate with this `{setting}`: {advice}")]
    GateSetting {
        /// The store.
        store: StoreName,
        /// What is set, or is not.
        setting: &'static str,
        /// What to do.
        advice: &'static str,
    },
    /// The driver's consumer failed.
    #[error("store {store} could not be consumed or committed to: call again, or look at its brokers")]
    Consume {
        /// The store.
        store: StoreName,
        /// The driver's error.
        source: Box<KafkaError>,
    },
    /// What a record depends on is not visible by its deadline, or never will be. The gate keeps it.
    #[error("store {store}: the dependencies of {place} are not visible: call again to wait on")]
    Late {
        /// The store of the record.
        store: StoreName,
        /// Where it is.
        place: Box<RecordPlace>,
        /// What is not visible.
        source: Box<BarrierError>,
    },
    /// A record that is late could not be written to the topic for dead letters. The gate keeps it.
    #[error("store {store}: no dead letter could be written for {place}: call again to retry")]
    DeadLetter {
        /// The store of the record.
        store: StoreName,
        /// Where it is.
        place: Box<RecordPlace>,
        /// The driver's error.
        source: Box<KafkaError>,
    },
}

/// Where a record is in Kafka.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RecordPlace {
    /// Its topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
}

impl fmt::Display for RecordPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, partition, offset } = self;
        write!(f, "{topic} [{partition}] @{offset}")
    }
}

impl Error {
    /// Whether a record's dependencies are not visible yet, or never will be.
    #[must_use]
    pub fn is_late(&self) -> bool {
        matches!(self, Error::Late { .. })
    }

    /// Whether a broker could not be reached.
    #[must_use]
    pub fn is_broker(&self) -> bool {
        matches!(self, Error::Broker { .. })
    }

    /// Whether asking again helps.
    #[must_use]
    pub fn is_unsettled(&self) -> bool {
        matches!(self, Error::Unsettled { .. })
    }

    /// Whether a record was not delivered, or nobody knows.
    #[must_use]
    pub fn is_send(&self) -> bool {
        matches!(self, Error::Send { .. } | Error::Cancelled { .. })
    }

    /// Whether a record was sent outside of any lineage.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Error::Missing(_))
    }
}
