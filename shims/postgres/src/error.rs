use antipode_barrier::MissingLineage;
use antipode_lineage::{InvalidName, StoreName};

/// What can go wrong with a Postgres store, other than a statement.
///
/// Statements that go through a sqlx `Executor` answer with [`sqlx::Error`]; there a refusal of this
/// crate is the source of [`sqlx::Error::Configuration`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PostgresError {
    /// A store or replica was given a name that is none.
    #[error("postgres store or replica {name:?}: choose another name")]
    Name {
        /// The name given.
        name: String,
        /// What a name is.
        source: InvalidName,
    },
    /// Two servers of a store have one name.
    #[error("store {store} has two servers named {name}: name each replica differently, none `primary`")]
    DuplicateReplica {
        /// The store.
        store: StoreName,
        /// The name.
        name: String,
    },
    /// A store was built without its primary.
    #[error("store {store} has no primary: give the builder its pool (it may be a lazy one)")]
    NoPrimary {
        /// The store.
        store: StoreName,
    },
    /// The shim was used outside of a lineage and told to refuse that.
    #[error(transparent)]
    MissingLineage(#[from] MissingLineage),
    /// A statement of the transaction had failed: the commit did nothing.
    #[error("store {store} rolled the transaction back, as a statement in it had failed: run it again")]
    Aborted {
        /// The store.
        store: StoreName,
    },
    /// The connection broke during the commit: the transaction may or may not have happened. The
    /// lineage holds an [unplaced write](antipode_lineage::WriteId::unplaced) for it.
    #[error("store {store} did not say whether the transaction was committed: look before repeating it")]
    UnknownOutcome {
        /// The store.
        store: StoreName,
        /// The driver's error.
        source: sqlx::Error,
    },
    /// The server or the driver refused; nothing was committed.
    #[error("store {store} could not {operation}")]
    Driver {
        /// The store.
        store: StoreName,
        /// What was being done.
        operation: &'static str,
        /// The driver's error.
        source: sqlx::Error,
    },
}

impl PostgresError {
    /// Whether the transaction did not happen because a statement in it had failed.
    #[must_use]
    pub fn is_aborted(&self) -> bool {
        matches!(self, PostgresError::Aborted { .. })
    }

    /// Whether the transaction may or may not have happened.
    #[must_use]
    pub fn is_unknown_outcome(&self) -> bool {
        matches!(self, PostgresError::UnknownOutcome { .. })
    }

    /// The same as an error of the driver, for the `Executor`s.
    pub(crate) fn into_driver(self) -> sqlx::Error {
        sqlx::Error::Configuration(Box::new(self))
    }
}
