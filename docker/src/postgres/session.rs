//! Asking a server by SQL.

use std::{net::SocketAddr, path::PathBuf};

use futures_util::{FutureExt, future::BoxFuture};
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, Decode, PgConnection, Postgres, Type,
    postgres::{PgConnectOptions, PgSslMode},
};
use tokio::time::timeout;

use crate::{TopologyError, server::Server, wait};

/// The user and the database that the servers are made with.
const USER: &str = "postgres";

pub(super) fn url(addr: SocketAddr) -> String {
    format!("postgres://{USER}@{addr}/{USER}")
}

/// Whether a server answers and keeps its data in this directory.
pub(super) fn probe(addr: SocketAddr, directory: PathBuf) -> BoxFuture<'static, bool> {
    async move {
        let answer: sqlx::Result<String> = value_at(addr, "SHOW data_directory").await;
        answer.is_ok_and(|answer| answer.as_str() == directory.as_os_str())
    }
    .boxed()
}

/// The one value that a query answers, on a connection of its own.
pub(super) async fn value<T>(
    server: &Server,
    operation: &'static str,
    sql: impl Into<String>,
) -> Result<T, TopologyError>
where
    T: Send + Unpin + Type<Postgres> + for<'r> Decode<'r, Postgres>,
{
    server.must_run()?;
    match timeout(wait::LIMIT, value_at(server.addr(), sql)).await {
        Ok(answer) => answer.map_err(server.refused(operation)),
        Err(_) => Err(server.timeout("answering")),
    }
}

/// Runs a statement that answers nothing, on a connection of its own.
pub(super) async fn execute(
    server: &Server,
    operation: &'static str,
    sql: String,
) -> Result<(), TopologyError> {
    server.must_run()?;
    let run = async {
        let mut connection = connect(server.addr()).await?;
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await?;
        connection.close().await
    };
    match timeout(wait::LIMIT, run).await {
        Ok(done) => done.map_err(server.refused(operation)),
        Err(_) => Err(server.timeout("answering")),
    }
}

/// Waits until a query answers true.
pub(super) async fn until(server: &Server, condition: &'static str, sql: &str) -> Result<(), TopologyError> {
    server.must_run()?;
    let holds = wait::until(wait::LIMIT, || async {
        server.must_run()?;
        // It may refuse connections for a moment while it changes its role.
        let holds = value_at(server.addr(), sql).await.unwrap_or(false);
        Ok(holds.then_some(()))
    })
    .await?;
    holds.ok_or_else(|| server.timeout(condition))
}

async fn value_at<T>(addr: SocketAddr, sql: impl Into<String>) -> sqlx::Result<T>
where
    T: Send + Unpin + Type<Postgres> + for<'r> Decode<'r, Postgres>,
{
    let mut connection = connect(addr).await?;
    let value = sqlx::query_scalar(AssertSqlSafe(sql.into())).fetch_one(&mut connection).await?;
    connection.close().await?;
    Ok(value)
}

async fn connect(addr: SocketAddr) -> sqlx::Result<PgConnection> {
    PgConnectOptions::new_without_pgpass()
        .host(&addr.ip().to_string())
        .port(addr.port())
        .username(USER)
        .database(USER)
        .ssl_mode(PgSslMode::Disable)
        .connect()
        .await
}
