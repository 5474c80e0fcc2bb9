//! Redis: a primary and its replicas, and a cluster of several such shards.

mod cluster;
mod node;
mod options;
mod session;
mod setup;
mod topology;

pub use self::{
    cluster::{RedisClusterOptions, RedisClusterTopology, Takeover},
    node::{Redis, RedisNode},
    options::RedisOptions,
    topology::RedisTopology,
};
