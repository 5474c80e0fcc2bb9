//! Lineage that passes through services in other languages. They know nothing of it: one propagates what
//! its OpenTelemetry SDK does, another copies the headers of records. It arrives as it was sent, or its
//! loss is found and counted.
//!
//! The services are in the directories beside this file; `build` there gets what they need.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)] // Helpers may what their tests may.

mod foreign;
mod http;
mod kafka;
#[path = "../scenarios/services.rs"]
#[allow(dead_code)] // Others use all of it.
mod services;

use antipode::lineage::{Epoch, Lineage, Position, Shard, StoreName, WriteId};

const REQUESTS: u64 = 1_000;

const SHARDS: [u64; 3] = [1, 8, 32];

/// What a request depends on: it differs from those of all others.
fn lineage(request: u64, shards: u64) -> Lineage {
    let stores = ["posts", "orders", "notifications", "home-timelines"];
    let write = |shard: u64| WriteId {
        store: StoreName::parse(stores[shard as usize % stores.len()]).unwrap(),
        shard: Shard(shard),
        epoch: Epoch { history: 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(shard + 1), term: shard % 3 },
        position: Position((request + 1) << (shard % 40)),
    };
    (0..shards).map(write).collect()
}
