//! Each service as a process of its own: its clients and its router, in either form.

use std::env;
use std::io::Read;
use std::sync::Arc;

use antipode::edge::{Inbound, Outbound};
use antipode::kafka::rdkafka::ClientConfig;
use antipode::kafka::rdkafka::consumer::{Consumer, StreamConsumer};
use antipode::lineage::LineageCodec;
use antipode::postgres::sqlx::PgPool;
use antipode::prelude::*;
use antipode::redis::redis::Client;
use antipode::reqwest::PropagateMiddleware;
use antipode::tower::{LineageLayer, PropagateLayer};
use axum::Router;
use axum::routing::{get, put};
use tokio::net::TcpListener;

use crate::answer::Failure;
use crate::{LIMIT, plain, protected};

/// Runs a service until whoever started this process has gone. Its port is the first line of output.
pub(crate) async fn serve(service: &str, form: &str) -> Result<(), Failure> {
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    let app = match (service, form) {
        ("posts", "plain") => posts().await?,
        ("feeds", "plain") => feeds().await?,
        ("pages", "plain") => pages().await?,
        ("posts", "protected") => posts_protected().await?.layer(lineage()),
        ("feeds", "protected") => feeds_protected().await?.layer(lineage()),
        ("pages", "protected") => pages_protected().await?.layer(lineage()),
        _ => return Err(format!("there is no service `{service}` in the form `{form}`").into()),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?.port());
    Ok(axum::serve(listener, app).await?)
}

async fn posts() -> Result<Router, Failure> {
    let posts = PgPool::connect(&env::var("PRIMARY")?).await?;
    let app = plain::Posts { posts, announcements: kafka()?.create()? };
    Ok(Router::new().route("/posts/{id}", put(plain::publish)).with_state(Arc::new(app)))
}

async fn posts_protected() -> Result<Router, Failure> {
    let posts = PostgresStore::builder("posts").primary(PgPool::connect(&env::var("PRIMARY")?).await?);
    let posts = posts.build()?.shim();
    let app = protected::Posts { posts, announcements: announcements()?.producer(&kafka()?)? };
    Ok(Router::new().route("/posts/{id}", put(protected::publish)).with_state(Arc::new(app)))
}

async fn feeds() -> Result<Router, Failure> {
    let feeds = Client::open(env::var("REDIS")?)?.get_connection_manager().await?;
    let announcements: StreamConsumer = group("plain")?.create()?;
    announcements.subscribe(&["announcements"])?;
    let app = Arc::new(plain::Feeds { feeds, announcements });
    tokio::spawn(end_with(plain::follow(Arc::clone(&app))));
    Ok(Router::new().route("/feed/{id}", get(plain::feed)).with_state(app))
}

async fn feeds_protected() -> Result<Router, Failure> {
    let feeds = RedisStore::builder("feeds").primary(Client::open(env::var("REDIS")?)?).build()?;
    let announcements = announcements()?.consumer(&group("protected")?)?;
    announcements.subscribe(&["announcements"])?;
    let app = Arc::new(protected::Feeds { feeds: feeds.connection().await?, announcements });
    tokio::spawn(end_with(protected::follow(Arc::clone(&app))));
    Ok(Router::new().route("/feed/{id}", get(protected::feed)).with_state(app))
}

async fn pages() -> Result<Router, Failure> {
    let posts = PgPool::connect(&env::var("STANDBY")?).await?;
    let client = reqwest_middleware::ClientBuilder::new(reqwest::Client::new()).build();
    let app = plain::Pages { posts, client, feeds: env::var("FEEDS")? };
    Ok(Router::new().route("/pages/{id}", get(plain::page)).with_state(Arc::new(app)))
}

async fn pages_protected() -> Result<Router, Failure> {
    let posts = PostgresStore::builder("posts")
        .primary(PgPool::connect(&env::var("PRIMARY")?).await?)
        .replica("eu", PgPool::connect(&env::var("STANDBY")?).await?)
        .build()?;
    let registry = Registry::builder().store(posts.clone()).deadline(LIMIT).build().await?;
    let propagate = PropagateMiddleware::from(PropagateLayer::new(Outbound::to_everyone()));
    let client = reqwest_middleware::ClientBuilder::new(reqwest::Client::new()).with(propagate).build();
    let app = protected::Pages { posts: posts.reads(), registry, client, feeds: env::var("FEEDS")? };
    Ok(Router::new().route("/pages/{id}", get(protected::page)).with_state(Arc::new(app)))
}

fn lineage() -> LineageLayer {
    LineageLayer::new(Inbound::accept(LineageCodec::plain()))
}

fn announcements() -> Result<KafkaStore, Failure> {
    Ok(KafkaStore::builder("announcements").topic("announcements").config(&kafka()?).build()?)
}

fn kafka() -> Result<ClientConfig, Failure> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", env::var("KAFKA")?).set("linger.ms", "0");
    Ok(config)
}

fn group(name: &str) -> Result<ClientConfig, Failure> {
    let mut config = kafka()?;
    config.set("group.id", name).set("auto.offset.reset", "earliest").set("fetch.wait.max.ms", "10");
    Ok(config)
}

/// A service that no longer follows the announcements is of no use.
async fn end_with(following: impl Future<Output = Result<(), Failure>>) {
    if let Err(Failure(error)) = following.await {
        eprintln!("feeds: {error}");
        std::process::exit(1);
    }
}
