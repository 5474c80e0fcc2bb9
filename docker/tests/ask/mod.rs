//! Asking the servers, from outside of the crate under test.
#![allow(dead_code, reason = "each scenario uses some of it")]

use std::{
    fs,
    future::Future,
    path::{Path, PathBuf},
    time::Duration,
};

use redis::{AsyncConnectionConfig, Client, Cmd, FromRedisValue, RedisResult};
use sqlx::{AssertSqlSafe, Connection, Decode, PgConnection, Postgres, Type};
use tokio::time::{Instant, sleep};

/// Far more than anything here needs: it only ends a test that would hang.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// The one value that a query answers.
pub(crate) async fn sql<T>(url: &str, query: &str) -> sqlx::Result<T>
where
    T: Send + Unpin + Type<Postgres> + for<'r> Decode<'r, Postgres>,
{
    let mut connection = PgConnection::connect(url).await?;
    let value = sqlx::query_scalar(AssertSqlSafe(query)).fetch_one(&mut connection).await?;
    connection.close().await?;
    Ok(value)
}

/// Runs a statement that answers nothing.
pub(crate) async fn run(url: &str, statement: &str) -> sqlx::Result<()> {
    let mut connection = PgConnection::connect(url).await?;
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await?;
    connection.close().await
}

/// What a command answers, its words separated by spaces.
pub(crate) async fn command<T: FromRedisValue>(url: &str, words: &str) -> RedisResult<T> {
    let patient = AsyncConnectionConfig::new().set_response_timeout(Some(LIMIT));
    let mut connection = Client::open(url)?.get_multiplexed_async_connection_with_config(&patient).await?;
    let mut command = Cmd::new();
    for word in words.split(' ') {
        command.arg(word);
    }
    command.query_async(&mut connection).await
}

/// Waits until something holds; errors count as "not yet".
pub(crate) async fn eventually<E>(what: &str, mut holds: impl AsyncFnMut() -> Result<bool, E>) {
    let deadline = Instant::now() + LIMIT;
    while !matches!(tokio::time::timeout_at(deadline, holds()).await, Ok(Ok(true))) {
        assert!(Instant::now() < deadline, "never {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

/// Fails a test that would hang.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(LIMIT, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} hangs"),
    }
}

/// The directory of the topology that a server's directory belongs to.
pub(crate) fn home(directory: &str) -> PathBuf {
    PathBuf::from(directory).parent().unwrap().to_owned()
}

/// The processes whose working directory is in this one, which may have been removed.
pub(crate) fn processes_in(home: &Path) -> Vec<String> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter(|process| {
            let directory = fs::read_link(process.path().join("cwd"));
            directory.is_ok_and(|directory| directory.starts_with(home))
        })
        .map(|process| process.file_name().to_string_lossy().into_owned())
        .collect()
}
