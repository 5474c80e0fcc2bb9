use std::{error::Error, io, time::Duration};

use crate::Member;

/// Why a topology could not do what it was told.
///
/// Every message is one line that names the server, the last lines of its log where there is one,
/// and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TopologyError {
    /// The server's programs are not on this machine.
    #[error("{store} is not installed here ({missing}): run docker/install {store}")]
    MissingServer {
        /// The store, as `docker/install` knows it.
        store: &'static str,
        /// What was looked for in vain.
        missing: String,
    },

    /// No Docker engine answers, and the servers are to run in containers.
    #[cfg(feature = "containers")]
    #[error(
        "{store}: no Docker engine answers: start one (on Debian: apt-get install docker.io), let this \
         user reach it (DOCKER_HOST, group `docker`), or choose Provider::Native"
    )]
    NoEngine {
        /// The store.
        store: &'static str,
        /// What came instead of an answer.
        source: Box<dyn Error + Send + Sync>,
    },

    /// The Docker engine has no such image and cannot get it.
    #[cfg(feature = "containers")]
    #[error("{store}: the image {image} is not here and cannot be pulled: bring it with docker pull or load")]
    MissingImage {
        /// The store.
        store: &'static str,
        /// Its name and tag.
        image: String,
        /// Why it cannot be pulled.
        source: Box<dyn Error + Send + Sync>,
    },

    /// The Docker engine refused something.
    #[cfg(feature = "containers")]
    #[error("{server}: the Docker engine does not {operation}")]
    Engine {
        /// The server.
        server: String,
        /// What was tried.
        operation: &'static str,
        /// The engine's error.
        source: Box<dyn Error + Send + Sync>,
    },

    /// The server ended while it was starting.
    #[error("{server} ended while starting ({status}): look at its log: {log}")]
    Exited {
        /// The server.
        server: String,
        /// How it ended.
        status: String,
        /// The last lines of its log.
        log: String,
    },

    /// The server did not do something in time.
    #[error(
        "{server}: not {condition} within {limit:?}: is it paused, cut off or overloaded? its log: {log}"
    )]
    Timeout {
        /// The server.
        server: String,
        /// What was waited for.
        condition: &'static str,
        /// How long it was waited for.
        limit: Duration,
        /// The last lines of its log.
        log: String,
    },

    /// One of the store's programs, such as `initdb`, failed.
    #[error("{server}: {program} failed ({status}): {output}")]
    Tool {
        /// The server it was run for.
        server: String,
        /// The program.
        program: String,
        /// How it ended.
        status: String,
        /// The last lines it printed.
        output: String,
    },

    /// The operation needs a running server, and this one was stopped, killed, or crashed.
    #[error("{server} is not running: call restart() first; its log: {log}")]
    NotRunning {
        /// The server.
        server: String,
        /// The last lines of its log.
        log: String,
    },

    /// The server is in the wrong role for the operation.
    #[error("{server} {role}: {advice}")]
    Role {
        /// The server.
        server: String,
        /// The role it has.
        role: &'static str,
        /// What to do instead.
        advice: &'static str,
    },

    /// The topology has no such server.
    #[error("this topology has no {member}: start it with more replicas")]
    NoSuchMember {
        /// The server that was named.
        member: Member,
    },

    /// The server refused a request, or the connection to it broke.
    #[error("{server}: cannot {operation}; its log: {log}")]
    Client {
        /// The server.
        server: String,
        /// What was asked of it.
        operation: &'static str,
        /// The last lines of its log.
        log: String,
        /// The driver's error.
        source: Box<dyn Error + Send + Sync>,
    },

    /// The operating system refused something.
    #[error("{server}: cannot {operation}")]
    System {
        /// The server or proxy.
        server: String,
        /// What was tried.
        operation: &'static str,
        /// The system's error.
        source: io::Error,
    },
}

impl TopologyError {
    /// Whether a server has to be installed first.
    #[must_use]
    pub fn is_missing_server(&self) -> bool {
        matches!(self, Self::MissingServer { .. })
    }

    /// Whether there is nothing to run containers with: no engine, or no image.
    #[cfg(feature = "containers")]
    #[must_use]
    pub fn is_missing_engine(&self) -> bool {
        matches!(self, Self::NoEngine { .. } | Self::MissingImage { .. })
    }

    /// Whether a deadline passed.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout { .. })
    }

    /// For `map_err`: the operating system refused `operation`.
    pub(crate) fn system(server: &str, operation: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::System { server: server.to_owned(), operation, source }
    }

    /// For `map_err`: the Docker engine refused `operation`.
    #[cfg(feature = "containers")]
    pub(crate) fn engine<E>(server: &str, operation: &'static str) -> impl FnOnce(E) -> Self
    where
        E: Error + Send + Sync + 'static,
    {
        move |source| Self::Engine { server: server.to_owned(), operation, source: Box::new(source) }
    }
}
