//! One key's post does not arrive: what do the other keys' records notice?

use std::time::Duration;

use antipode::barrier::Registry;
use antipode::kafka::{Gate as CausalGate, KafkaProducer};
use antipode::lineage::LineageScope;
use antipode::memory::{Lag, MemoryStore};
use rdkafka::producer::FutureRecord;
use serde::Serialize;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::stage::{STUCK, Stage, connection, consuming, records};
use super::throughput::median;
use crate::Failure;
use crate::cli::Gate;
use crate::servers::kafka::{LIMIT, failed};
use crate::statistics::{Durations, Quantiles, rounded};

/// How often each side has its turn in a round.
const TURNS: u32 = 3;

/// How many records one turn sends, one each period.
const RECORDS: u32 = 1_000;
const PERIOD: Duration = Duration::from_millis(1);

/// Of so many records one belongs to the stuck key.
const SHARE: u32 = 100;

/// From the sending of a record until it is handed over, of the keys that are not stuck; medians over
/// the turns, in milliseconds.
#[derive(Debug, Serialize)]
pub(super) struct Stuck {
    pub(super) free_p50_ms: f64,
    pub(super) free_p99_ms: f64,
    pub(super) stuck_p50_ms: f64,
    pub(super) stuck_p99_ms: f64,
    /// p99 with a stuck key ÷ p99 without.
    pub(super) ratio: f64,
    /// Records that were parked at the end of a turn with a stuck key.
    pub(super) parked: usize,
}

struct Scene {
    gate: CausalGate,
    producer: KafkaProducer,
    fresh: MemoryStore,
    late: MemoryStore,
    keys: u32,
    began: Instant,
}

pub(super) async fn run(stage: &Stage, settings: &Gate) -> Result<Stuck, Failure> {
    let scene = Scene::open(stage, settings).await?;
    scene.free().await?;
    let (mut free, mut stuck, mut parked) = (Vec::new(), Vec::new(), 0);
    // Short turns, now one first and now the other: what else runs on the machine befalls both.
    for turn in 0..settings.rounds * TURNS {
        if turn % 2 == 0 {
            free.push(scene.free().await?);
        }
        let (quantiles, left) = scene.stuck().await?;
        stuck.push(quantiles);
        parked = left;
        if turn % 2 == 1 {
            free.push(scene.free().await?);
        }
    }
    let p50 = |turns: &[Quantiles]| median(turns.iter().map(|turn| turn.p50));
    let p99 = |turns: &[Quantiles]| median(turns.iter().map(|turn| turn.p99));
    Ok(Stuck {
        free_p50_ms: p50(&free),
        free_p99_ms: p99(&free),
        stuck_p50_ms: p50(&stuck),
        stuck_p99_ms: p99(&stuck),
        ratio: rounded(p99(&stuck) / p99(&free)),
        parked,
    })
}

impl Scene {
    async fn open(stage: &Stage, settings: &Gate) -> Result<Self, Failure> {
        let lag = Lag::of(Duration::from_millis(1));
        let store = |name: &str| MemoryStore::builder(name).region("us").lagging("eu", lag).build();
        let (fresh, late) = (store("fresh").map_err(memory)?, store("late").map_err(memory)?);
        let registry = Registry::builder().store(fresh.clone()).store(late.clone()).build().await?;
        let bootstrap = stage.kafka.bootstrap();
        let store = records(&bootstrap)?;
        let gate = CausalGate::builder(&store, &registry)
            .config(&consuming(&bootstrap, "antipode-benchmark-stuck"))
            .topics([STUCK])
            .deadline(Duration::from_secs(120))
            .build()
            .map_err(failed("be read"))?;
        let producer = store.producer(connection(&bootstrap).set("linger.ms", "0"));
        let producer = producer.map_err(failed("be written to"))?;
        Ok(Self { gate, producer, fresh, late, keys: settings.keys, began: Instant::now() })
    }

    /// A turn in which nothing is stuck.
    async fn free(&self) -> Result<Quantiles, Failure> {
        Ok(self.turn(None).await?.quantiles())
    }

    /// A turn with a stuck key, and how many records were parked at its end.
    async fn stuck(&self) -> Result<(Quantiles, usize), Failure> {
        self.late.cut("eu").map_err(memory)?;
        let taken = self.turn(Some("stuck")).await?;
        let parked = self.gate.parked();
        self.late.heal("eu").map_err(memory)?;
        self.drain().await?;
        Ok((taken.quantiles(), parked))
    }

    /// Sends records at a steady pace and handles them; returns how long those took that are not stuck.
    async fn turn(&self, stuck: Option<&str>) -> Result<Durations, Failure> {
        let waiting = if stuck.is_some() { RECORDS / SHARE } else { 0 };
        let sending = self.send(stuck);
        let receiving = async {
            let mut taken = Durations::new();
            for _ in 0..RECORDS - waiting {
                let delivery = self.gate.recv().await.map_err(failed("be read"))?;
                let sent = delivery.payload().and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
                let sent = Duration::from_micros(sent.unwrap_or_default());
                taken.record(self.began.elapsed().saturating_sub(sent));
                delivery.done();
            }
            Ok::<_, Failure>(taken)
        };
        let both = timeout(LIMIT * 2, async { tokio::join!(sending, receiving) }).await;
        let (sent, taken) = both.map_err(|_| Failure::TooLate { what: "a turn", seconds: 60 })?;
        sent?;
        taken
    }

    async fn send(&self, stuck: Option<&str>) -> Result<(), Failure> {
        let mut pace = interval(PERIOD);
        pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut under_way = Vec::new();
        for at in 0..RECORDS {
            pace.tick().await;
            let (store, key) = match stuck {
                Some(stuck) if at % SHARE == 0 => (&self.late, stuck.to_owned()),
                _ => (&self.fresh, (at % self.keys).to_string()),
            };
            let scope = LineageScope::new();
            let written = scope.run(store.shim().put(&key, "post")).await;
            written.map_err(memory)?;
            let sent = self.began.elapsed().as_micros().to_string();
            let record = FutureRecord::to(STUCK).key(&key).payload(&sent);
            let delivery = self.producer.within(scope).send_result(record);
            under_way.push(delivery.map_err(|(error, _)| failed("write a record")(error))?);
        }
        for delivery in under_way {
            delivery.await.map_err(failed("write a record"))?;
        }
        Ok(())
    }

    /// The stuck key's records, once their post is there.
    async fn drain(&self) -> Result<(), Failure> {
        for _ in 0..RECORDS / SHARE {
            let delivery = timeout(LIMIT, self.gate.recv()).await;
            let delivery = delivery.map_err(|_| Failure::TooLate { what: "a stuck record", seconds: 30 })?;
            delivery.map_err(failed("be read"))?.done();
        }
        Ok(())
    }
}

fn memory(error: antipode::memory::MemoryError) -> Failure {
    Failure::store("memory", "write a post")(error)
}
