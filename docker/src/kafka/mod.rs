//! Kafka: brokers in KRaft mode.

mod installation;
mod node;
mod options;
mod session;
mod setup;
mod topology;

pub use self::{
    node::{Kafka, KafkaNode},
    options::KafkaOptions,
    topology::KafkaTopology,
};
