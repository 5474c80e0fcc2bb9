//! The overhead of the MongoDB shim, at equal write concerns.

use antipode::mongodb::MongoStore;
use antipode_docker::{MongoOptions, MongoTopology};
use indicatif::ProgressBar;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Document, doc};
use mongodb::options::{CollectionOptions, WriteConcern};

use super::ROUND_TRIPS;
use super::distance::Distance;
use super::figures::{Row, StoreFigures};
use crate::Failure;
use crate::cli::Overhead;
use crate::servers::mongodb::{DATABASE, client, failed, version};

const WRITE: &str = "be written to";
const READ: &str = "be read";
/// The documents that are there from the beginning, to be updated and read.
const DOCUMENTS: u32 = 100;

pub(crate) async fn measure(settings: &Overhead, progress: &ProgressBar) -> Result<StoreFigures, Failure> {
    let topology = MongoTopology::start(MongoOptions::default()).await?;
    let setup = client(topology.url()).await?;
    for name in ["raw", "shim"] {
        let documents = (0..DOCUMENTS).map(|id| doc! { "_id": id, "body": body(settings.payload) });
        let all = setup.database(DATABASE).collection::<Document>(name);
        all.insert_many(documents).await.map_err(failed("fill the collections"))?;
    }
    let mut figures = StoreFigures { version: version(&setup).await?, write: Vec::new(), read: Vec::new() };
    for round_trip in ROUND_TRIPS {
        let servers = [topology.primary(), topology.replica(0)].map(|node| (node, node.url()));
        let distance = Distance::put(settings, progress, round_trip, servers).await?;
        measure_at(&distance, &mut figures).await?;
    }
    Ok(figures)
}

fn body(bytes: usize) -> Binary {
    Binary { subtype: BinarySubtype::Generic, bytes: vec![b'x'; bytes] }
}

async fn measure_at(distance: &Distance<'_>, figures: &mut StoreFigures) -> Result<(), Failure> {
    let (primary, replica) = (client(&distance.primary).await?, client(&distance.replica).await?);
    let store = MongoStore::builder("posts").primary(primary).replica("eu", replica);
    let store = store.build().map_err(failed("be opened"))?;
    figures.write.extend(writes(distance, &store).await?);
    figures.read.extend(reads(distance, &store).await?);
    Ok(())
}

async fn writes(distance: &Distance<'_>, store: &MongoStore) -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::new();
    let (driver, shim) = (client(&distance.primary).await?.database(DATABASE), store.database(DATABASE));
    let body = body(distance.settings.payload);
    let forms = [
        (WriteConcern::majority(), "insert, w: majority", "update, w: majority (lineage joined)"),
        (WriteConcern::nodes(1), "insert, w: 1", "update, w: 1 (lineage joined)"),
    ];
    for (concern, insert, update) in forms {
        let options = CollectionOptions::builder().write_concern(concern).build();
        let raw = driver.collection_with_options::<Document>("raw", options.clone());
        let shim = shim.collection_with_options::<Document>("shim", options);
        let raw_insert = async |_| {
            let written = raw.insert_one(doc! { "body": body.clone() }).await;
            written.map(drop).map_err(failed(WRITE))
        };
        let shim_insert = async |_| {
            let written = shim.insert_one(doc! { "body": body.clone() }).await;
            written.map(drop).map_err(failed(WRITE))
        };
        let change = || doc! { "$set": { "body": body.clone() } };
        let raw_update = async |round| {
            let written = raw.update_one(doc! { "_id": round % DOCUMENTS }, change()).await;
            written.map(drop).map_err(failed(WRITE))
        };
        let shim_update = async |round| {
            let written = shim.update_one(doc! { "_id": round % DOCUMENTS }, change()).await;
            written.map(drop).map_err(failed(WRITE))
        };
        rows.extend([
            distance.pairs(insert).measure(raw_insert, shim_insert).await?,
            distance.pairs("… and handed over at once").measure_handed_over(raw_insert, shim_insert).await?,
            distance.pairs(update).measure(raw_update, shim_update).await?,
        ]);
    }
    Ok(rows)
}

async fn reads(distance: &Distance<'_>, store: &MongoStore) -> Result<Vec<Row>, Failure> {
    // What is read was written through the shim, also by the driver: the documents are the same.
    let raw = client(&distance.replica).await?.database(DATABASE).collection::<Document>("shim");
    let shim = store.database(DATABASE).collection::<Document>("shim");
    let raw_read = async |round| {
        let found = raw.find_one(doc! { "_id": round % DOCUMENTS }).await;
        found.map(drop).map_err(failed(READ))
    };
    let shim_read = async |round| {
        let found = shim.find_one(doc! { "_id": round % DOCUMENTS }).await;
        found.map(drop).map_err(failed(READ))
    };
    Ok(vec![
        distance.pairs("find_one").measure(raw_read, shim_read).await?,
        distance.pairs("… and lineage handed over at once").measure_handed_over(raw_read, shim_read).await?,
    ])
}
