use antipode_lineage::LineageScope;
use sqlx::{PgPool, SqlSafeStr};

use crate::access::Access;
use crate::stored::{StoredLineage, beside};
use crate::{PostgresError, PostgresTransaction};

/// The primary, for statements that write.
///
/// `&PostgresShim` is a sqlx [`Executor`](sqlx::Executor), so whatever takes a pool by reference takes
/// it. There are two forms of a write:
///
/// | | lineage beside the value | position of the write | round trips |
/// |---|---|---|---|
/// | [`begin`](PostgresShim::begin), statements, `commit` | by itself | with the commit | those of the transaction |
/// | one statement on the shim | [bound](PostgresShim::lineage) by the statement | beside the request | one |
///
/// A single statement returns once it is acknowledged; its position is asked for meanwhile, and only
/// [handing the lineage over](LineageScope::settled) waits for it. It is asked for on the connection
/// that wrote, or, when the pool has none to spare, together with that of other statements.
///
/// Rows that carry a column named `antipode_lineage` join it into the lineage, wherever they come from
/// (`SELECT *` does, once the table is [migrated](crate::PostgresStore::migrate_table)).
/// A statement that fails adds nothing; one that was interrupted counts as a write.
#[derive(Debug, Clone)]
pub struct PostgresShim {
    access: Access,
}

impl PostgresShim {
    pub(crate) fn new(access: Access) -> Self {
        Self { access }
    }

    /// The same shim for the given scope instead of the current one.
    #[must_use]
    pub fn within(&self, scope: LineageScope) -> Self {
        let recorder = self.access.recorder.within(scope);
        Self { access: Access { recorder, ..self.access.clone() } }
    }

    /// The user's pool. Statements that go through it are outside of the lineage.
    #[must_use]
    pub fn inner(&self) -> &PgPool {
        &self.access.server.pool
    }

    /// The current lineage, to be bound to an `antipode_lineage` column by a single statement. Waits
    /// for captures under way in other stores, not in this one.
    ///
    /// # Errors
    /// [`PostgresError::MissingLineage`] if the shim was told to refuse that; else a missing lineage is
    /// an empty one.
    pub async fn lineage(&self) -> Result<StoredLineage, PostgresError> {
        match self.access.recorder.scope()? {
            Some(scope) => {
                let here = self.access.last_epoch();
                Ok(StoredLineage(beside(&scope, self.access.store(), here).await))
            }
            None => Ok(StoredLineage::default()),
        }
    }

    /// Begins a transaction.
    ///
    /// # Errors
    /// [`PostgresError::MissingLineage`] and [`PostgresError::Driver`].
    pub async fn begin(&self) -> Result<PostgresTransaction, PostgresError> {
        self.begin_with("BEGIN").await
    }

    /// Begins a transaction with a statement of your own, such as `BEGIN ISOLATION LEVEL SERIALIZABLE`.
    ///
    /// # Errors
    /// As [`begin`](PostgresShim::begin).
    pub async fn begin_with(&self, statement: impl SqlSafeStr) -> Result<PostgresTransaction, PostgresError> {
        let scope = self.access.recorder.scope()?;
        PostgresTransaction::begin(self.access.clone(), scope, statement.into_sql_str()).await
    }

    pub(crate) fn access(&self) -> Access {
        self.access.clone()
    }
}
