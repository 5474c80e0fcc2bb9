//! Why a run failed.

use std::error::Error;
use std::path::PathBuf;

use antipode::barrier::RegistryError;

/// A run that could not be made, or did not show what it should.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The command was built without a store.
    #[error(
        "this build has no {store}: build it with `cargo build --release -p antipode-benchmarks --features {store}`, or choose another store"
    )]
    NotBuilt {
        /// The store, which is also the name of its feature.
        store: String,
    },

    /// The settings do not go together.
    #[error("{0}")]
    Settings(String),

    /// One cell of a matrix failed.
    #[error("{cell}")]
    Cell {
        /// Which one.
        cell: String,
        /// How.
        source: Box<Failure>,
    },

    /// The servers could not be started.
    #[cfg(any(feature = "redis", feature = "postgres", feature = "mongodb", feature = "kafka"))]
    #[error(transparent)]
    Topology(#[from] antipode_docker::TopologyError),

    /// A store refused to be registered.
    #[error(transparent)]
    Registry(#[from] RegistryError),

    /// A store failed in the middle of the run.
    #[error("{store}: cannot {operation}")]
    Store {
        /// The store.
        store: &'static str,
        /// What was tried.
        operation: &'static str,
        /// The store's error.
        source: Box<dyn Error + Send + Sync>,
    },

    /// Something did not happen in time.
    #[error("{what} did not happen within {seconds} s: is the machine overloaded? try fewer rounds")]
    TooLate {
        /// What was waited for.
        what: &'static str,
        /// How long it was waited for.
        seconds: u64,
    },

    /// A value or a message that this run never wrote came back.
    #[error("{what} came back other than it was written: {found:?}")]
    Garbled {
        /// What it is.
        what: &'static str,
        /// How it came back.
        found: String,
    },

    /// The figures or the report could not be written.
    #[error("cannot write {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },

    /// A task of the run panicked.
    #[error("a task of the run panicked: please report this")]
    Panicked(#[from] tokio::task::JoinError),

    /// A read behind a barrier was stale: the promise is broken.
    #[error("{violations} of {reads} reads behind a barrier were stale: please report this")]
    Violated {
        /// How many reads were stale.
        violations: u64,
        /// How many reads there were.
        reads: u64,
    },

    /// Barriers ended otherwise than visible, although nothing was broken.
    #[error("{failed} of {barriers} barriers did not say visible: {first}")]
    NotVisible {
        /// How many.
        failed: u64,
        /// Of how many.
        barriers: u64,
        /// What the first one said.
        first: String,
    },
}

impl Failure {
    /// For `map_err`: the store could not do `operation`.
    pub(crate) fn store<E>(store: &'static str, operation: &'static str) -> impl FnOnce(E) -> Self
    where
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        move |source| Self::Store { store, operation, source: source.into() }
    }

    /// The message and those of what caused it, in one line.
    #[must_use]
    pub fn with_causes(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            let said = error.to_string();
            if !text.contains(&said) {
                text.push_str(": ");
                text.push_str(&said);
            }
            cause = error.source();
        }
        text
    }
}
