//! A gate beside the plain consumer, on records whose posts are all visible.

use std::time::Instant;

use antipode::barrier::Registry;
use antipode::kafka::Gate as CausalGate;
use rdkafka::consumer::{Consumer, StreamConsumer};
use serde::Serialize;

use super::stage::{Stage, TOPIC, consuming, posts, records};
use super::writer::versions;
use crate::Failure;
use crate::cli::Gate;
use crate::servers::kafka::failed;
use crate::statistics::rounded;

/// Medians over the rounds.
#[derive(Debug, Serialize)]
pub(super) struct Throughput {
    pub(super) plain_per_second: f64,
    pub(super) gate_per_second: f64,
    /// The median of the rounds' ratios.
    pub(super) ratio: f64,
    /// Of records that were parked, because what was known of the replica was too old.
    pub(super) parked_share: f64,
}

pub(super) async fn run(stage: &Stage, settings: &Gate) -> Result<Throughput, Failure> {
    let posts = posts(&stage.redis.primary, &stage.redis.replica)?;
    let registry = Registry::builder().store(posts).build().await?;
    let count = u64::from(versions(settings) * settings.keys);
    let (mut plains, mut gates, mut ratios, mut parked) = (Vec::new(), Vec::new(), Vec::new(), 0);
    // The first round warms up.
    for round in 0..=settings.rounds {
        let gate_first = round % 2 == 0;
        let mut gated = (0.0, 0);
        if gate_first {
            gated = gate(stage, &registry, round, count).await?;
        }
        let plain = plain(stage, round, count).await?;
        if !gate_first {
            gated = gate(stage, &registry, round, count).await?;
        }
        if round > 0 {
            plains.push(plain);
            gates.push(gated.0);
            ratios.push(gated.0 / plain);
            parked += gated.1;
        }
    }
    let share = parked as f64 / (count * u64::from(settings.rounds)) as f64;
    Ok(Throughput {
        plain_per_second: median(&mut plains),
        gate_per_second: median(&mut gates),
        ratio: median(&mut ratios),
        parked_share: rounded(share),
    })
}

/// Records per second, from the first to the last, with the driver's own automatic commits.
async fn plain(stage: &Stage, round: u32, count: u64) -> Result<f64, Failure> {
    let config = consuming(&stage.kafka.bootstrap(), &format!("antipode-benchmark-plain-{round}"));
    let consumer: StreamConsumer = config.create().map_err(failed("be read"))?;
    consumer.subscribe(&[TOPIC]).map_err(failed("be read"))?;
    let mut bytes = consumer.recv().await.map_err(failed("be read"))?.payload_len();
    let began = Instant::now();
    for _ in 1..count {
        bytes += consumer.recv().await.map_err(failed("be read"))?.payload_len();
    }
    let taken = began.elapsed();
    std::hint::black_box(bytes);
    Ok(count as f64 / taken.as_secs_f64())
}

async fn gate(stage: &Stage, registry: &Registry, round: u32, count: u64) -> Result<(f64, u64), Failure> {
    let bootstrap = stage.kafka.bootstrap();
    let gate = CausalGate::builder(&records(&bootstrap)?, registry)
        .config(&consuming(&bootstrap, &format!("antipode-benchmark-gate-{round}")))
        .topics([TOPIC])
        .build()
        .map_err(failed("be read"))?;
    let first = gate.recv().await.map_err(failed("be read"))?;
    let mut bytes = first.payload().map_or(0, <[u8]>::len);
    first.done();
    let mut parked = 0;
    let began = Instant::now();
    for _ in 1..count {
        let delivery = gate.recv().await.map_err(failed("be read"))?;
        bytes += delivery.payload().map_or(0, <[u8]>::len);
        parked += u64::from(delivery.has_waited());
        delivery.done();
    }
    let taken = began.elapsed();
    std::hint::black_box(bytes);
    gate.close().await.map_err(failed("be committed to"))?;
    Ok((count as f64 / taken.as_secs_f64(), parked))
}

pub(super) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    rounded(values.get(values.len() / 2).copied().unwrap_or_default())
}
