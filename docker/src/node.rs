use std::{marker::PhantomData, net::SocketAddr};

use crate::{TopologyError, server::Server};

/// One server of a topology. What every store's servers can do stands here; what one store's can do
/// stands with that store.
///
/// It keeps its port over [`stop`](Self::stop), [`kill`](Self::kill) and [`restart`](Self::restart),
/// and its role as well: a killed primary comes back as a primary, also if another server has been
/// promoted meanwhile. What it keeps of its data depends on the store.
#[derive(Debug)]
pub struct Node<S> {
    server: Server,
    store: PhantomData<S>,
}

impl<S> Node<S> {
    pub(crate) fn new(server: Server) -> Self {
        Self { server, store: PhantomData }
    }

    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    /// The loopback address it listens on, for instance as the target of a
    /// [`Proxy`](crate::Proxy).
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
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

    /// Freezes the server and all its processes (SIGSTOP; a container with the engine's means):
    /// connections are accepted by the kernel, but nothing is answered.
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

    /// Kills the server and all its processes (SIGKILL), as a power failure of its machine would,
    /// except that what it had written is not lost with the page cache.
    ///
    /// # Errors
    ///
    /// [`TopologyError::Timeout`] if it is not gone within 30 s. None if it was not running.
    pub async fn kill(&self) -> Result<(), TopologyError> {
        self.server.kill().await
    }

    /// Ends the server in good order, also a paused one. A Redis server does not wait for replicas
    /// that lag; a Postgres primary waits for its standbys to confirm the last of its WAL.
    ///
    /// # Errors
    ///
    /// [`TopologyError::Timeout`] after 30 s, for instance of a Postgres primary whose standby is
    /// behind a hung link. None if it was not running.
    pub async fn stop(&self) -> Result<(), TopologyError> {
        self.server.stop().await
    }

    /// Stops the server if it is running, starts it again on the same port and waits until it
    /// answers. It does not wait for replication.
    ///
    /// # Errors
    ///
    /// Those of [`stop`](Self::stop), and [`TopologyError::Exited`] or
    /// [`TopologyError::Timeout`] if it does not come up within 30 s (a Kafka broker: 90 s).
    pub async fn restart(&self) -> Result<(), TopologyError> {
        self.server.stop().await?;
        self.server.start().await
    }
}
