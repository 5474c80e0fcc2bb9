//! What the layers cost a service.
//!
//! Two axum services with one handler, one of them inside of the layers, get the same requests over the
//! same number of connections, in alternating slices of time: what disturbs the machine disturbs both.
//! Each request brings a lineage of four stores, of which the one that the handler reads is registered, and
//! the write to it visible. Clients and services share the process, so the figures are of the whole path
//! over loopback; the allocations of both sides are counted, and the difference is the layers'.
//!
//! Where the store is a round trip away, the processors are not at their limit, and what the layers take
//! from the throughput is what they add to a request's time.

mod apps;
mod figures;
mod load;
mod postgres;
mod redis;
mod table;

use std::time::Duration;

use antipode::lineage::{Epoch, Lineage, LineageScope, Position, Shard, StoreName, WriteId};
use antipode::prelude::Registry;
use axum::Router;
use indicatif::ProgressBar;

use self::figures::{Figures, Pair, Row};
use self::load::Load;
use self::postgres::PostgresPost;
use self::redis::RedisPost;
use crate::cli::Service;
use crate::{Failure, output};

/// How much a handler reads, in bytes.
const BODY: usize = 1_024;

/// A round trip to a store that is not on this machine.
const AFAR: Duration = Duration::from_millis(1);

/// How long the replicas may take to show the post.
const LIMIT: Duration = Duration::from_secs(30);

/// A handler, and the service that is measured beside it.
struct Case<'a> {
    handler: &'static str,
    plain: Router,
    layered: Router,
    lineage: &'a Lineage,
}

/// Runs the workload, prints its table and writes its figures.
///
/// # Errors
/// [`Failure`] if a service or a store fails.
pub(crate) async fn run(settings: &Service) -> Result<(), Failure> {
    let progress = output::progress("starting the stores", u64::from(settings.pairs) * 6);
    let redis = RedisPost::start().await?;
    let postgres = PostgresPost::start().await?;
    let cases = [
        redis.case("no store", apps::answering(), apps::answering()),
        redis.case("GET, by the driver", redis.by_driver(), redis.by_driver()),
        postgres.case("SELECT, by the driver", postgres.by_driver(), postgres.by_driver()),
        redis.case("GET, by the shim in the layers", redis.by_driver(), redis.by_shim().await?),
        redis.case("GET, 1 ms away", redis.by_driver_from_afar(), redis.by_driver_from_afar()),
        postgres.case("SELECT, 1 ms away", postgres.by_driver_from_afar(), postgres.by_driver_from_afar()),
    ];
    let mut rows = Vec::new();
    for case in cases {
        progress.set_message(case.handler);
        rows.push(measure(case, settings, &progress).await?);
    }
    progress.finish_and_clear();
    let figures = Figures::new(settings, vec![redis.version, postgres.version], rows);
    print!("{}", table::render(&figures));
    output::write_json(settings.json.as_deref(), &figures)
}

/// Slices in alternating order.
async fn measure(case: Case<'_>, settings: &Service, progress: &ProgressBar) -> Result<Row, Failure> {
    let Case { handler, plain, layered, lineage } = case;
    let mut plain = Load::start(plain, lineage, settings).await?;
    let mut layered = Load::start(layered, lineage, settings).await?;
    // The first pair warms up.
    let mut pairs = Vec::new();
    for number in 0..=settings.pairs {
        let pair = if number % 2 == 0 {
            let plain = plain.slice().await?;
            Pair { plain, layered: layered.slice().await? }
        } else {
            let layered = layered.slice().await?;
            Pair { plain: plain.slice().await?, layered }
        };
        if number > 0 {
            pairs.push(pair);
            progress.inc(1);
        }
    }
    Ok(Row::new(handler, &pairs))
}

/// A request's lineage: what the scope came to depend on, once that is visible, and writes to three other
/// stores.
async fn of_four_stores(scope: LineageScope, registry: &Registry) -> Result<Lineage, Failure> {
    let visible = registry.barrier_on(&scope.settled().await).deadline(LIMIT).await;
    visible.map_err(Failure::store("posts", "become visible"))?;
    for name in ["orders", "sessions", "users"] {
        let store = StoreName::parse(name).map_err(Failure::store("service", "name a store"))?;
        let epoch = Epoch { history: 0x5eed_5eed_5eed_5eed, term: 3 };
        scope.add(WriteId { store, shard: Shard::ONLY, epoch, position: Position(123_456_789) });
    }
    Ok(scope.settled().await)
}
