use super::{
    cluster::quoted,
    session::{self, until, value},
};
use crate::{TopologyError, server::Server};

/// One Postgres server of a [`PostgresTopology`](crate::PostgresTopology).
///
/// It keeps its port and its data over [`stop`](Self::stop), [`kill`](Self::kill) and
/// [`restart`](Self::restart), and its role as well: a killed primary comes back as a primary,
/// also if another server has been promoted meanwhile.
#[derive(Debug)]
pub struct PostgresNode {
    server: Server,
}

impl PostgresNode {
    pub(super) fn new(server: Server) -> Self {
        Self { server }
    }

    pub(super) fn server(&self) -> &Server {
        &self.server
    }

    /// `postgres://postgres@127.0.0.1:PORT/postgres`: a superuser without password.
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

    /// The server in messages, such as `postgres replica-0`.
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

    /// Freezes the server and all its backends (SIGSTOP): connections are accepted by the
    /// kernel, but nothing is answered.
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

    /// Kills the server and all its backends (SIGKILL), as a power failure of its machine would,
    /// except that what it had written is not lost with the page cache.
    ///
    /// # Errors
    ///
    /// [`TopologyError::Timeout`] if it is not gone within 30 s. None if it was not running.
    pub async fn kill(&self) -> Result<(), TopologyError> {
        self.server.kill().await
    }

    /// Ends the server in good order (a "fast" shutdown), also a paused one.
    ///
    /// # Errors
    ///
    /// [`TopologyError::Timeout`] after 30 s: a primary waits for its standbys to confirm the
    /// last of its WAL, which one behind a hung link never does. None if it was not running.
    pub async fn stop(&self) -> Result<(), TopologyError> {
        self.server.stop().await
    }

    /// Stops the server if it is running, starts it again on the same port and waits until it
    /// answers queries. It does not wait for replication.
    ///
    /// # Errors
    ///
    /// Those of [`stop`](Self::stop), and [`TopologyError::Exited`] or
    /// [`TopologyError::Timeout`] if it does not come up within 30 s.
    pub async fn restart(&self) -> Result<(), TopologyError> {
        self.server.stop().await?;
        self.server.start().await
    }

    /// Sets a configuration parameter with `ALTER SYSTEM` and reloads: for instance
    /// `recovery_min_apply_delay` to `200ms` on a standby. Parameters that need a restart take
    /// effect at the next [`restart`](Self::restart).
    ///
    /// # Errors
    ///
    /// [`TopologyError::NotRunning`]; [`TopologyError::Client`] if the server refuses the
    /// parameter or the value.
    pub async fn set_setting(&self, name: &str, value: &str) -> Result<(), TopologyError> {
        const OPERATION: &str = "set a parameter";
        let loaded: String = session::value(&self.server, OPERATION, CONF_LOAD_TIME).await?;
        // Not the dot of a name such as `auto_explain.log_min_duration`.
        let name = name.replace('"', "\"\"").replace('.', "\".\"");
        let statement = format!("ALTER SYSTEM SET \"{name}\" = {}", quoted(value));
        session::execute(&self.server, OPERATION, statement).await?;
        let _: bool = session::value(&self.server, OPERATION, "SELECT pg_reload_conf()").await?;
        let changed = format!("SELECT ({CONF_LOAD_TIME}) <> {}", quoted(&loaded));
        until(&self.server, "reloaded", &changed).await
    }

    /// Whether it is a standby, or recovering from a crash, rather than a primary.
    ///
    /// # Errors
    ///
    /// [`TopologyError::NotRunning`], [`TopologyError::Client`], or [`TopologyError::Timeout`]
    /// if it does not answer within 30 s.
    pub async fn is_in_recovery(&self) -> Result<bool, TopologyError> {
        value(&self.server, "ask for its role", "SELECT pg_is_in_recovery()").await
    }
}

const CONF_LOAD_TIME: &str = "SELECT pg_conf_load_time()::text";
