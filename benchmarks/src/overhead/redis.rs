//! The overhead of the Redis shim.

use std::time::Duration;

use antipode::redis::RedisStore;
use antipode_docker::{Proxy, RedisNode, RedisOptions, RedisTopology};
use indicatif::ProgressBar;
use redis::{AsyncCommands, Client, Pipeline, RedisResult};

use super::ROUND_TRIPS;
use super::figures::StoreFigures;
use super::pairs::Pairs;
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
        let (primary, _near) = reached(topology.primary(), round_trip).await?;
        let (replica, _far) = reached(topology.replica(0), round_trip).await?;
        measure_at(settings, progress, round_trip, [&primary, &replica], &mut figures).await?;
    }
    Ok(figures)
}

/// The server's address at this distance, with the proxy that makes it so.
async fn reached(node: &RedisNode, round_trip: Duration) -> Result<(String, Option<Proxy>), Failure> {
    if round_trip.is_zero() {
        return Ok((node.url(), None));
    }
    let proxy = Proxy::start(node.addr()).await?;
    proxy.set_delay(round_trip / 2);
    Ok((format!("redis://{}/", proxy.addr()), Some(proxy)))
}

async fn measure_at(
    settings: &Overhead,
    progress: &ProgressBar,
    round_trip: Duration,
    [primary, replica]: [&str; 2],
    figures: &mut StoreFigures,
) -> Result<(), Failure> {
    let client = |url: &str| Client::open(url).map_err(failed("be reached"));
    let store = RedisStore::builder("posts").primary(client(primary)?).replica("eu", client(replica)?);
    let store = store.build().map_err(failed("be opened"))?;
    let pairs = |form| Pairs { form, round_trip, rounds: settings.rounds, progress };
    let body = vec![b'x'; settings.payload];
    let key = |of: &str, round: u32| format!("{of}:{}", round % KEYS);
    let done = |operation| move |done: RedisResult<()>| done.map_err(failed(operation));

    // Connections of one kind on both sides; clones share them.
    let (raw, shim) =
        (raw_connection(primary).await?, store.connection().await.map_err(failed("be reached"))?);
    let set = pairs("SET").measure(
        async |round| done(WRITE)(raw.clone().set(key("raw", round), &body).await),
        async |round| done(WRITE)(shim.clone().set(key("shim", round), &body).await),
    );
    figures.write.push(set.await?);
    let field = pairs("HSET of a field (lineage joined)").measure(
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
    let pipeline = pairs("pipeline of 10 SETs").measure(
        async |_| done(WRITE)(raw_sets.query_async(&mut raw.clone()).await),
        async |_| done(WRITE)(shim_sets.query_async(&mut shim.clone()).await),
    );
    figures.write.push(pipeline.await?);

    let raw = raw_connection(replica).await?;
    let shim = store.read_connection().await.map_err(failed("be reached"))?;
    // What is read was written through the shim, also by the driver: the values are the same.
    let found = |found: RedisResult<Option<Vec<u8>>>| found.map(drop).map_err(failed(READ));
    let get = pairs("GET").measure(
        async |round| found(raw.clone().get(key("shim", round)).await),
        async |round| found(shim.clone().get(key("shim", round)).await),
    );
    figures.read.push(get.await?);
    Ok(())
}
