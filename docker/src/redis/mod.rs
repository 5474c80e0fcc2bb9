//! Redis: a primary and its replicas.

mod node;
mod options;
mod session;
mod setup;
mod topology;

pub use self::{
    node::{Redis, RedisNode},
    options::RedisOptions,
    topology::RedisTopology,
};
