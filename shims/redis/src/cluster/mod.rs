//! Redis Cluster: several shards with a log each.

mod check;
mod connection;
mod floors;
mod nodes;
mod primaries;
mod region;
mod store;
mod view;

pub use connection::RedisClusterConnection;
pub use store::{RedisClusterStore, RedisClusterStoreBuilder};
