//! A worker behind a delivery gate handles notices of posts, and is stopped while handlers are at work.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use antipode::kafka::rdkafka::ClientConfig;
use antipode::kafka::rdkafka::producer::{FutureProducer, FutureRecord};
use antipode::kafka::{Delivery, Gate};
use antipode::memory::MemoryStore;
use antipode::prelude::*;
use antipode::worker::{Record, Tally, Worker};
use antipode_docker::{KafkaOptions, KafkaTopology};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::services::{Test, posts_with_europe_cut_off};

const TOPIC: &str = "notices";

/// Far more than anything here needs: it only ends a test that would hang.
const LIMIT: Duration = Duration::from_secs(60);

/// A broker, and posts that are written in the US and read in Europe, which is cut off.
struct Stage {
    topology: KafkaTopology,
    notices: KafkaStore,
    posts: MemoryStore,
    registry: Registry,
}

impl Stage {
    async fn open() -> Test<Self> {
        let topology = KafkaTopology::start(KafkaOptions::default()).await?;
        topology.create_topic(TOPIC, 1, 1, &[]).await?;
        let posts = posts_with_europe_cut_off()?;
        let registry = Registry::builder().store(posts.reading_from(["eu"])?).build().await?;
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", topology.bootstrap());
        let notices = KafkaStore::builder(TOPIC).topic(TOPIC).config(&config).build()?;
        Ok(Self { topology, notices, posts, registry })
    }

    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.topology.bootstrap()).set("group.id", "readers");
        config.set("auto.offset.reset", "earliest").set("linger.ms", "0");
        config
    }

    fn gate(&self) -> Test<Gate> {
        let gate = Gate::builder(&self.notices, &self.registry).config(&self.config());
        Ok(gate.topics([TOPIC]).deadline(LIMIT).build()?)
    }

    /// Writes posts, and a notice of each, under a key of its own.
    async fn post(&self, ids: std::ops::Range<usize>) -> Test {
        let producer = self.notices.producer(&self.config())?;
        for id in ids {
            let id = id.to_string();
            let work = async {
                self.posts.shim().put(&id, "hello").await?;
                producer.send(FutureRecord::to(TOPIC).key(&id).payload(&id), LIMIT).await?;
                Test::Ok(())
            };
            LineageScope::new().run(work).await?;
        }
        Ok(())
    }

    /// Whether the post that a notice is about can be read in Europe.
    async fn sees(&self, notice: &Record) -> Test<bool> {
        Ok(self.posts.reading_from(["eu"])?.shim().get(&id(notice)).await?.is_some())
    }
}

fn id(notice: &Delivery<'static>) -> String {
    String::from_utf8_lossy(notice.payload().unwrap_or_default()).into_owned()
}

#[tokio::test]
async fn handlers_find_the_posts_and_no_more_than_allowed_run_at_once() -> Test {
    let stage = Stage::open().await?;
    stage.post(0..12).await?;
    let plain: FutureProducer = stage.config().create()?;
    plain.send(FutureRecord::to(TOPIC).key("x").payload("0"), LIMIT).await.map_err(|(error, _)| error)?;
    let (stop, running, most) = (CancellationToken::new(), AtomicUsize::new(0), AtomicUsize::new(0));
    let (handled, missing) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let handle = async |notice: &Record| {
        most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        if notice.key() == Some(b"x") {
            // Without a lineage it waits for nothing: Europe is healed once it is here.
            stage.posts.heal("eu")?;
        } else if !stage.sees(notice).await? {
            missing.fetch_add(1, Ordering::SeqCst);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        running.fetch_sub(1, Ordering::SeqCst);
        if handled.fetch_add(1, Ordering::SeqCst) == 12 {
            stop.cancel();
        }
        Test::Ok(())
    };
    let worker = Worker::new().concurrency(3);
    let tally = tokio::time::timeout(LIMIT, worker.run(stage.gate()?, stop.cancelled(), handle)).await??;
    assert_eq!((tally.handled, tally.failed, tally.cut_off, tally.without_lineage), (13, 0, 0, 1));
    assert_eq!(missing.into_inner(), 0, "posts that were announced and not there");
    assert_eq!(most.into_inner(), 3);
    Ok(())
}

#[tokio::test]
async fn what_is_in_hand_is_handled_and_committed() -> Test {
    let stage = Stage::open().await?;
    stage.posts.heal("eu")?;
    stage.post(0..4).await?;
    let (stop, finish) = (CancellationToken::new(), Semaphore::new(0));
    let seen = Mutex::new(Vec::new());
    let handle = async |notice: &Record| {
        seen.lock().unwrap().push(id(notice));
        let _ = finish.acquire().await;
        Test::Ok(())
    };
    let worker = Worker::new().concurrency(2);
    let run = worker.run(stage.gate()?, stop.cancelled(), handle);
    let stopping = async {
        while seen.lock().unwrap().len() < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        stop.cancel();
        // The worker knows before its handlers end.
        tokio::time::sleep(Duration::from_millis(50)).await;
        finish.close();
    };
    let (tally, ()) = tokio::time::timeout(LIMIT, async { tokio::join!(run, stopping) }).await?;
    let tally: Tally = tally?;
    assert_eq!((tally.handled, tally.cut_off), (2, 0));
    assert_eq!(*seen.lock().unwrap(), ["0", "1"], "nothing was taken after the stop");

    let next = stage.gate()?;
    let first = tokio::time::timeout(LIMIT, next.recv()).await??.into_owned();
    assert_eq!(id(&first), "2", "the next worker goes on where this one ended");
    Ok(())
}

#[tokio::test]
async fn a_handler_that_does_not_end_is_cut_off_and_its_record_comes_again() -> Test {
    let stage = Stage::open().await?;
    stage.posts.heal("eu")?;
    stage.post(0..2).await?;
    let stop = CancellationToken::new();
    let handle = async |notice: &Record| {
        if id(notice) == "1" {
            stop.cancel();
            return std::future::pending::<Test>().await;
        }
        Ok(())
    };
    let worker = Worker::new().drain_within(Duration::from_millis(100));
    let tally = tokio::time::timeout(LIMIT, worker.run(stage.gate()?, stop.cancelled(), handle)).await??;
    assert_eq!((tally.handled, tally.cut_off), (1, 1));
    let next = stage.gate()?;
    let first = tokio::time::timeout(LIMIT, next.recv()).await??.into_owned();
    assert_eq!(id(&first), "1");
    Ok(())
}

#[tokio::test]
async fn a_record_whose_handler_failed_comes_again_after_a_pause() -> Test {
    let stage = Stage::open().await?;
    stage.posts.heal("eu")?;
    stage.post(0..1).await?;
    let stop = CancellationToken::new();
    let handle = async |notice: &Record| {
        if notice.attempts() < 2 {
            return Err("the mail server is down");
        }
        stop.cancel();
        Ok(())
    };
    let worker = Worker::new().pause_after_failure(Duration::from_millis(10));
    let tally = tokio::time::timeout(LIMIT, worker.run(stage.gate()?, stop.cancelled(), handle)).await??;
    assert_eq!((tally.handled, tally.failed), (1, 2));
    Ok(())
}

#[tokio::test]
async fn a_stop_does_not_wait_for_the_pause_after_a_failure() -> Test {
    let stage = Stage::open().await?;
    stage.posts.heal("eu")?;
    stage.post(0..1).await?;
    let stop = CancellationToken::new();
    let handle = async |_: &Record| {
        stop.cancel();
        Err("the mail server is down")
    };
    let worker = Worker::new().pause_after_failure(LIMIT).drain_within(LIMIT / 2);
    let tally = tokio::time::timeout(LIMIT, worker.run(stage.gate()?, stop.cancelled(), handle)).await??;
    assert_eq!((tally.failed, tally.cut_off), (1, 0));
    Ok(())
}

#[tokio::test]
async fn a_late_record_is_waited_for_and_ends_nothing() -> Test {
    let stage = Stage::open().await?;
    stage.post(0..1).await?;
    let gate = Gate::builder(&stage.notices, &stage.registry).config(&stage.config());
    let gate = gate.topics([TOPIC]).deadline(Duration::from_millis(50)).build()?;
    let stop = CancellationToken::new();
    let handle = async |notice: &Record| {
        let seen = stage.sees(notice).await?;
        stop.cancel();
        if seen { Test::Ok(()) } else { Err("the post is not there".into()) }
    };
    let heal = async {
        tokio::time::sleep(Duration::from_secs(4)).await;
        stage.posts.heal("eu")
    };
    let worker = Worker::new();
    let run = tokio::time::timeout(LIMIT, worker.run(gate, stop.cancelled(), handle));
    let (tally, healed) = tokio::join!(run, heal);
    healed?;
    assert_eq!(tally??.handled, 1);
    Ok(())
}

/// A worker can be a task of its own.
#[tokio::test]
async fn a_worker_runs_in_a_task() -> Test {
    let stage = Stage::open().await?;
    let gate = stage.gate()?;
    let stop = CancellationToken::new();
    let stopped = stop.clone().cancelled_owned();
    let run = tokio::spawn(async move {
        Worker::new().run(gate, stopped, async |_: &Record| Ok::<_, String>(())).await
    });
    stop.cancel();
    assert_eq!(tokio::time::timeout(LIMIT, run).await???.handled, 0);
    Ok(())
}
