//! Posts are written in the US, by a call and by a stream, and shown in Europe: the caller asks there for what it has
//! just written.
//!
//! One tonic service, in two regions, behind [`LineageLayer`] and [`BarrierLayer`]; Europe's reads from a standby that
//! trails by 150 ms. The client has a [`PropagateLayer`]: what a call wrote comes back with its response (of a stream:
//! at its end), and goes out with the next call. Without, lineage flows nowhere, and the barrier has nothing to wait for.
//!
//! ```sh
//! docker/install postgres
//! cargo run --release -p antipode --features postgres,tonic --example tonic_pair
//! ```

mod client;
mod posts;
mod text_codec;

use std::process::ExitCode;
use std::time::Duration;

use antipode::edge::{Inbound, Outbound};
use antipode::lineage::LineageCodec;
use antipode::postgres::sqlx::{self, PgPool};
use antipode::prelude::*;
use antipode::tower::{BarrierLayer, LineageLayer, PropagateLayer};
use antipode_docker::{PostgresOptions, PostgresTopology};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::Code;
use tonic::transport::{Channel, Server};

use crate::client::Client;
use crate::posts::Posts;

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// How far Europe's standby trails.
const LAG: Duration = Duration::from_millis(150);

/// How many posts are written by calls, and how many by streams.
const POSTS: usize = 20;

/// How many of them a stream brings.
const IN_A_STREAM: usize = 4;

#[tokio::main]
async fn main() -> Outcome<ExitCode> {
    let postgres = PostgresTopology::start(PostgresOptions::default().standbys(1)).await?;
    let primary = PgPool::connect(&postgres.primary().url()).await?;
    let table = "CREATE TABLE posts (id bigserial PRIMARY KEY, body text NOT NULL)";
    sqlx::raw_sql(table).execute(&primary).await?;
    let standby = PgPool::connect(&postgres.standby(0).url()).await?;
    while sqlx::query("SELECT FROM posts").execute(&standby).await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    postgres.link(0).set_delay_to_client(LAG);

    let us = PostgresStore::builder("posts").primary(primary.clone()).build()?;
    let europe = PostgresStore::builder("posts").primary(primary).replica("eu", standby).build()?;
    let mut servers = JoinSet::new(); // they end with it
    let (us, europe) = (serve(us, &mut servers).await?, serve(europe, &mut servers).await?);

    println!("{POSTS} posts each are written in the US and looked up in Europe, {LAG:?} behind");
    let mut holds = true;
    for (form, outbound) in [("without", Outbound::to_nobody()), ("with", Outbound::to_everyone())] {
        let propagate = PropagateLayer::new(outbound);
        let (mut us, mut europe) = (Client::new(&us, &propagate), Client::new(&europe, &propagate));
        let (mut called, mut streamed) = (0, 0);
        for _ in 0..POSTS {
            called += LineageScope::new().run(after_a_call(&mut us, &mut europe)).await?;
        }
        for _ in 0..POSTS / IN_A_STREAM {
            streamed += LineageScope::new().run(after_a_stream(&mut us, &mut europe)).await?;
        }
        println!(
            "{form:>8} lineage: {called} of {POSTS} were not there after a call, {streamed} after a stream"
        );
        holds &= match form {
            "with" => called + streamed == 0,
            _ => called > 0 && streamed > 0,
        };
    }
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The service of a region, and how to reach it.
async fn serve(
    posts: PostgresStore,
    servers: &mut JoinSet<Result<(), tonic::transport::Error>>,
) -> Outcome<Channel> {
    let registry = Registry::builder().store(posts.clone()).build().await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let server = Server::builder()
        .layer(LineageLayer::new(Inbound::accept(LineageCodec::plain())))
        .layer(BarrierLayer::new(registry).deadline(Duration::from_secs(5)))
        .add_service(Posts { posts });
    servers.spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    Ok(Channel::from_shared(format!("http://{address}"))?.connect().await?)
}

/// Publishes a post: how many cannot be found in Europe then.
async fn after_a_call(us: &mut Client, europe: &mut Client) -> Outcome<usize> {
    let id = us.publish("hello").await?;
    missing(europe, [id]).await
}

/// The same for those of a stream. What it wrote is known when it has ended.
async fn after_a_stream(us: &mut Client, europe: &mut Client) -> Outcome<usize> {
    let mut stream = us.import(vec!["hello".to_owned(); IN_A_STREAM]).await?;
    let mut ids = Vec::new();
    while let Some(id) = stream.message().await? {
        ids.push(id);
    }
    missing(europe, ids).await
}

async fn missing(europe: &mut Client, ids: impl IntoIterator<Item = String>) -> Outcome<usize> {
    let mut missing = 0;
    for id in ids {
        match europe.show(&id).await {
            Ok(_) => {}
            Err(status) if status.code() == Code::NotFound => missing += 1,
            Err(status) => return Err(status.into()),
        }
    }
    Ok(missing)
}
