//! The seam between topologies and what runs their servers.

use std::net::SocketAddr;

use crate::{TopologyError, native::NativeServer};

/// A server that can be started, paused and killed, whoever runs it. Topologies and nodes know
/// servers only through this, so a further provider is a further variant.
#[derive(Debug)]
pub(crate) enum Server {
    /// A process of this machine.
    Native(NativeServer),
}

impl Server {
    /// The server in messages, such as `postgres replica-0`.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Native(server) => server.name(),
        }
    }

    /// Where it is reached from this process; the same for its whole life.
    pub(crate) fn addr(&self) -> SocketAddr {
        match self {
            Self::Native(server) => server.addr(),
        }
    }

    /// Starts it, if it is not running, and waits until it answers.
    pub(crate) async fn start(&self) -> Result<(), TopologyError> {
        match self {
            Self::Native(server) => server.start().await,
        }
    }

    /// Ends it in good order, if it is running.
    pub(crate) async fn stop(&self) -> Result<(), TopologyError> {
        match self {
            Self::Native(server) => server.stop().await,
        }
    }

    /// Ends it at once, if it is running, as a power failure would.
    pub(crate) async fn kill(&self) -> Result<(), TopologyError> {
        match self {
            Self::Native(server) => server.kill().await,
        }
    }

    /// Freezes all its processes.
    pub(crate) async fn pause(&self) -> Result<(), TopologyError> {
        match self {
            Self::Native(server) => server.pause(),
        }
    }

    /// Lets them run again.
    pub(crate) async fn resume(&self) -> Result<(), TopologyError> {
        match self {
            Self::Native(server) => server.resume(),
        }
    }

    /// Whether it has been started and has not ended since; a paused server is running.
    pub(crate) fn is_running(&self) -> bool {
        match self {
            Self::Native(server) => server.is_running(),
        }
    }

    /// The last lines of its log, in one line.
    pub(crate) fn log(&self) -> String {
        match self {
            Self::Native(server) => server.log(),
        }
    }

    /// The error of a condition that was not reached in time.
    pub(crate) fn timeout(&self, condition: &'static str) -> TopologyError {
        TopologyError::Timeout {
            server: self.name().to_owned(),
            condition,
            limit: crate::wait::LIMIT,
            log: self.log(),
        }
    }

    /// For `map_err`: its driver could not do `operation`.
    pub(crate) fn refused<E>(&self, operation: &'static str) -> impl FnOnce(E) -> TopologyError
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        move |source| TopologyError::Client {
            server: self.name().to_owned(),
            operation,
            log: self.log(),
            source: Box::new(source),
        }
    }

    /// An error unless it is running.
    pub(crate) fn must_run(&self) -> Result<(), TopologyError> {
        if self.is_running() {
            return Ok(());
        }
        Err(TopologyError::NotRunning { server: self.name().to_owned(), log: self.log() })
    }
}
