//! The overhead of the Redis shim.

use antipode::redis::RedisStore;
use antipode_docker::{RedisOptions, RedisTopology};
use indicatif::ProgressBar;
use redis::{AsyncCommands, Client, Pipeline, RedisResult};

use super::ROUND_TRIPS;
use super::distance::Distance;
use super::figures::StoreFigures;
use crate::Failure;
use crate::cli::Overhead;
use crate::servers::redis::{failed, raw_connection, version};

const WRITE: &str = "be written to";
const READ: &str = "be read";
/// How many keys there are, and commands in a pipeline.
const KEYS: u32 = 10;

pub(crate) async fn measure(settings: &Overhead, progress: &ProgressBar) -> Result<StoreFigures, Failure> {
    let topology = RedisTopology::start(RedisOptions::default().replicas(1)).await?;
    let version = version(&topology.primary().url()).await?;
    let mut figures = StoreFigures { version, write: Vec::new(), read: Vec::new() };
    for round_trip in ROUND_TRIPS {
        let servers = [topology.primary(), topology.replica(0)].map(|node| (node, node.url()));
        let distance = Distance::put(settings, progress, round_trip, servers).await?;
        measure_at(&distance, &mut figures).await?;
    }
    Ok(figures)
}

async fn measure_at(distance: &Distance<'_>, figures: &mut StoreFigures) -> Result<(), Failure> {
    let Distance { settings, primary, replica, .. } = distance;
    let client = |url: &str| Client::open(url).map_err(failed("be reached"));
    let store = RedisStore::builder("posts").primary(client(primary)?).replica("eu", client(replica)?);
    let store = store.build().map_err(failed("be opened"))?;
    let body = vec![b'x'; settings.payload];
    let key = |of: &str, round: u32| format!("{of}:{}", round % KEYS);
    let done = |operation| move |done: RedisResult<()>| done.map_err(failed(operation));

    // Connections of one kind on both sides; clones share them.
    let (raw, shim) =
        (raw_connection(primary).await?, store.connection().await.map_err(failed("be reached"))?);
    let set = distance.pairs("SET").measure(
        async |round| done(WRITE)(raw.clone().set(key("raw", round), &body).await),
        async |round| done(WRITE)(shim.clone().set(key("shim", round), &body).await),
    );
    figures.write.push(set.await?);
    let field = distance.pairs("HSET of a field (lineage joined)").measure(
        async |round| done(WRITE)(raw.clone().hset("raw", round % KEYS, &body).await),
        async |round| done(WRITE)(shim.clone().hset("shim", round % KEYS, &body).await),
    );
    figures.write.push(field.await?);
    let many = |of: &str| {
        let mut pipeline = Pipeline::new();
        for number in 0..KEYS {
            pipeline.set(key(of, number), body.as_slice()).ignore();
        }
        pipeline
    };
    let (raw_sets, shim_sets) = (many("raw"), many("shim"));
    let pipeline = distance.pairs("pipeline of 10 SETs").measure(
        async |_| done(WRITE)(raw_sets.query_async(&mut raw.clone()).await),
        async |_| done(WRITE)(shim_sets.query_async(&mut shim.clone()).await),
    );
    figures.write.push(pipeline.await?);

    let raw = raw_connection(replica).await?;
    let shim = store.read_connection().await.map_err(failed("be reached"))?;
    // What is read was written through the shim, also by the driver: the values are the same.
    let found = |found: RedisResult<Option<Vec<u8>>>| found.map(drop).map_err(failed(READ));
    let get = distance.pairs("GET").measure(
        async |round| found(raw.clone().get(key("shim", round)).await),
        async |round| found(shim.clone().get(key("shim", round)).await),
    );
    figures.read.push(get.await?);
    Ok(())
}
