//! sqlx's `Executor` for the handles that run single statements.
//!
//! `Acquire` is left out on purpose: its `begin` would go around the lineage.

use futures_util::future::BoxFuture;
use sqlx::postgres::{PgRow, PgStatement, PgTypeInfo};
use sqlx::{Describe, Execute, Executor, Postgres, SqlStr};

use crate::access::Items;
use crate::{PostgresReads, PostgresShim};

macro_rules! executor {
    ($handle:ty) => {
        impl<'p> Executor<'p> for &'_ $handle {
            type Database = Postgres;

            fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> Items<'e>
            where
                'p: 'e,
                E: 'q + Execute<'q, Postgres>,
            {
                self.access().fetch_many(query)
            }

            fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, sqlx::Result<Option<PgRow>>>
            where
                'p: 'e,
                E: 'q + Execute<'q, Postgres>,
            {
                self.access().fetch_optional(query)
            }

            fn prepare_with<'e>(
                self,
                sql: SqlStr,
                parameters: &'e [PgTypeInfo],
            ) -> BoxFuture<'e, sqlx::Result<PgStatement>>
            where
                'p: 'e,
            {
                let pool = self.inner().clone();
                Box::pin(async move { pool.acquire().await?.prepare_with(sql, parameters).await })
            }

            #[doc(hidden)]
            fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, sqlx::Result<Describe<Postgres>>>
            where
                'p: 'e,
            {
                let pool = self.inner().clone();
                Box::pin(async move { pool.acquire().await?.describe(sql).await })
            }
        }
    };
}

executor!(PostgresShim);
executor!(PostgresReads);
