//! Sending commands to one server.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use futures_util::{FutureExt, future::BoxFuture};
use mongodb::{
    Client,
    bson::{Document, doc},
    error::Result,
    options::{ClientOptions, ServerAddress},
};
use tokio::net::TcpStream;

use crate::{TopologyError, server::Server, wait};

/// How long one question may take; whoever has more time asks again.
const PATIENCE: Duration = Duration::from_secs(3);

/// Leads to this one server, whatever set it is in.
pub(super) fn url(addr: SocketAddr) -> String {
    format!("mongodb://{addr}/?directConnection=true")
}

/// Whether a server answers and keeps its files in this directory.
pub(super) fn probe(addr: SocketAddr, directory: PathBuf) -> BoxFuture<'static, bool> {
    async move {
        // A client takes longer to find out that nobody listens.
        if TcpStream::connect(addr).await.is_err() {
            return false;
        }
        let answer = run(addr, doc! { "getCmdLineOpts": 1 }).await;
        answer.is_ok_and(|answer| {
            let storage = answer.get_document("parsed").and_then(|parsed| parsed.get_document("storage"));
            let path = storage.and_then(|storage| storage.get_str("dbPath"));
            path.is_ok_and(|path| path == directory.as_os_str())
        })
    }
    .boxed()
}

/// What a command answers, on a connection of its own.
pub(super) async fn answer(
    server: &Server,
    operation: &'static str,
    command: Document,
) -> std::result::Result<Document, TopologyError> {
    server.must_run()?;
    run(server.addr(), command).await.map_err(server.refused(operation))
}

/// Waits until `hello` says so.
pub(super) async fn until(
    server: &Server,
    condition: &'static str,
    holds: impl Fn(&Document) -> bool,
) -> std::result::Result<(), TopologyError> {
    let outcome = wait::until(wait::LIMIT, || async {
        server.must_run()?;
        // An election breaks connections.
        let hello = run(server.addr(), doc! { "hello": 1 }).await.unwrap_or_default();
        Ok(holds(&hello).then_some(()))
    })
    .await?;
    outcome.ok_or_else(|| server.timeout(condition))
}

/// Whether `hello` has this field, and it is true.
pub(super) fn says(hello: &Document, field: &str) -> bool {
    hello.get_bool(field).is_ok_and(|said| said)
}

async fn run(addr: SocketAddr, command: Document) -> Result<Document> {
    let address = ServerAddress::Tcp { host: addr.ip().to_string(), port: Some(addr.port()) };
    let options = ClientOptions::builder()
        .hosts(vec![address])
        .direct_connection(true)
        .connect_timeout(PATIENCE)
        .server_selection_timeout(PATIENCE)
        .retry_reads(false)
        .build();
    let client = Client::with_options(options)?;
    let answer = client.database("admin").run_command(command).await;
    client.shutdown().immediate(true).await;
    answer
}
