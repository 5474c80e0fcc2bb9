use redis::cmd;

use super::session::{self, answer, says};
use crate::{TopologyError, server::Server};

/// One Redis server of a [`RedisTopology`](crate::RedisTopology).
///
/// It keeps its port and its role over [`stop`](Self::stop), [`kill`](Self::kill) and
/// [`restart`](Self::restart), but not its data, unless the options make it persistent: a
/// primary comes back empty, and its replicas then become empty, too.
#[derive(Debug)]
pub struct RedisNode {
    server: Server,
}

impl RedisNode {
    pub(super) fn new(server: Server) -> Self {
        Self { server }
    }

    pub(super) fn server(&self) -> &Server {
        &self.server
    }

    /// `redis://127.0.0.1:PORT/`.
    #[must_use]
    pub fn url(&self) -> String {
        session::url(self.server.addr())
    }

    /// The loopback address it listens on, for instance as the target of a
    /// [`Proxy`](crate::Proxy).
    #[must_use]
    pub fn addr(&self) -> std::net::SocketAddr {
        self.server.addr()
    }

    /// The port it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.server.addr().port()
    }

    /// The server in messages, such as `redis replica-0`.
    #[must_use]
    pub fn name(&self) -> &str {
        self.server.name()
    }

    /// Whether it has been started and has not ended since. A paused server is running.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.server.is_running()
    }

    /// The last lines of its log, joined by ` | `.
    #[must_use]
    pub fn log(&self) -> String {
        self.server.log()
    }

    /// Freezes the server (SIGSTOP): connections are accepted by the kernel, but nothing is
    /// answered.
    ///
    /// # Errors
    ///
    /// [`TopologyError::NotRunning`]; [`TopologyError::System`] if the signal is refused.
    pub async fn pause(&self) -> Result<(), TopologyError> {
        self.server.pause().await
    }

    /// Lets a paused server run again (SIGCONT).
    ///
    /// # Errors
    ///
    /// As [`pause`](Self::pause).
    pub async fn resume(&self) -> Result<(), TopologyError> {
        self.server.resume().await
    }

    /// Kills the server (SIGKILL).
    ///
    /// # Errors
    ///
    /// [`TopologyError::Timeout`] if it is not gone within 30 s. None if it was not running.
    pub async fn kill(&self) -> Result<(), TopologyError> {
        self.server.kill().await
    }

    /// Ends the server in good order (SIGTERM), also a paused one. It does not wait for replicas
    /// that lag.
    ///
    /// # Errors
    ///
    /// [`TopologyError::Timeout`] if it is not gone within 30 s. None if it was not running.
    pub async fn stop(&self) -> Result<(), TopologyError> {
        self.server.stop().await
    }

    /// Stops the server if it is running, starts it again on the same port and waits until it
    /// answers. It does not wait for replication.
    ///
    /// # Errors
    ///
    /// Those of [`stop`](Self::stop), and [`TopologyError::Exited`] or
    /// [`TopologyError::Timeout`] if it does not come up within 30 s.
    pub async fn restart(&self) -> Result<(), TopologyError> {
        self.server.stop().await?;
        self.server.start().await
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
        let () = answer(&self.server, "set a parameter", &set).await?;
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
        let info: String = answer(&self.server, "ask for its role", &info).await?;
        Ok(says(&info, "role:slave"))
    }

    pub(super) async fn keep_settings(&self) -> Result<(), TopologyError> {
        let mut rewrite = cmd("CONFIG");
        rewrite.arg("REWRITE");
        answer(&self.server, "write its configuration file", &rewrite).await
    }
}
