//! A post is written in the US and announced; in Europe the announcement arrives before the post does.
//!
//! Three axum services, each a process of its own: `posts` (US) writes to Postgres and announces through
//! Kafka, `feeds` (Europe) keeps what was announced in Redis, `pages` (Europe) asks it and reads the posts
//! from Europe's standby, which trails by 200 ms. First as they are (`plain.rs`), then protected
//! (`protected.rs`, which differs in ten lines; `services.rs` has the layers):
//!
//! ```sh
//! docker/install
//! cargo run --release -p antipode --all-features --example post_notification [POSTS]
//! ```

mod answer;
mod plain;
mod protected;
mod services;

use std::env;
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use antipode::postgres::PostgresStore;
use antipode::postgres::sqlx::{self, PgPool};
use antipode_docker::{
    KafkaOptions, KafkaTopology, PostgresOptions, PostgresTopology, RedisOptions, RedisTopology,
};
use futures_util::{StreamExt, TryStreamExt, stream};
use http::StatusCode;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::answer::Failure;

/// How far Europe's standby trails.
const LAG: Duration = Duration::from_millis(200);

/// How long a post may take from being written to being shown.
const LIMIT: Duration = Duration::from_secs(30);

/// How many users publish at once.
const AT_ONCE: usize = 4;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments.as_slice() {
        ["serve", service, form] => services::serve(service, form).await.map(|()| ExitCode::SUCCESS),
        [] => compare(200).await,
        [posts] => match posts.parse() {
            Ok(posts) => compare(posts).await,
            Err(_) => Err("say how many posts are published, such as 200".into()),
        },
        _ => Err("say `post_notification [POSTS]`".into()),
    };
    done.unwrap_or_else(|Failure(error)| {
        eprintln!("post_notification: {error}");
        ExitCode::FAILURE
    })
}

/// Publishes so many posts through the services in either form. Fails if protection makes no difference.
async fn compare(posts: u32) -> Result<ExitCode, Failure> {
    let region = Region::start().await?;
    println!("{posts} posts each; Europe's standby trails by {} ms", LAG.as_millis());
    let plain = region.violations("plain", 0, posts).await?;
    let protected = region.violations("protected", i64::from(posts), posts).await?;
    for (form, violations) in [("plain", plain), ("protected", protected)] {
        let share = 100.0 * f64::from(violations) / f64::from(posts.max(1));
        println!("{form:>10}: {violations:>5} announced posts were not there ({share:.1} %)");
    }
    Ok(if plain * 2 > posts && protected == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The stores of both regions.
struct Region {
    postgres: PostgresTopology,
    redis: RedisTopology,
    kafka: KafkaTopology,
}

impl Region {
    async fn start() -> Result<Self, Failure> {
        let postgres = PostgresTopology::start(PostgresOptions::default().standbys(1)).await?;
        let redis = RedisTopology::start(RedisOptions::default().replicas(0)).await?;
        let kafka = KafkaTopology::start(KafkaOptions::default()).await?;
        let primary = PgPool::connect(&postgres.primary().url()).await?;
        sqlx::raw_sql("CREATE TABLE posts (id bigint PRIMARY KEY, body text NOT NULL)")
            .execute(&primary)
            .await?;
        PostgresStore::builder("posts").primary(primary).build()?.migrate_table("posts").await?;
        let standby = PgPool::connect(&postgres.standby(0).url()).await?;
        while sqlx::query("SELECT antipode_lineage FROM posts").fetch_all(&standby).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        postgres.link(0).set_delay_to_client(LAG);
        Ok(Self { postgres, redis, kafka })
    }

    /// Publishes posts and looks at their pages until they are announced: how many were not there then.
    async fn violations(&self, form: &str, first: i64, posts: u32) -> Result<u32, Failure> {
        let topic = "announcements";
        if form == "plain" {
            self.kafka.create_topic(topic, 1, 1, &[]).await?;
        }
        let feeds = self.service("feeds", form, "").await?;
        let pages = self.service("pages", form, &feeds.url).await?;
        let writer = self.service("posts", form, "").await?;
        let client = reqwest::Client::new();
        let (client, pages, writer) = (&client, &pages.url, &writer.url);
        stream::iter((first..first + i64::from(posts)).map(|id| async move {
            let written = client.put(format!("{writer}/posts/{id}")).send().await?;
            expect(StatusCode::CREATED, written).await?;
            tokio::time::timeout(LIMIT, announced(client, format!("{pages}/pages/{id}"))).await?
        }))
        .buffer_unordered(AT_ONCE)
        .try_fold(0, |violations, is_there| async move { Ok(violations + u32::from(!is_there)) })
        .await
    }

    /// Starts a service: this program again.
    async fn service(&self, service: &str, form: &str, feeds: &str) -> Result<Service, Failure> {
        let mut process = Command::new(env::current_exe()?)
            .args(["serve", service, form])
            .env("PRIMARY", self.postgres.primary().url())
            .env("STANDBY", self.postgres.standby(0).url())
            .env("REDIS", self.redis.primary().url())
            .env("KAFKA", self.kafka.bootstrap())
            .env("FEEDS", feeds)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stdout = process.stdout.take().ok_or("a service without output")?;
        let said = tokio::time::timeout(LIMIT, BufReader::new(stdout).lines().next_line()).await??;
        let port = said.ok_or_else(|| format!("{service} ({form}) did not start"))?;
        Ok(Service { url: format!("http://127.0.0.1:{port}"), _process: process })
    }
}

/// A running service. It ends when this is dropped.
struct Service {
    url: String,
    _process: Child,
}

/// Asks for a page until its post is announced: whether the post was there.
async fn announced(client: &reqwest::Client, page: String) -> Result<bool, Failure> {
    loop {
        let shown = client.get(&page).send().await?;
        match shown.status() {
            StatusCode::NO_CONTENT => tokio::time::sleep(Duration::from_millis(2)).await,
            StatusCode::GONE => return Ok(false),
            _ => return expect(StatusCode::OK, shown).await.map(|()| true),
        }
    }
}

async fn expect(status: StatusCode, response: reqwest::Response) -> Result<(), Failure> {
    if response.status() == status {
        return Ok(());
    }
    Err(format!("{}: {}", response.status(), response.text().await?).into())
}
