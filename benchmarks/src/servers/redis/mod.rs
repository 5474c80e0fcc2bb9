//! Redis with the bare driver.

mod waiting;

use std::error::Error;
use std::time::Duration;

#[cfg(feature = "kafka")]
use antipode_docker::Proxy;
use antipode_docker::{RedisOptions, RedisTopology};
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{AsyncCommands, Client, InfoDict};

pub(crate) use self::waiting::Waiting;
use crate::Failure;
use crate::cli::Pair;
#[cfg(feature = "kafka")]
use crate::servers::reached;

/// What all keys of a run begin with.
pub(crate) const PREFIX: &str = "antipode-benchmark:";

/// How long a reply may take: generous, for the machine may be busy.
const RESPONSE_LIMIT: Duration = Duration::from_secs(30);

/// A primary, and perhaps a replica behind a proxy that delays its replication; or such as are there.
pub(crate) struct RedisServers {
    pub(crate) primary: String,
    pub(crate) replica: String,
    /// None if they were there before.
    topology: Option<RedisTopology>,
}

impl RedisServers {
    /// Starts them, unless they are given.
    pub(crate) async fn open(given: Option<&Pair>, replicas: usize) -> Result<Self, Failure> {
        if let Some(Pair { primary, replica }) = given.cloned() {
            let servers = Self { primary, replica, topology: None };
            servers.clean_up().await?;
            return Ok(servers);
        }
        let topology = RedisTopology::start(RedisOptions::default().replicas(replicas)).await?;
        let primary = topology.primary().url();
        let replica = topology.replicas().first().map_or_else(|| primary.clone(), |replica| replica.url());
        Ok(Self { primary, replica, topology: Some(topology) })
    }

    /// The replica's address where it is so far away, and the way there, which ends with the proxy.
    #[cfg(feature = "kafka")]
    pub(crate) async fn replica_from(
        &self,
        round_trip: Duration,
    ) -> Result<(String, Option<Proxy>), Failure> {
        match self.topology.as_ref().and_then(|topology| topology.replicas().first()) {
            Some(replica) => reached((replica, replica.url()), round_trip).await,
            None => Ok((self.replica.clone(), None)),
        }
    }

    /// Delays replication, if the servers were started here.
    pub(crate) fn set_lag(&self, lag: Duration) {
        if let Some(topology) = &self.topology {
            topology.link(0).set_delay_to_client(lag);
        }
    }

    /// Deletes the keys of runs, and what the shim keeps beside them, on servers that stay.
    pub(crate) async fn clean_up(&self) -> Result<(), Failure> {
        const OPERATION: &str = "delete the keys of the run";
        if self.topology.is_some() {
            return Ok(());
        }
        let mut connection = raw_connection(&self.primary).await?;
        let keys: Vec<Vec<u8>> = {
            let mut scanning = connection.clone();
            let mut found = scanning.scan_match(format!("*{PREFIX}*")).await.map_err(failed(OPERATION))?;
            let mut keys = Vec::new();
            while let Some(key) = found.next_item().await {
                keys.push(key.map_err(failed(OPERATION))?);
            }
            keys
        };
        for some in keys.chunks(1_000) {
            let _: u64 = connection.unlink(some).await.map_err(failed(OPERATION))?;
        }
        Ok(())
    }
}

/// A connection of the application's, without lineage.
pub(crate) async fn raw_connection(url: &str) -> Result<ConnectionManager, Failure> {
    let client = Client::open(url).map_err(failed("be reached"))?;
    let settings = ConnectionManagerConfig::new().set_response_timeout(Some(RESPONSE_LIMIT));
    client.get_connection_manager_with_config(settings).await.map_err(failed("be reached"))
}

/// The server's version, such as `Redis 7.0.15`.
pub(crate) async fn version(url: &str) -> Result<String, Failure> {
    let mut connection = raw_connection(url).await?;
    let info: InfoDict = redis::cmd("INFO")
        .arg("server")
        .query_async(&mut connection)
        .await
        .map_err(failed("tell its version"))?;
    Ok(format!("Redis {}", info.get::<String>("redis_version").unwrap_or_default()))
}

/// For `map_err`: Redis could not do `operation`.
pub(crate) fn failed<E>(operation: &'static str) -> impl FnOnce(E) -> Failure
where
    E: Into<Box<dyn Error + Send + Sync>>,
{
    Failure::store("redis", operation)
}
