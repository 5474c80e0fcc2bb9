//! A barrier on a lineage that is visible already: what every request pays when nothing lags.
#![allow(missing_docs, clippy::expect_used)] // The macros' functions; a bench fails by it.

mod caught_up;

use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};

fn visible(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut group = criterion.benchmark_group("barrier on a visible lineage");
    for (stores, shards) in [(1, 1), (1, 8), (4, 2), (8, 1), (1, 64), (16, 4)] {
        let (registry, lineage) = runtime.block_on(caught_up::caught_up(stores, shards));
        let before = probes(&registry, stores);
        group.bench_function(BenchmarkId::from_parameter(format!("{stores}×{shards} shards")), |bencher| {
            bencher.iter(|| {
                let barrier = pin!(registry.barrier_on(black_box(&lineage)).into_future());
                // It is ready at once, or it is not what is to be measured.
                match barrier.poll(&mut Context::from_waker(Waker::noop())) {
                    Poll::Ready(outcome) => outcome.expect("visible"),
                    Poll::Pending => panic!("the lineage was not known to be visible"),
                }
            });
        });
        assert_eq!(probes(&registry, stores), before, "no replica is asked");
    }
}

fn probes(registry: &antipode::barrier::Registry, stores: u64) -> u64 {
    let names = (0..stores).map(|store| format!("store-{store}").parse().expect("a name"));
    names.filter_map(|store| registry.probes(store, caught_up::replica())).sum()
}

fn short() -> Criterion {
    let short = Criterion::default().measurement_time(Duration::from_secs(2));
    short.warm_up_time(Duration::from_millis(500))
}

criterion_group! { name = benches; config = short(); targets = visible }
criterion_main!(benches);
