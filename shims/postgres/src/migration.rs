use sqlx::{Acquire, Executor, PgConnection, PgPool};

use crate::{PostgresError, PostgresStore};
use antipode_barrier::Store;

/// The migration as SQL, for migration tools: creates the schema `antipode` with its functions. Then
/// `SELECT antipode.add_lineage('posts')` gives a table its column.
pub const MIGRATION: &str = include_str!("../migrations/antipode.sql");

/// Serialises processes that migrate at the same time.
const LOCK: &str = "SELECT pg_advisory_xact_lock(hashtext('antipode'))";

impl PostgresStore {
    /// Gives a table its lineage column, default and trigger, in the primary's database. May be repeated.
    ///
    /// The name is read as in SQL: `posts`, `blog.posts`, `"Posts"`. The role must own the table and
    /// may create a schema in the database. `SELECT *` then yields one more column, `antipode_lineage`.
    ///
    /// # Errors
    /// [`PostgresError::Driver`] if there is no such table or the role may not alter it.
    pub async fn migrate_table(&self, table: &str) -> Result<(), PostgresError> {
        migrate(self.inner(), table).await.map_err(|source| PostgresError::Driver {
            store: self.name(),
            operation: "give a table its lineage column",
            source,
        })
    }
}

async fn migrate(pool: &PgPool, table: &str) -> sqlx::Result<()> {
    migrate_with(pool, async |connection| {
        connection.execute(MIGRATION).await?;
        sqlx::query("SELECT antipode.add_lineage($1::text::regclass)")
            .bind(table)
            .execute(connection)
            .await
            .map(drop)
    })
    .await
}

/// Migrates in a transaction, one process at a time.
pub(crate) async fn migrate_with(
    pool: &PgPool,
    steps: impl AsyncFnOnce(&mut PgConnection) -> sqlx::Result<()>,
) -> sqlx::Result<()> {
    let mut connection = pool.acquire().await?;
    let mut transaction = connection.begin().await?;
    transaction.execute(LOCK).await?;
    steps(&mut transaction).await?;
    transaction.commit().await
}
