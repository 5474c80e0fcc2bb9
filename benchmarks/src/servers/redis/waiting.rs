//! Writes that wait for a replica, with `WAIT`.

use std::sync::Mutex;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd};

use super::{RESPONSE_LIMIT, failed};
use crate::Failure;

/// Connections for writes that wait. `WAIT` blocks its connection and speaks of the writes of that
/// connection only, so each write has one to itself.
pub(crate) struct Waiting {
    client: Client,
    idle: Mutex<Vec<MultiplexedConnection>>,
}

impl Waiting {
    pub(crate) fn new(client: Client) -> Self {
        Self { client, idle: Mutex::default() }
    }

    /// Returns when one replica has acknowledged the write.
    ///
    /// # Errors
    /// [`Failure::Store`], [`Failure::TooLate`] if it did not.
    pub(crate) async fn write(&self, write: Cmd) -> Result<(), Failure> {
        const OPERATION: &str = "wait for a replica";
        let idle = self.idle.lock().unwrap_or_else(std::sync::PoisonError::into_inner).pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let limit_ms = RESPONSE_LIMIT.as_millis() as u64;
        let mut both = redis::pipe();
        both.add_command(write).ignore().cmd("WAIT").arg(1).arg(limit_ms);
        let (replicas,): (u64,) = both.query_async(&mut connection).await.map_err(failed(OPERATION))?;
        if replicas == 0 {
            return Err(Failure::TooLate { what: "replication to one replica", seconds: limit_ms / 1000 });
        }
        self.idle.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(connection);
        Ok(())
    }

    async fn connect(&self) -> Result<MultiplexedConnection, Failure> {
        let settings = AsyncConnectionConfig::new().set_response_timeout(Some(RESPONSE_LIMIT * 2));
        let connection = self.client.get_multiplexed_async_connection_with_config(&settings).await;
        connection.map_err(failed("be reached"))
    }
}
