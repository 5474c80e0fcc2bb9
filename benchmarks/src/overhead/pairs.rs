//! Pairs of operations: the bare driver's and the shim's.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use antipode::lineage::{Epoch, Lineage, LineageScope, Position, Shard, StoreName, WriteId};
use indicatif::ProgressBar;

use super::figures::Row;
use crate::Failure;
use crate::statistics::Durations;

/// Pairs before the measured ones: connections, prepared statements, caches.
const WARM_UP: u32 = 20;

/// A row of the table in the making.
pub(crate) struct Pairs<'a> {
    /// What is compared.
    pub(crate) form: &'static str,
    pub(crate) round_trip: Duration,
    pub(crate) rounds: u32,
    pub(crate) progress: &'a ProgressBar,
}

impl Pairs<'_> {
    /// Measures the pairs. Both get the number of the round; the shim's runs in a current lineage.
    pub(crate) async fn measure(
        self,
        raw: impl AsyncFn(u32) -> Result<(), Failure>,
        shim: impl AsyncFn(u32) -> Result<(), Failure>,
    ) -> Result<Row, Failure> {
        let (mut raws, mut shims) = (Durations::new(), Durations::new());
        let traced = async |round| {
            let scope = LineageScope::from(carried()?);
            let took = timed(scope.run(shim(round))).await?;
            scope.settled().await;
            Ok::<_, Failure>(took)
        };
        self.progress.inc_length(u64::from(self.rounds));
        for round in 0..WARM_UP + self.rounds {
            let (raw_took, shim_took) = if round % 2 == 0 {
                let raw_took = timed(raw(round)).await?;
                (raw_took, traced(round).await?)
            } else {
                let shim_took = traced(round).await?;
                (timed(raw(round)).await?, shim_took)
            };
            if round >= WARM_UP {
                raws.record(raw_took);
                shims.record(shim_took);
                self.progress.inc(1);
            }
        }
        Ok(Row::new(self.form, self.round_trip, raws.median(), shims.median()))
    }

    /// The same where the lineage is handed over at once: the shim's operation ends when all of it is
    /// captured.
    #[cfg(any(feature = "postgres", feature = "mongodb", feature = "kafka"))]
    pub(crate) async fn measure_handed_over(
        self,
        raw: impl AsyncFn(u32) -> Result<(), Failure>,
        shim: impl AsyncFn(u32) -> Result<(), Failure>,
    ) -> Result<Row, Failure> {
        let handed_over = async |round| {
            shim(round).await?;
            if let Some(scope) = LineageScope::current() {
                scope.settled().await;
            }
            Ok(())
        };
        self.measure(raw, handed_over).await
    }
}

async fn timed(operation: impl Future<Output = Result<(), Failure>>) -> Result<Duration, Failure> {
    let began = Instant::now();
    operation.await?;
    Ok(began.elapsed())
}

/// What a request typically depends on when it comes to a store: writes to three others, that are news to
/// what is stored there.
fn carried() -> Result<Lineage, Failure> {
    // As the clock runs, so that they are news in whatever was measured before, too.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let position = Position(u64::try_from(now.as_micros()).unwrap_or(u64::MAX));
    let write = |name: &str| {
        let store = StoreName::parse(name).map_err(Failure::store("overhead", "name a store"))?;
        let epoch = Epoch { history: 0x5eed_5eed_5eed_5eed, term: 3 };
        Ok(WriteId { store, shard: Shard::ONLY, epoch, position })
    };
    ["orders", "sessions", "users"].into_iter().map(write).collect()
}
