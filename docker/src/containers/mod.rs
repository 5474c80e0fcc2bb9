//! Programs in containers of the Docker engine.
//!
//! A container lasts for one run of a program: the directory of the topology is mounted into it,
//! so that data, settings and logs are where they are with processes. It uses the network of
//! this machine. Those that are left when a topology ends, however it ends, are removed by the
//! shell that also removes the directory.

mod container;
mod engine;

pub(crate) use self::{
    container::{Container, Reach},
    engine::{Engine, Image},
};
