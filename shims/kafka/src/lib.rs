//! The Kafka shim: producers and consumers that carry lineage, and a causal delivery gate.

pub use rdkafka;
