//! Replicated store topologies for tests and benchmarks, with lag and fault injection.
//!
//! A topology is one primary and any number of replicas of a real server (or brokers), each replica behind a
//! [`Proxy`] that can delay, hang, cut and reset its replication. The servers are processes of
//! this machine, on loopback ports of their own, in a directory of their own: nothing that was
//! running before is touched, and nothing is left when the topology is dropped, when the test
//! panics, or when its process is killed. With the feature `containers` they can be containers
//! of the stores' official images instead: see [`Provider`].
//!
//! | what | where |
//! |---|---|
//! | Postgres: a primary and streaming standbys | [`PostgresTopology`], its nodes [`PostgresNode`] |
//! | Redis: a primary and replicas | [`RedisTopology`], its nodes [`RedisNode`] |
//! | Redis Cluster: shards of a primary and replicas | [`RedisClusterTopology`], its nodes [`RedisNode`] |
//! | MongoDB: a replica set | [`MongoTopology`], its members [`MongoNode`] |
//! | Kafka: brokers in KRaft mode | [`KafkaTopology`], its nodes [`KafkaNode`] |
//! | what runs the servers | [`Provider`] |
//! | lag, partitions, half-open and reset connections | [`Proxy`] |
//! | what can go wrong | [`TopologyError`] |
//!
//! Each store is a feature, so that a test of one pulls in no other's driver.
//!
#![cfg_attr(feature = "postgres", doc = "```no_run")]
#![cfg_attr(not(feature = "postgres"), doc = "```ignore")]
//! use std::time::Duration;
//!
//! use antipode_docker::{PostgresOptions, PostgresTopology, TopologyError};
//!
//! # async fn example() -> Result<(), TopologyError> {
//! let postgres = PostgresTopology::start(PostgresOptions::default().standbys(1)).await?;
//! println!("write to {}", postgres.primary().url());
//! println!("read from {}", postgres.standby(0).url());
//!
//! // The standby now trails by 50 ms ...
//! postgres.link(0).set_delay_to_client(Duration::from_millis(50));
//! // ... is partitioned away ...
//! postgres.link(0).cut();
//! postgres.link(0).heal();
//! // ... and takes over.
//! postgres.primary().kill().await?;
//! postgres.promote(0).await?;
//! # Ok(())
//! # }
//! ```
//!
//! The servers must be installed; `docker/install` of this repository does that on Debian and
//! Ubuntu. Running them as processes needs Linux. With [`Provider`]`::Containers` nothing needs to
//! be installed but a Docker engine.

// What one store alone does not use.
#![cfg_attr(
    not(all(feature = "postgres", feature = "redis", feature = "mongodb", feature = "kafka")),
    allow(dead_code, unused_imports)
)]

#[cfg(feature = "containers")]
mod containers;
mod error;
#[cfg(feature = "kafka")]
mod kafka;
mod member;
#[cfg(feature = "mongodb")]
mod mongodb;
mod native;
mod node;
mod plan;
mod ports;
#[cfg(feature = "postgres")]
mod postgres;
mod process;
mod provider;
mod proxy;
#[cfg(feature = "redis")]
mod redis;
mod server;
mod site;
mod wait;

#[cfg(feature = "kafka")]
pub use crate::kafka::{Kafka, KafkaNode, KafkaOptions, KafkaTopology};
#[cfg(feature = "mongodb")]
pub use crate::mongodb::{FailPoint, Mongo, MongoNode, MongoOptions, MongoTopology};
#[cfg(feature = "postgres")]
pub use crate::postgres::{Postgres, PostgresNode, PostgresOptions, PostgresTopology};
#[cfg(feature = "redis")]
pub use crate::redis::{
    Redis, RedisClusterOptions, RedisClusterTopology, RedisNode, RedisOptions, RedisTopology, Takeover,
};
pub use crate::{error::TopologyError, member::Member, node::Node, provider::Provider, proxy::Proxy};
