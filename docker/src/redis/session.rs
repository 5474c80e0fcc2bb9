//! Sending commands to a server.

use std::{collections::HashMap, net::SocketAddr, path::PathBuf};

use futures_util::{FutureExt, future::BoxFuture};
use redis::{
    AsyncConnectionConfig, Client, Cmd, FromRedisValue, RedisResult, aio::MultiplexedConnection, cmd,
};

use crate::{TopologyError, server::Server, wait};

pub(super) fn url(addr: SocketAddr) -> String {
    format!("redis://{addr}/")
}

/// Whether a server answers and keeps its files in this directory.
pub(super) fn probe(addr: SocketAddr, directory: PathBuf) -> BoxFuture<'static, bool> {
    async move {
        let mut ask = cmd("CONFIG");
        ask.arg("GET").arg("dir");
        let answer: RedisResult<HashMap<String, String>> = answer_at(addr, &ask).await;
        answer.is_ok_and(|answer| {
            answer.get("dir").is_some_and(|answer| answer.as_str() == directory.as_os_str())
        })
    }
    .boxed()
}

/// What a command answers, on a connection of its own.
pub(super) async fn answer<T: FromRedisValue>(
    server: &Server,
    operation: &'static str,
    command: &Cmd,
) -> Result<T, TopologyError> {
    server.must_run()?;
    match answer_at(server.addr(), command).await {
        Err(error) if error.is_timeout() => Err(server.timeout("answering")),
        answer => answer.map_err(server.refused(operation)),
    }
}

/// Waits until `INFO replication` says so.
pub(super) async fn until(
    server: &Server,
    condition: &'static str,
    holds: impl Fn(&str) -> bool,
) -> Result<(), TopologyError> {
    let mut info = cmd("INFO");
    info.arg("replication");
    let outcome = wait::until(wait::LIMIT, || async {
        server.must_run()?;
        // While it loads what it was sent, it may answer with an error.
        let info: String = answer_at(server.addr(), &info).await.unwrap_or_default();
        Ok(holds(&info).then_some(()))
    })
    .await?;
    outcome.ok_or_else(|| server.timeout(condition))
}

/// Whether `INFO` has this line.
pub(super) fn says(info: &str, line: &str) -> bool {
    info.lines().any(|said| said == line)
}

async fn answer_at<T: FromRedisValue>(addr: SocketAddr, command: &Cmd) -> RedisResult<T> {
    command.query_async(&mut connect(addr).await?).await
}

/// A connection on which nothing is given up before the limit.
pub(super) async fn connect(addr: SocketAddr) -> RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(wait::LIMIT))
        .set_response_timeout(Some(wait::LIMIT));
    Client::open(url(addr))?.get_multiplexed_async_connection_with_config(&config).await
}
