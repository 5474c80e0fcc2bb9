//! The `antipode` command: what goes wrong between two stores, and that a barrier prevents it.
//!
//! | workload | question |
//! |---|---|
//! | `post-notification` | How often does a notification overtake its post, and what does a barrier cost? |
//! | `overhead` | What does a shim cost compared with the bare driver? |
//! | `waiters` | What do thousands of barriers that wait at one replica cost? |
//! | `forged` | What do requests with forged lineages cost honest ones? |
//! | `service` | What do the layers around a service cost? |
//! | `gate` | What does the causal delivery gate keep when a process dies, and what does it cost? |
//!
//! Each prints a table and writes its figures as JSON. What can be measured stands in one file for each
//! store, under `posts` and `notifier`.

mod allocation;
mod cli;
mod error;
mod forged;
#[cfg(all(feature = "kafka", feature = "redis"))]
mod gate;
mod notifier;
mod output;
#[cfg(any(feature = "redis", feature = "postgres", feature = "mongodb", feature = "kafka"))]
mod overhead;
mod post_notification;
mod posts;
mod servers;
#[cfg(feature = "service")]
mod service;
mod statistics;
mod waiters;

pub use allocation::{Allocations, CountingAllocator};
pub use cli::{Workload, parse_arguments, run};
pub use error::Failure;
