//! A barrier on a lineage that is visible already allocates nothing and asks no replica.
//!
//! One test only: the allocations counted are those of the whole process.
#![allow(clippy::expect_used)] // A test fails by it.

#[path = "../benches/caught_up/mod.rs"]
mod caught_up;

use antipode::barrier::Registry;
use antipode_benchmarks::{Allocations, CountingAllocator};
use caught_up::{caught_up, replica};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

#[tokio::test]
async fn it_costs_a_comparison() {
    let before = Allocations::now().calls;
    drop(std::hint::black_box(Box::new(1)));
    assert!(Allocations::now().calls > before, "the allocator counts");

    for (stores, shards) in [(1, 8), (4, 2), (8, 1)] {
        let (registry, lineage) = caught_up(stores, shards).await;
        assert_eq!(lineage.writes().len(), 8);
        let asked = probes(&registry, stores);
        assert_eq!(asked, stores, "each replica was asked once");
        let before = Allocations::now().calls;
        for _ in 0..100 {
            let report = registry.barrier_on(&lineage).await;
            assert!(report.is_ok_and(|report| report.waited().is_zero()));
        }
        assert_eq!(Allocations::now().calls - before, 0, "allocations with {stores} stores");
        assert_eq!(probes(&registry, stores), asked, "probes with {stores} stores");
    }
}

fn probes(registry: &Registry, stores: u64) -> u64 {
    let names = (0..stores).map(|store| format!("store-{store}").parse().expect("a name"));
    names.filter_map(|store| registry.probes(store, replica())).sum()
}
