//! A gate beside the plain consumer, on records whose posts are all visible.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use antipode::barrier::Registry;
use antipode::kafka::{Delivery, Gate as CausalGate};
use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::message::Message;
use redis::AsyncCommands;
use redis::aio::ConnectionManager;
use serde::Serialize;
use tokio::task::JoinSet;

use super::stage::{Stage, TOPIC, consuming, posts, records};
use super::writer::{post, versions};
use crate::Failure;
use crate::cli::Gate;
use crate::servers::kafka::failed;
use crate::servers::redis::{failed as redis_failed, raw_connection};
use crate::statistics::rounded;

/// How many handlers look posts up at once.
const HANDLERS: usize = 16;

/// A round trip to a replica that is not on this machine.
const AFAR: Duration = Duration::from_millis(1);

/// How many times fewer records are handled there.
const FEWER: u64 = 10;

/// Medians over the rounds.
#[derive(Debug, Serialize)]
pub(super) struct Throughput {
    pub(super) handlers: usize,
    /// So many handlers, each looking up the post that its record is about, by a connection of its own.
    pub(super) reading: Compared,
    /// The same by one connection for all: how many lookups it sends at once is a matter of their timing,
    /// and of that the throughput.
    pub(super) sharing: Compared,
    /// Each by a connection of its own to a replica that is a millisecond away: the processors are not at their
    /// limit then.
    pub(super) afar: Compared,
    /// One handler that does nothing: what is left is the consumer.
    pub(super) empty: Compared,
    /// What a gate adds to a record that nothing stands against, in microseconds.
    pub(super) cost_us: f64,
    /// Of records that were parked: they came while another of their key was handled, or what was known
    /// of the replica was too old.
    pub(super) parked_share: f64,
}

/// Records per second.
#[derive(Debug, Serialize)]
pub(super) struct Compared {
    pub(super) plain_per_second: f64,
    pub(super) gate_per_second: f64,
    /// Gate ÷ plain, the median of the rounds.
    pub(super) ratio: f64,
}

pub(super) async fn run(stage: &Stage, settings: &Gate) -> Result<Throughput, Failure> {
    let posts = posts(&stage.redis.primary, &stage.redis.replica)?;
    let registry = Registry::builder().store(posts).build().await?;
    let mut connections = Vec::new();
    for _ in 0..HANDLERS {
        connections.push(raw_connection(&stage.redis.replica).await?);
    }
    let (shared, _) = connections.split_at(1);
    let (replica, _way) = stage.redis.replica_from(AFAR).await?;
    let mut afar = Vec::new();
    for _ in 0..HANDLERS {
        afar.push(raw_connection(&replica).await?);
    }
    let runs = Runs { stage, registry, count: u64::from(versions(settings) * settings.keys) };
    let [mut reading, mut sharing, mut far, mut empty] = [const { Vec::new() }; 4];
    let (mut parked, mut of) = (0, 0);
    // The first round warms up.
    for round in 0..=settings.rounds {
        for (taken, handlers) in [
            (&mut reading, Handlers::Reading(&connections)),
            (&mut sharing, Handlers::Reading(shared)),
            (&mut far, Handlers::Afar(&afar)),
            (&mut empty, Handlers::Empty),
        ] {
            let (plain, gate) = match round % 2 {
                0 => {
                    let gate = runs.gate(round, handlers).await?;
                    (runs.plain(round, handlers).await?, gate)
                }
                _ => (runs.plain(round, handlers).await?, runs.gate(round, handlers).await?),
            };
            if round > 0 {
                taken.push((plain, gate.0));
                parked += gate.1;
                of += runs.count(handlers);
            }
        }
    }
    Ok(Throughput {
        handlers: HANDLERS,
        cost_us: median(empty.iter().map(|(plain, gate)| 1e6 / gate - 1e6 / plain)),
        reading: Compared::new(&reading),
        sharing: Compared::new(&sharing),
        afar: Compared::new(&far),
        empty: Compared::new(&empty),
        parked_share: rounded(parked as f64 / of as f64),
    })
}

impl Compared {
    fn new(rounds: &[(f64, f64)]) -> Self {
        Self {
            plain_per_second: median(rounds.iter().map(|(plain, _)| *plain)),
            gate_per_second: median(rounds.iter().map(|(_, gate)| *gate)),
            ratio: median(rounds.iter().map(|(plain, gate)| gate / plain)),
        }
    }
}

/// Who handles the records.
#[derive(Clone, Copy)]
enum Handlers<'a> {
    /// By these connections in turn.
    Reading(&'a [ConnectionManager]),
    /// The same from [`AFAR`].
    Afar(&'a [ConnectionManager]),
    Empty,
}

impl Handlers<'_> {
    fn name(self) -> String {
        match self {
            Self::Reading(connections) => format!("reading-by-{}", connections.len()),
            Self::Afar(_) => "afar".to_owned(),
            Self::Empty => "empty".to_owned(),
        }
    }
}

struct Runs<'a> {
    stage: &'a Stage,
    registry: Registry,
    count: u64,
}

impl Runs<'_> {
    /// How many records are handled.
    fn count(&self, handlers: Handlers<'_>) -> u64 {
        match handlers {
            Handlers::Afar(_) => (self.count / FEWER).max(1),
            Handlers::Reading(_) | Handlers::Empty => self.count,
        }
    }

    /// Records per second from the first to the last, with the driver's own automatic commits.
    async fn plain(&self, round: u32, handlers: Handlers<'_>) -> Result<f64, Failure> {
        let group = format!("antipode-benchmark-plain-{}-{round}", handlers.name());
        let count = self.count(handlers);
        let config = consuming(&self.stage.kafka.bootstrap(), &group);
        let consumer: StreamConsumer = config.create().map_err(failed("be read"))?;
        consumer.subscribe(&[TOPIC]).map_err(failed("be read"))?;
        let consumer = Arc::new(consumer);
        consumer.recv().await.map_err(failed("be read"))?;
        let began = Instant::now();
        match handlers {
            Handlers::Empty => {
                for _ in 1..count {
                    std::hint::black_box(consumer.recv().await.map_err(failed("be read"))?.payload_len());
                }
            }
            Handlers::Reading(connections) | Handlers::Afar(connections) => {
                let left = Arc::new(Left::of(count - 1));
                let mut all = JoinSet::new();
                for to_replica in connections.iter().cycle().take(HANDLERS) {
                    let to_replica = to_replica.clone();
                    let (consumer, left) = (Arc::clone(&consumer), Arc::clone(&left));
                    all.spawn(async move {
                        while left.take() {
                            let message = consumer.recv().await.map_err(failed("be read"))?;
                            read(message.key(), &to_replica).await?;
                        }
                        Ok(())
                    });
                }
                ended(all).await?;
            }
        }
        Ok(count as f64 / began.elapsed().as_secs_f64())
    }

    /// The same through a gate, and how many records were parked.
    async fn gate(&self, round: u32, handlers: Handlers<'_>) -> Result<(f64, u64), Failure> {
        let bootstrap = self.stage.kafka.bootstrap();
        let group = format!("antipode-benchmark-gate-{}-{round}", handlers.name());
        let count = self.count(handlers);
        let gate = CausalGate::builder(&records(&bootstrap)?, &self.registry)
            .config(&consuming(&bootstrap, &group))
            .topics([TOPIC])
            .build()
            .map_err(failed("be read"))?;
        let gate = Arc::new(gate);
        gate.recv().await.map_err(failed("be read"))?.done();
        let parked = Arc::new(AtomicU64::new(0));
        let count_parked = |parked: &AtomicU64, delivery: &Delivery<'_>| {
            if delivery.has_waited() {
                parked.fetch_add(1, Ordering::Relaxed);
            }
        };
        let began = Instant::now();
        match handlers {
            Handlers::Empty => {
                for _ in 1..count {
                    let delivery = gate.recv().await.map_err(failed("be read"))?;
                    std::hint::black_box(delivery.payload().map_or(0, <[u8]>::len));
                    count_parked(&parked, &delivery);
                    delivery.done();
                }
            }
            Handlers::Reading(connections) | Handlers::Afar(connections) => {
                let left = Arc::new(Left::of(count - 1));
                let mut all = JoinSet::new();
                for to_replica in connections.iter().cycle().take(HANDLERS) {
                    let to_replica = to_replica.clone();
                    let (gate, left, parked) = (Arc::clone(&gate), Arc::clone(&left), Arc::clone(&parked));
                    all.spawn(async move {
                        while left.take() {
                            let delivery = gate.recv().await.map_err(failed("be read"))?;
                            read(delivery.key(), &to_replica).await?;
                            count_parked(&parked, &delivery);
                            delivery.done();
                        }
                        Ok(())
                    });
                }
                ended(all).await?;
            }
        }
        let rate = count as f64 / began.elapsed().as_secs_f64();
        if let Some(gate) = Arc::into_inner(gate) {
            gate.close().await.map_err(failed("be committed to"))?;
        }
        Ok((rate, parked.load(Ordering::Relaxed)))
    }
}

/// How many records are still to be asked for.
struct Left(AtomicU64);

impl Left {
    fn of(count: u64) -> Self {
        Self(AtomicU64::new(count))
    }

    fn take(&self) -> bool {
        let less = |left: u64| left.checked_sub(1);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }
}

async fn ended(mut handlers: JoinSet<Result<(), Failure>>) -> Result<(), Failure> {
    while let Some(handler) = handlers.join_next().await {
        handler??;
    }
    Ok(())
}

/// Looks up the post of a key where the handlers do.
async fn read(key: Option<&[u8]>, to_replica: &ConnectionManager) -> Result<(), Failure> {
    let number = |text: &[u8]| std::str::from_utf8(text).ok()?.parse().ok();
    let Some(key) = key.and_then(number) else {
        return Err(Failure::Garbled { what: "a record", found: format!("the key {key:?}") });
    };
    let found: Option<u32> = to_replica.clone().get(post(key)).await.map_err(redis_failed("read a post"))?;
    std::hint::black_box(found);
    Ok(())
}

pub(super) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    rounded(values.get(values.len() / 2).copied().unwrap_or_default())
}
