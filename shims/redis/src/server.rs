//! One Redis server: how far it has come, and connections to it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use antipode_barrier::{BoxFuture, Frontiers, ProbeError, Replica, Shards};
use antipode_lineage::{ReplicaName, StoreName};
use redis::aio::{ConnectionManager, ConnectionManagerConfig, MultiplexedConnection};
use redis::{
    AsyncConnectionConfig, Client, Cmd, FromRedisValue, Pipeline, RedisError, RedisResult, cmd, pipe,
};
use tokio::sync::OnceCell;

use crate::error::Error;
use crate::histories::Histories;
use crate::replication::Replication;

/// When a probe gives up by itself; whoever asked for it gives up earlier. Apart from the driver's
/// own limit of 500 ms, which slow links and frozen servers exceed.
const PROBE_LIMIT: Duration = Duration::from_secs(10);

/// A primary or a replica of a store.
pub(crate) struct Server {
    pub(crate) store: StoreName,
    pub(crate) name: ReplicaName,
    client: Client,
    histories: Arc<Histories>,
    /// The connection for probes while none is under way. A probe takes it along, and brings it back
    /// only after a whole reply: one that fails or is dropped half-way takes it to its grave.
    idle: Mutex<Option<MultiplexedConnection>>,
    shared: OnceCell<ConnectionManager>,
    response_timeout: Option<Duration>,
}

impl Server {
    pub(crate) fn new(
        store: StoreName,
        name: ReplicaName,
        client: Client,
        histories: Arc<Histories>,
    ) -> Self {
        Self {
            store,
            name,
            client,
            histories,
            idle: Mutex::default(),
            shared: OnceCell::new(),
            response_timeout: None,
        }
    }

    /// Other limits on the shared connection than the driver's.
    pub(crate) fn with_response_timeout(self, limit: Option<Duration>) -> Self {
        Self { response_timeout: limit, ..self }
    }

    /// The connection that all shims of this process share. It reconnects by itself.
    pub(crate) async fn connection(&self) -> Result<ConnectionManager, Error> {
        let failed = |source| Error::Connect { store: self.store, replica: self.name, source };
        self.driver_connection().await.map_err(failed)
    }

    /// The same with the driver's errors.
    pub(crate) async fn driver_connection(&self) -> RedisResult<ConnectionManager> {
        let mut config = ConnectionManagerConfig::new().set_number_of_retries(1);
        if let Some(limit) = self.response_timeout {
            config = config.set_response_timeout(Some(limit)).set_connection_timeout(Some(limit));
        }
        let connect = || self.client.get_connection_manager_with_config(config);
        self.shared.get_or_try_init(connect).await.cloned()
    }

    /// Asks the server something, apart from the users' connections.
    pub(crate) async fn ask<T: FromRedisValue>(&self, question: &Cmd) -> RedisResult<T> {
        let mut questions = pipe();
        questions.add_command(question.clone());
        let (answer,) = self.ask_together(&questions).await?;
        Ok(answer)
    }

    /// Asks the server several things at once.
    pub(crate) async fn ask_together<T: FromRedisValue>(&self, question: &Pipeline) -> RedisResult<T> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut connection) = idle {
            match question.query_async(&mut connection).await {
                // It broke while nobody used it: that says nothing of the server now.
                Err(error) if error.is_connection_dropped() => {}
                answer => return answer.inspect(|_| self.put_back(connection)),
            }
        }
        let mut connection = self.connect().await?;
        let answer = question.query_async(&mut connection).await?;
        self.put_back(connection);
        Ok(answer)
    }

    fn put_back(&self, connection: MultiplexedConnection) {
        *self.idle.lock().unwrap_or_else(PoisonError::into_inner) = Some(connection);
    }

    /// A connection of its own, whose limits are those of probes.
    pub(crate) async fn connect(&self) -> RedisResult<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PROBE_LIMIT))
            .set_response_timeout(Some(PROBE_LIMIT));
        self.client.get_multiplexed_async_connection_with_config(&config).await
    }

    async fn frontiers(&self) -> Result<Frontiers, ProbeError> {
        let mut info = cmd("INFO");
        info.arg("replication").arg("persistence");
        let failed = |source: RedisError| {
            ProbeError::new(Error::Connect { store: self.store, replica: self.name, source })
        };
        let info: String = self.ask(&info).await.map_err(failed)?;
        let problem = |problem: &str| {
            ProbeError::new(format!("store {}: the server behind {} {problem}", self.store, self.name))
        };
        let replication = Replication::parse(&info)
            .ok_or_else(|| problem("does not say where it stands: is it a Redis?"))?;
        if replication.is_loading {
            return Err(problem("is loading its data: wait for it"));
        }
        Ok(self.histories.frontier(&replication).into())
    }
}

impl Replica for Server {
    fn name(&self) -> ReplicaName {
        self.name
    }

    fn probe<'a>(&'a self, _shards: Shards<'a>) -> BoxFuture<'a, Result<Frontiers, ProbeError>> {
        Box::pin(self.frontiers())
    }
}

impl fmt::Debug for Server {
    /// Without the address, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("store", &self.store).field("name", &self.name).finish_non_exhaustive()
    }
}
