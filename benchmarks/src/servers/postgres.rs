//! Postgres with the bare driver.

use std::error::Error;

use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

use crate::Failure;

/// How many connections a service has to a server.
const CONNECTIONS: u32 = 10;

/// A service's pool, connected.
///
/// It does not ask a connection whether it lives before it is used, which the driver would: that is a
/// further round trip, beside which shims would look cheaper and polling dearer than they are.
pub(crate) async fn pool(url: &str) -> Result<PgPool, Failure> {
    let pool =
        PgPoolOptions::new().min_connections(2).max_connections(CONNECTIONS).test_before_acquire(false);
    pool.connect(url).await.map_err(failed("be reached"))
}

/// The server's version, such as `PostgreSQL 15.18`.
pub(crate) async fn version(pool: &PgPool) -> Result<String, Failure> {
    let version = sqlx::query_scalar("SHOW server_version").fetch_one(pool).await;
    let version: String = version.map_err(failed("tell its version"))?;
    Ok(format!("PostgreSQL {}", version.split(' ').next().unwrap_or_default()))
}

/// For `map_err`: Postgres could not do `operation`.
pub(crate) fn failed<E>(operation: &'static str) -> impl FnOnce(E) -> Failure
where
    E: Into<Box<dyn Error + Send + Sync>>,
{
    Failure::store("postgres", operation)
}
