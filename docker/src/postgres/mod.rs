//! PostgreSQL: a primary and its streaming standbys.

mod cluster;
mod node;
mod options;
mod programs;
mod session;
mod topology;

pub use self::{
    node::{Postgres, PostgresNode},
    options::PostgresOptions,
    topology::PostgresTopology,
};
