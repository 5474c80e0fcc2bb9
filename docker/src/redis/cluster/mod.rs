//! Redis Cluster: several shards, each a primary with its replicas.

mod options;
mod switchboard;
mod topology;
mod verbs;
mod view;

pub use self::{options::RedisClusterOptions, topology::RedisClusterTopology, verbs::Takeover};
