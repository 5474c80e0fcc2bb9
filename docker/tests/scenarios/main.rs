//! What the topologies do, and what is left of them: a module an incident.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test fails by it")]

#[path = "../ask/mod.rs"]
mod ask;
#[cfg(feature = "mongodb")]
#[path = "../documents/mod.rs"]
mod documents;
mod futures_are_send;
#[cfg(feature = "kafka")]
mod kafka_failover;
#[cfg(feature = "kafka")]
mod kafka_faults;
mod left_behind;
#[cfg(feature = "mongodb")]
mod mongodb_failover;
#[cfg(feature = "mongodb")]
mod mongodb_faults;
mod postgres;
mod proxy;
mod redis;
mod redis_cluster;
mod replicated;
#[cfg(feature = "kafka")]
mod talk;
