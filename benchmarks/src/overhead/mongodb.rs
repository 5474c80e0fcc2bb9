//! The overhead of the MongoDB shim, at equal write concerns.

use std::time::Duration;

use antipode::lineage::LineageScope;
use antipode::mongodb::MongoStore;
use antipode_docker::{MongoNode, MongoOptions, MongoTopology, Proxy};
use indicatif::ProgressBar;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Document, doc};
use mongodb::options::{CollectionOptions, WriteConcern};

use super::ROUND_TRIPS;
use super::figures::StoreFigures;
use super::pairs::Pairs;
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
        let (primary, _near) = reached(topology.primary(), round_trip).await?;
        let (replica, _far) = reached(topology.replica(0), round_trip).await?;
        let distant = Distant { settings, progress, round_trip, primary, replica };
        distant.measure(&mut figures).await?;
    }
    Ok(figures)
}

/// The server's address at this distance, with the proxy that makes it so.
async fn reached(node: &MongoNode, round_trip: Duration) -> Result<(String, Option<Proxy>), Failure> {
    if round_trip.is_zero() {
        return Ok((node.url(), None));
    }
    let proxy = Proxy::start(node.addr()).await?;
    proxy.set_delay(round_trip / 2);
    Ok((node.url().replace(&node.addr().to_string(), &proxy.addr().to_string()), Some(proxy)))
}

fn body(bytes: usize) -> Binary {
    Binary { subtype: BinarySubtype::Generic, bytes: vec![b'x'; bytes] }
}

/// Servers at one distance.
struct Distant<'a> {
    settings: &'a Overhead,
    progress: &'a ProgressBar,
    round_trip: Duration,
    primary: String,
    replica: String,
}

impl Distant<'_> {
    async fn measure(&self, figures: &mut StoreFigures) -> Result<(), Failure> {
        let (primary, replica) = (client(&self.primary).await?, client(&self.replica).await?);
        let store = MongoStore::builder("posts").primary(primary).replica("eu", replica);
        let store = store.build().map_err(failed("be opened"))?;
        self.writes(&store, figures).await?;
        self.reads(&store, figures).await
    }

    fn pairs(&self, form: &'static str) -> Pairs<'_> {
        let Self { settings, progress, round_trip, .. } = *self;
        Pairs { form, round_trip, rounds: settings.rounds, progress }
    }

    async fn writes(&self, store: &MongoStore, figures: &mut StoreFigures) -> Result<(), Failure> {
        let (driver, shim) = (client(&self.primary).await?.database(DATABASE), store.database(DATABASE));
        let body = body(self.settings.payload);
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
            let handed_over = async |round| {
                shim_insert(round).await?;
                settled().await;
                Ok(())
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
            figures.write.extend([
                self.pairs(insert).measure(raw_insert, shim_insert).await?,
                self.pairs("… and handed over at once").measure(raw_insert, handed_over).await?,
                self.pairs(update).measure(raw_update, shim_update).await?,
            ]);
        }
        Ok(())
    }

    async fn reads(&self, store: &MongoStore, figures: &mut StoreFigures) -> Result<(), Failure> {
        // What is read was written through the shim, also by the driver: the documents are the same.
        let raw = client(&self.replica).await?.database(DATABASE).collection::<Document>("shim");
        let shim = store.database(DATABASE).collection::<Document>("shim");
        let raw_read = async |round| {
            let found = raw.find_one(doc! { "_id": round % DOCUMENTS }).await;
            found.map(drop).map_err(failed(READ))
        };
        let shim_read = async |round| {
            let found = shim.find_one(doc! { "_id": round % DOCUMENTS }).await;
            found.map(drop).map_err(failed(READ))
        };
        let handed_over = async |round| {
            shim_read(round).await?;
            settled().await;
            Ok(())
        };
        figures.read.extend([
            self.pairs("find_one").measure(raw_read, shim_read).await?,
            self.pairs("… and lineage handed over at once").measure(raw_read, handed_over).await?,
        ]);
        Ok(())
    }
}

async fn settled() {
    if let Some(scope) = LineageScope::current() {
        scope.settled().await;
    }
}
