//! What the layers cost a service.
//!
//! Two axum services with one handler, one of them inside of the layers, get the same requests over the
//! same number of connections, in alternating slices of time: what disturbs the machine disturbs both.
//! Each request brings a lineage of four stores, of which one is registered and visible. Clients and
//! services share the process, so the figures are of the whole path over loopback; the allocations of both
//! sides are counted, and the difference is the layers'.

mod apps;
mod figures;
mod load;
mod table;

use antipode::lineage::{Epoch, Lineage, LineageScope, Position, Shard, StoreName, WriteId};
use antipode::prelude::Registry;
use antipode::redis::RedisStore;
use antipode_docker::{RedisOptions, RedisTopology};
use indicatif::ProgressBar;
use redis::{AsyncCommands, Client};

use self::figures::{Figures, Pair, Row};
use self::load::Load;
use crate::cli::Service;
use crate::servers::redis::{failed, raw_connection, version};
use crate::{Failure, output};

/// The key that handlers read.
const POST: &str = "post";

/// Runs the workload, prints its table and writes its figures.
///
/// # Errors
/// [`Failure`] if a service or the store fails.
pub(crate) async fn run(settings: &Service) -> Result<(), Failure> {
    let progress = output::progress("starting the store", u64::from(settings.pairs) * 3);
    let topology = RedisTopology::start(RedisOptions::default().replicas(1)).await?;
    let (primary, replica) = (topology.primary().url(), topology.replica(0).url());
    let client = |url: &str| Client::open(url).map_err(failed("be reached"));
    let store = RedisStore::builder("posts").primary(client(&primary)?).replica("eu", client(&replica)?);
    let store = store.build().map_err(failed("be opened"))?;
    let registry = Registry::builder().store(store.clone()).build().await?;
    let lineage = written(&store, &registry).await?;
    let raw = raw_connection(&replica).await?;
    let shim = store.read_connection().await.map_err(failed("be reached"))?;

    let guard = |app| apps::guarded(app, registry.clone());
    let cases = [
        ("no store", apps::answering(), guard(apps::answering())),
        ("GET, by the driver", apps::reading(raw.clone()), guard(apps::reading(raw.clone()))),
        ("GET, by the shim in the layers", apps::reading(raw), guard(apps::reading(shim))),
    ];
    let mut rows = Vec::new();
    for (handler, plain, layered) in cases {
        progress.set_message(handler);
        let loads =
            [Load::start(plain, &lineage, settings).await?, Load::start(layered, &lineage, settings).await?];
        rows.push(measure(handler, loads, settings, &progress).await?);
    }
    progress.finish_and_clear();
    let figures = Figures::new(settings, version(&primary).await?, rows);
    print!("{}", table::render(&figures));
    output::write_json(settings.json.as_deref(), &figures)
}

/// Slices in alternating order.
async fn measure(
    handler: &'static str,
    [mut plain, mut layered]: [Load; 2],
    settings: &Service,
    progress: &ProgressBar,
) -> Result<Row, Failure> {
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

/// A post that the replica shows, and a request's lineage: the post and writes to three other stores.
async fn written(store: &RedisStore, registry: &Registry) -> Result<Lineage, Failure> {
    let scope = LineageScope::new();
    let write = async {
        let mut connection = store.connection().await.map_err(failed("be reached"))?;
        let written: redis::RedisResult<()> = connection.set(POST, vec![b'x'; 1024]).await;
        written.map_err(failed("be written to"))
    };
    scope.run(write).await?;
    for name in ["orders", "sessions", "users"] {
        let store = StoreName::parse(name).map_err(Failure::store("service", "name a store"))?;
        let epoch = Epoch { history: 0x5eed_5eed_5eed_5eed, term: 3 };
        scope.add(WriteId { store, shard: Shard::ONLY, epoch, position: Position(123_456_789) });
    }
    let lineage = scope.settled().await;
    let visible = registry.barrier_on(&lineage).deadline(std::time::Duration::from_secs(10)).await;
    visible.map_err(Failure::store("posts", "become visible"))?;
    Ok(lineage)
}
