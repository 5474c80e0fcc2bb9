//! MongoDB: a replica set.

mod entrance;
mod node;
mod options;
mod session;
mod setup;
mod topology;

pub use self::{
    node::{FailPoint, Mongo, MongoNode},
    options::MongoOptions,
    topology::MongoTopology,
};
