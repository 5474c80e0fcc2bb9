//! A worker behind Kafka's delivery gate: a mail is sent for each notice of a post, once the post can be
//! read here.
//!
//! Posts are written in the US and read in Europe, which trails by 200 ms. Another group reads the same notices with
//! the driver's own consumer, and looks the posts up at once.
//!
//! The worker is stopped after the last mail, as a service
//! would be by a signal: what is in hand is handled, what was handled is committed.
//!
//! ```sh
//! docker/install kafka
//! cargo run --release -p antipode --features kafka,worker --example kafka_worker
//! ```

use std::process::ExitCode;
use std::time::Duration;

use antipode::kafka::Gate;
use antipode::kafka::rdkafka::ClientConfig;
use antipode::kafka::rdkafka::consumer::{Consumer, StreamConsumer};
use antipode::kafka::rdkafka::message::Message;
use antipode::kafka::rdkafka::producer::FutureRecord;
use antipode::memory::{Lag, MemoryStore};
use antipode::prelude::*;
use antipode::worker::{Record, Worker};
use antipode_docker::{KafkaOptions, KafkaTopology};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

const TOPIC: &str = "notices";

const POSTS: u32 = 20;

#[tokio::main]
async fn main() -> Outcome<ExitCode> {
    let topology = KafkaTopology::start(KafkaOptions::default()).await?;
    topology.create_topic(TOPIC, 1, 1, &[]).await?;
    let mut kafka = ClientConfig::new();
    kafka.set("bootstrap.servers", topology.bootstrap()).set("auto.offset.reset", "earliest");
    let notices = KafkaStore::builder(TOPIC).topic(TOPIC).config(&kafka).build()?;
    let lag = Lag::of(Duration::from_millis(200));
    let posts = MemoryStore::builder("posts").region("us").lagging("eu", lag).build()?;
    let europe = posts.reading_from(["eu"])?;

    let registry = Registry::builder().store(europe.clone()).build().await?;
    let mut group = kafka.clone();
    group.set("group.id", "mailer");
    let gate = Gate::builder(&notices, &registry).config(&group).topics([TOPIC]);
    let gate = gate.deadline(Duration::from_secs(10)).build()?;
    let (sent, mut sending) = tokio::sync::mpsc::channel(1);
    let mail = async |notice: &Record| {
        let post = notice.payload().unwrap_or_default();
        let post = europe.shim().get(&String::from_utf8_lossy(post)).await?;
        sent.send(u32::from(post.is_none())).await?;
        Outcome::Ok(())
    };
    let mut missing_to_worker = 0;
    let stop = async {
        for _ in 0..POSTS {
            missing_to_worker += sending.recv().await.unwrap_or_default();
        }
    };
    let worker = Worker::new().concurrency(8).drain_within(Duration::from_secs(10));
    let writing = write_and_read_plainly(&posts, &notices, &kafka);
    let (tally, missing_to_plain) = tokio::join!(worker.run(gate, stop, mail), writing);
    let (tally, missing_to_plain) = (tally?, missing_to_plain?);
    println!("  plain consumer: {missing_to_plain} of {POSTS} posts were not there");
    println!("worker with gate: {missing_to_worker} of {POSTS} posts were not there; {tally:?}");
    let is_complete = tally.handled == u64::from(POSTS) && tally.failed == 0;
    let holds = is_complete && missing_to_plain > 0 && missing_to_worker == 0;
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Writes posts, each with a notice of it. A consumer that knows of no lineage looks each post up when the notice comes:
/// how many are not there.
async fn write_and_read_plainly(
    posts: &MemoryStore,
    notices: &KafkaStore,
    kafka: &ClientConfig,
) -> Outcome<u32> {
    let producer = notices.producer(kafka)?;
    let consumer: StreamConsumer = kafka.clone().set("group.id", "plain").create()?;
    consumer.subscribe(&[TOPIC])?;
    let europe = posts.reading_from(["eu"])?;
    let mut missing = 0;
    for id in 0..POSTS {
        let id = id.to_string();
        let work = async {
            posts.shim().put(&id, "hello").await?;
            producer.send(FutureRecord::to(TOPIC).key(&id).payload(&id), Duration::from_secs(5)).await?;
            Outcome::Ok(())
        };
        LineageScope::new().run(work).await?;
        let notice = consumer.recv().await?;
        let id = String::from_utf8_lossy(notice.payload().unwrap_or_default()).into_owned();
        let post = LineageScope::new().run(europe.shim().get(&id)).await?;
        missing += u32::from(post.is_none());
    }
    Ok(missing)
}
