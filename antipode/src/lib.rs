//! Cross-system causal consistency for services with several datastores.
//!
//! A request writes a post to one store and a notification to another; in another region the
//! notification arrives first, and the post is not found. Every store kept its promise, the combination
//! broke. Antipode prevents it: *shims* around the store clients add every write to the request's causal
//! *lineage*, the lineage travels with calls and messages, and a *barrier* at the reader waits until
//! every write in it is visible at the replicas that the reader uses.
//!
//! - [`lineage`]: write identifiers, the lineage, its wire form, W3C baggage, the current lineage.
//! - [`barrier`]: the registry of stores, barriers, verdicts, policies; the traits of a store.
#![cfg_attr(
    feature = "memory",
    doc = "- [`memory`]: an in-process geo-replicated store with lag, partitions and failover: the embedded default."
)]
#![cfg_attr(feature = "redis", doc = "- [`redis`]: the shim for Redis connections.")]
#![cfg_attr(feature = "postgres", doc = "- [`postgres`]: the shim for Postgres through sqlx.")]
#![cfg_attr(feature = "mongodb", doc = "- [`mongodb`]: the shim for MongoDB collections and sessions.")]
#![cfg_attr(
    feature = "kafka",
    doc = "- [`kafka`]: the shim for Kafka producers and consumers, and a causal delivery gate."
)]
#![cfg_attr(
    feature = "edge",
    doc = "- [`edge`]: what lineage is taken from a request and sent to whom, session tokens for browsers."
)]
#![cfg_attr(
    feature = "tower",
    doc = "- [`tower`]: layers for HTTP and gRPC services and clients, through which lineage flows by itself."
)]
#![cfg_attr(feature = "axum", doc = "- [`axum`]: a request's lineage and a barrier's failure for handlers.")]
#![cfg_attr(feature = "metrics", doc = "- [`metrics`]: what barriers, probes and captures did, in numbers.")]
#![cfg_attr(
    feature = "opentelemetry",
    doc = "- [`opentelemetry`]: lineage beside its baggage, links between spans."
)]
#![cfg_attr(feature = "reqwest", doc = "- [`reqwest`]: the client's side of the layers for reqwest.")]
#![cfg_attr(
    feature = "worker",
    doc = "- [`worker`]: runs a handler for each message of a queue, in the message's lineage."
)]
#![cfg_attr(feature = "tonic", doc = "- [`tonic`]: a barrier's failure as a status.")]
//!
//! The stores' shims are re-exported; each is a crate of its own, and a store's driver is compiled only
//! with the store's feature. The [guide] walks from a plain service to a protected one; the README has the
//! example, DESIGN.md the reasons.

#[cfg(feature = "axum")]
pub mod axum;
#[cfg(feature = "edge")]
pub mod edge;
#[cfg(feature = "metrics")]
pub mod metrics;
#[cfg(feature = "opentelemetry")]
pub mod opentelemetry;
#[cfg(feature = "reqwest")]
pub mod reqwest;
#[cfg(feature = "tonic")]
pub mod tonic;
#[cfg(feature = "tower")]
pub mod tower;
#[cfg(feature = "worker")]
pub mod worker;

pub use antipode_barrier as barrier;
pub use antipode_lineage as lineage;

#[cfg(feature = "kafka")]
pub use antipode_kafka as kafka;
#[cfg(feature = "memory")]
pub use antipode_memory as memory;
#[cfg(feature = "mongodb")]
pub use antipode_mongodb as mongodb;
#[cfg(feature = "postgres")]
pub use antipode_postgres as postgres;
#[cfg(feature = "redis")]
pub use antipode_redis as redis;

// Its examples need these features; to read it needs none.
#[cfg(any(all(doc, not(doctest)), all(doctest, feature = "full", feature = "axum", feature = "reqwest")))]
#[doc = include_str!("guide.md")]
pub mod guide {}

pub mod prelude {
    //! What a service needs: `use antipode::prelude::*`. Stores tell their names with it, too.

    pub use antipode_barrier::Store as _;
    pub use antipode_barrier::{BarrierError, BranchError, OnTimeout, OpenBranch, Registry, Report};
    pub use antipode_lineage::{Branch, InCurrentLineage, Lineage, LineageScope, StoreName};

    #[cfg(feature = "kafka")]
    pub use antipode_kafka::KafkaStore;
    #[cfg(feature = "memory")]
    pub use antipode_memory::MemoryStore;
    #[cfg(feature = "mongodb")]
    pub use antipode_mongodb::MongoStore;
    #[cfg(feature = "postgres")]
    pub use antipode_postgres::PostgresStore;
    #[cfg(feature = "redis-cluster")]
    pub use antipode_redis::RedisClusterStore;
    #[cfg(feature = "redis")]
    pub use antipode_redis::RedisStore;
}

#[cfg(all(doctest, feature = "full", feature = "reqwest"))]
#[doc = include_str!("../../README.md")]
struct Readme;
