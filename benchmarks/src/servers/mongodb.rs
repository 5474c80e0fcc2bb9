//! MongoDB with the bare driver.

use std::error::Error;
use std::time::Duration;

use antipode_docker::{MongoOptions, MongoTopology};
use mongodb::bson::{Document, doc};
use mongodb::options::{CollectionOptions, WriteConcern};
use mongodb::{Client, Collection, Database};

use crate::Failure;
use crate::cli::Pair;

/// What the run writes to.
pub(crate) const DATABASE: &str = "antipode_benchmark";

/// A replica set, one member of which fetches the log through a proxy that delays it; or such as is there.
pub(crate) struct MongoServers {
    /// Leads to the set.
    pub(crate) set: String,
    /// Leads to the secondary to read from.
    pub(crate) secondary: String,
    /// The run's collection.
    collection: &'static str,
    /// None if they were there before.
    topology: Option<Box<MongoTopology>>,
}

impl MongoServers {
    /// Starts them, unless they are given. With two secondaries one of them may lag, and a majority still
    /// acknowledges at once; without any, the primary is read from.
    pub(crate) async fn open(
        given: Option<&Pair>,
        collection: &'static str,
        secondaries: usize,
    ) -> Result<Self, Failure> {
        if let Some(Pair { primary, replica }) = given.cloned() {
            let servers = Self { set: primary, secondary: replica, collection, topology: None };
            servers.clean_up().await?;
            return Ok(servers);
        }
        let topology = MongoTopology::start(MongoOptions::default().replicas(secondaries)).await?;
        let read_from = if secondaries > 0 { topology.replica(0) } else { topology.primary() };
        let (set, secondary) = (topology.url().to_owned(), read_from.url());
        Ok(Self { set, secondary, collection, topology: Some(Box::new(topology)) })
    }

    /// Delays replication, if the servers were started here.
    pub(crate) fn set_lag(&self, lag: Duration) {
        if let Some(topology) = &self.topology {
            topology.link(0).set_delay_to_client(lag);
        }
    }

    /// Removes what the run wrote, on servers that stay.
    pub(crate) async fn clean_up(&self) -> Result<(), Failure> {
        if self.topology.is_some() {
            return Ok(());
        }
        let database = client(&self.set).await?.database(DATABASE);
        let dropped = database.collection::<Document>(self.collection).drop().await;
        dropped.map_err(failed("drop the run's collection"))
    }
}

/// A service's client.
pub(crate) async fn client(url: &str) -> Result<Client, Failure> {
    Client::with_uri_str(url).await.map_err(failed("be reached"))
}

/// A collection whose writes wait for a majority, as those of the shim do.
pub(crate) fn majority(database: &Database, collection: &str) -> Collection<Document> {
    let options = CollectionOptions::builder().write_concern(WriteConcern::majority()).build();
    database.collection_with_options(collection, options)
}

/// The server's version, such as `MongoDB 6.0.27`.
pub(crate) async fn version(client: &Client) -> Result<String, Failure> {
    let told = client.database("admin").run_command(doc! { "buildInfo": 1 }).await;
    let told = told.map_err(failed("tell its version"))?;
    Ok(format!("MongoDB {}", told.get_str("version").unwrap_or_default()))
}

/// For `map_err`: MongoDB could not do `operation`.
pub(crate) fn failed<E>(operation: &'static str) -> impl FnOnce(E) -> Failure
where
    E: Into<Box<dyn Error + Send + Sync>>,
{
    Failure::store("mongodb", operation)
}
