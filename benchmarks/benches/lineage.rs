//! What every request does with its lineage: adds, joins, encodes, decodes.
#![allow(missing_docs, clippy::expect_used, dead_code)] // The macros' functions; a bench fails by it.

mod caught_up;

use std::hint::black_box;
use std::time::Duration;

use antipode::lineage::{Baggage, Lineage, LineageCodec, SigningKey, SigningKeys, StoreName};
use caught_up::write;
use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};

/// Numbers of shards.
const SIZES: [u64; 3] = [1, 8, 64];

fn merge(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("merge");
    for size in SIZES {
        let (ours, theirs) = (lineage("posts", size), lineage("orders", size));
        let mut joined = ours.clone();
        joined.join(&theirs);
        let known: Lineage = theirs.writes().iter().copied().collect();
        group.bench_function(BenchmarkId::new("of other shards", size), |bencher| {
            let join = |mut lineage: Lineage| {
                lineage.join(black_box(&theirs));
                lineage
            };
            bencher.iter_batched(|| ours.clone(), join, BatchSize::SmallInput);
        });
        group.bench_function(BenchmarkId::new("of what is known", size), |bencher| {
            bencher.iter(|| joined.join(black_box(&known)));
        });
    }
}

fn wire(criterion: &mut Criterion) {
    let key = SigningKey::parse(b"32 random bytes from your vault.").expect("a key");
    let codecs = [("plain", LineageCodec::plain()), ("signed", LineageCodec::signed(SigningKeys::new(key)))];
    for (name, codec) in codecs {
        let mut group = criterion.benchmark_group(format!("wire, {name}"));
        for size in SIZES {
            let lineage = lineage("posts", size);
            let text = codec.encode(&lineage);
            group.bench_function(BenchmarkId::new("encode", size), |bencher| {
                bencher.iter(|| codec.encode(black_box(&lineage)));
            });
            group.bench_function(BenchmarkId::new("decode", size), |bencher| {
                bencher.iter(|| codec.decode(black_box(&text)).expect("encoded above"));
            });
        }
    }
}

fn baggage(criterion: &mut Criterion) {
    let codec = LineageCodec::plain();
    let others = Baggage::read(["user=alice;ttl=5,tier=gold,trace=0af7651916cd43dd8448eb211c80319c"]);
    let lineage = lineage("posts", 8);
    let header = others.write(&codec, &lineage).value;
    let mut group = criterion.benchmark_group("baggage of 8 shards and 3 members");
    group.bench_function("write", |bencher| bencher.iter(|| others.write(&codec, black_box(&lineage))));
    group.bench_function("read", |bencher| {
        bencher.iter(|| Baggage::read([black_box(&header)]).lineage(&codec).expect("written above"));
    });
}

fn lineage(store: &str, shards: u64) -> Lineage {
    let store = StoreName::parse(store).expect("a name");
    (0..shards).map(|shard| write(store, shard)).collect()
}

fn short() -> Criterion {
    let short = Criterion::default().measurement_time(Duration::from_secs(2));
    short.warm_up_time(Duration::from_millis(500))
}

criterion_group! { name = benches; config = short(); targets = merge, wire, baggage }
criterion_main!(benches);
