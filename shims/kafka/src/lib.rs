//! The Kafka shim: producers and consumers that carry lineage, and a causal delivery gate.
//!
//! - [`KafkaStore`] is what is registered for barriers: some topics of one cluster. Each partition is a
//!   [shard](partition_shard). The page of [`KafkaStore`] has an example.
//! - [`KafkaProducer`] wraps the driver's `FutureProducer`, [`KafkaThreadedProducer`] its
//!   `ThreadedProducer`, [`KafkaConsumer`] its `StreamConsumer`. The driver stays reachable, and is
//!   re-exported as [`rdkafka`].
//! - [`Gate`] is a consumer that hands over a record only when what it depends on is visible here.
//! - [`header_lineage`] is the lineage of one record.
//!
//! # Where the lineage is
//! In a record's header [`LINEAGE_HEADER`]. Consumers without the shim see one header more. What a record
//! had in it before, because it was forwarded, is replaced: the scope it was received in depends on it.
//!
//! # What visible means
//! A choice, see [`Visible`]: available to consumers, delivered to this process, processed by a group.
//! What a consumer derives from records and writes elsewhere has a place there: wait for it in that store.
//!
//! # What happens when a leader fails
//! A position is an offset in a (topic id, leader epoch). The leaders tell where each epoch before theirs
//! ended, so every process knows a record that was cut off (an unclean election, a restore) for *lost*,
//! and one that survived for what it is. Of topics that were deleted and made again a store remembers what
//! it saw in its lifetime: their records are *lost* as well; to a process that starts later they are
//! *indeterminate*. The last 64 leader epochs of a partition are known, older ones are *indeterminate*.
//!
//! # The store's own connections
//! The driver's safe interface shows neither topic ids nor leader epochs, so a store asks the brokers
//! itself, over plain TCP connections of its own: one round trip per broker and question, for all
//! partitions. Where brokers want TLS or SASL, give it a [dialer](KafkaStoreBuilder::dialer). It needs to
//! be allowed to DESCRIBE the topics (and the group, for [`Visible::Processed`]).
//!
//! # Versions
//! Kafka 2.8 or later, for topic ids. Mirrored topics (MirrorMaker 2) have offsets of their own: a mirror
//! is another store.

mod builder;
mod cluster;
mod connection;
mod consumer;
mod error;
mod gate;
mod group;
mod header;
mod logs;
mod metadata;
mod places;
mod producer;
mod question;
mod reader;
mod sending;
mod shard;
mod store;
mod threaded;

pub use builder::KafkaStoreBuilder;
pub use connection::{Dial, Stream};
pub use consumer::{KafkaConsumer, KafkaRecord};
pub use error::{Error, RecordPlace};
pub use gate::{DEAD_LETTER_HEADER, Delivery, Gate, GateBuilder, Keyless, OnLate};
pub use header::{LINEAGE_HEADER, header_lineage};
pub use producer::{KafkaProducer, WeakAcks};
pub use rdkafka;
pub use reader::Visible;
pub use sending::Delivering;
pub use shard::partition_shard;
pub use store::KafkaStore;
pub use threaded::{Carried, KafkaThreadedProducer, LineageContext, Unsent};
