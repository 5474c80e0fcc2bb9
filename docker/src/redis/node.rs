use redis::{aio::MultiplexedConnection, cmd};

use super::session::{self, answer, says};
use crate::{Node, TopologyError};

/// One Redis server of a [`RedisTopology`](crate::RedisTopology).
///
/// It keeps no data over a restart, unless the options make it persistent: a primary comes back
/// empty, and its replicas then become empty, too.
pub type RedisNode = Node<Redis>;

/// A Redis server.
#[derive(Debug)]
pub enum Redis {}

impl Node<Redis> {
    /// `redis://127.0.0.1:PORT/`.
    #[must_use]
    pub fn url(&self) -> String {
        session::url(self.server().addr())
    }

    /// A connection to it that waits 30 s for each reply, and not for half a second as the driver's do:
    /// a machine that runs many servers makes any of them late.
    ///
    /// # Errors
    ///
    /// [`TopologyError::NotRunning`]; [`TopologyError::Client`] if it cannot be reached.
    pub async fn connect(&self) -> Result<MultiplexedConnection, TopologyError> {
        self.server().must_run()?;
        session::connect(self.server().addr()).await.map_err(self.server().refused("accept a connection"))
    }

    /// Sets a configuration parameter, with `CONFIG SET`, and keeps it over a restart, with
    /// `CONFIG REWRITE`.
    ///
    /// # Errors
    ///
    /// [`TopologyError::NotRunning`]; [`TopologyError::Client`] if the server refuses the
    /// parameter or the value.
    pub async fn set_setting(&self, name: &str, value: &str) -> Result<(), TopologyError> {
        let mut set = cmd("CONFIG");
        set.arg("SET").arg(name).arg(value);
        let () = answer(self.server(), "set a parameter", &set).await?;
        self.keep_settings().await
    }

    /// Whether it is a replica rather than a primary.
    ///
    /// # Errors
    ///
    /// [`TopologyError::NotRunning`], [`TopologyError::Client`], or [`TopologyError::Timeout`]
    /// if it does not answer within 30 s.
    pub async fn is_replica(&self) -> Result<bool, TopologyError> {
        let mut info = cmd("INFO");
        info.arg("replication");
        let info: String = answer(self.server(), "ask for its role", &info).await?;
        Ok(says(&info, "role:slave"))
    }

    pub(super) async fn keep_settings(&self) -> Result<(), TopologyError> {
        let mut rewrite = cmd("CONFIG");
        rewrite.arg("REWRITE");
        answer(self.server(), "write its configuration file", &rewrite).await
    }
}
