//! What a shim costs, compared with the bare driver.
//!
//! Pairs of operations, one with the driver and one through the shim, in alternating order on equal
//! connections: what disturbs the machine disturbs both. Figures are medians. Each operation through
//! the shim runs in a lineage of its own that depends on writes to three other stores, and what it
//! leaves to be captured in the background is waited for before the next operation begins, outside of
//! the measured time; so the driver's half of the pairs does not pay for it.

#[cfg(any(feature = "redis", feature = "postgres", feature = "mongodb"))]
mod distance;
mod figures;
#[cfg(feature = "kafka")]
mod kafka;
#[cfg(feature = "mongodb")]
mod mongodb;
mod pairs;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "redis")]
mod redis;
mod table;

use std::collections::BTreeMap;
use std::time::Duration;

use indicatif::ProgressBar;

use self::figures::{Figures, StoreFigures};
use crate::cli::{Overhead, StoreKind};
use crate::{Failure, output};

/// The time to the server and back that the proxy adds; without a proxy it is none.
const ROUND_TRIPS: [Duration; 2] = [Duration::ZERO, Duration::from_millis(1)];

/// Runs the workload, prints its table and writes its figures.
///
/// # Errors
/// [`Failure`] if a store fails.
pub(crate) async fn run(settings: &Overhead) -> Result<(), Failure> {
    let kinds = settings.stores()?;
    let progress = output::progress("overhead", 0);
    let mut stores = BTreeMap::new();
    for kind in kinds {
        progress.set_message(format!("overhead of {kind}"));
        stores.insert(kind.to_string(), measure(kind, settings, &progress).await?);
    }
    progress.finish_and_clear();
    let figures = Figures::new(settings, stores);
    print!("{}", table::render(&figures));
    output::write_json(settings.json.as_deref(), &figures)
}

async fn measure(
    kind: StoreKind,
    settings: &Overhead,
    progress: &ProgressBar,
) -> Result<StoreFigures, Failure> {
    match kind {
        #[cfg(feature = "redis")]
        StoreKind::Redis => redis::measure(settings, progress).await,
        #[cfg(feature = "postgres")]
        StoreKind::Postgres => postgres::measure(settings, progress).await,
        #[cfg(feature = "mongodb")]
        StoreKind::Mongodb => mongodb::measure(settings, progress).await,
        #[cfg(feature = "kafka")]
        StoreKind::Kafka => kafka::measure(settings, progress).await,
        // Also the embedded store, which has no driver; the command line does not offer it.
        missing => Err(missing.not_built()),
    }
}
