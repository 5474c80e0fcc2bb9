//! Redis with the bare driver.

mod waiting;

use std::error::Error;
use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, InfoDict};

pub(crate) use self::waiting::Waiting;
use crate::Failure;

/// How long a reply may take: generous, for the machine may be busy.
const RESPONSE_LIMIT: Duration = Duration::from_secs(30);

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
