//! A worker behind Kafka's delivery gate: a mail is sent for each notice of a post, once the post can be
//! read here.
//!
//! Posts are written in the US and read in Europe, which trails by 200 ms. The worker is stopped after the
//! last mail, as a service would be by a signal: what is in hand is handled, what was handled is committed.
//!
//! ```sh
//! docker/install kafka
//! cargo run --release -p antipode --features kafka,worker --example kafka_worker
//! ```

use std::time::Duration;

use antipode::kafka::Gate;
use antipode::kafka::rdkafka::ClientConfig;
use antipode::kafka::rdkafka::producer::FutureRecord;
use antipode::memory::{Lag, MemoryStore};
use antipode::prelude::*;
use antipode::worker::{Record, Worker};
use antipode_docker::{KafkaOptions, KafkaTopology};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

const TOPIC: &str = "notices";

const POSTS: u64 = 20;

#[tokio::main]
async fn main() -> Outcome {
    let topology = KafkaTopology::start(KafkaOptions::default()).await?;
    topology.create_topic(TOPIC, 1, 1, &[]).await?;
    let mut kafka = ClientConfig::new();
    kafka.set("bootstrap.servers", topology.bootstrap());
    kafka.set("group.id", "mailer").set("auto.offset.reset", "earliest");
    let notices = KafkaStore::builder(TOPIC).topic(TOPIC).config(&kafka).build()?;
    let lag = Lag::of(Duration::from_millis(200));
    let posts = MemoryStore::builder("posts").region("us").lagging("eu", lag).build()?;

    let europe = posts.reading_from(["eu"])?;
    let registry = Registry::builder().store(europe.clone()).build().await?;
    let gate = Gate::builder(&notices, &registry).config(&kafka).topics([TOPIC]).build()?;
    let (sent, mut sending) = tokio::sync::mpsc::channel(1);
    let mail = async |notice: &Record| {
        let id = String::from_utf8_lossy(notice.payload().unwrap_or_default()).into_owned();
        let post = europe.shim().get(&id).await?.ok_or("the post is not there")?;
        println!("post {id} ({} bytes) is mailed; the gate held it: {}", post.len(), notice.has_waited());
        sent.send(()).await?;
        Outcome::Ok(())
    };
    let stop = async {
        for _ in 0..POSTS {
            sending.recv().await;
        }
    };
    let worker = Worker::new().concurrency(8).drain_within(Duration::from_secs(10));
    let (tally, written) = tokio::join!(worker.run(gate, stop, mail), write(&posts, &notices, &kafka));
    written?;
    println!("{:?}", tally?);
    Ok(())
}

/// Writes posts, each with a notice of it.
async fn write(posts: &MemoryStore, notices: &KafkaStore, kafka: &ClientConfig) -> Outcome {
    let producer = notices.producer(kafka)?;
    for id in 0..POSTS {
        let id = id.to_string();
        let work = async {
            posts.shim().put(&id, "hello").await?;
            producer.send(FutureRecord::to(TOPIC).key(&id).payload(&id), Duration::from_secs(5)).await?;
            Outcome::Ok(())
        };
        LineageScope::new().run(work).await?;
        // The first ones are there before the worker has joined its group.
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    Ok(())
}
