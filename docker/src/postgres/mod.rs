//! PostgreSQL: a primary and its streaming standbys.

mod cluster;
mod node;
mod options;
mod session;
mod topology;

pub use self::{node::PostgresNode, options::PostgresOptions, topology::PostgresTopology};
