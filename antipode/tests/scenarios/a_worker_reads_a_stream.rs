//! A worker is one consumer of a Redis stream's group: notices of posts that may not be in Europe yet.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use antipode::memory::MemoryStore;
use antipode::prelude::*;
use antipode::redis::redis::streams::StreamPendingReply;
use antipode::redis::redis::{AsyncCommands, Client};
use antipode::worker::{Entry, Message as _, RedisStream, Source as _, Worker};
use antipode_docker::{RedisOptions, RedisTopology};
use tokio_util::sync::CancellationToken;

use crate::services::{LIMIT, Test, posts_with_europe_cut_off};

struct Stage {
    topology: RedisTopology,
    notices: RedisStore,
    posts: MemoryStore,
    registry: Registry,
}

impl Stage {
    async fn open() -> Test<Self> {
        let topology = RedisTopology::start(RedisOptions::default().replicas(0)).await?;
        let notices = RedisStore::builder("notices").primary(Client::open(topology.primary().url())?);
        let notices = notices.response_timeout(LIMIT).build()?;
        let posts = posts_with_europe_cut_off()?;
        let registry = Registry::builder().store(posts.reading_from(["eu"])?).build().await?;
        Ok(Self { topology, notices, posts, registry })
    }

    async fn stream(&self) -> Test<RedisStream> {
        let client = Client::open(self.topology.primary().url())?;
        let place = ["notices", "readers", "reader-1"];
        Ok(RedisStream::join(&self.notices, &client, &self.registry, place).await?.deadline(LIMIT))
    }

    /// Writes a post, and a notice of it.
    async fn post(&self, id: &str) -> Test {
        let work = async {
            self.posts.shim().put(id, "hello").await?;
            self.notice(id).await
        };
        LineageScope::new().run(work).await
    }

    /// Writes a notice of whatever the scope did.
    async fn notice(&self, id: &str) -> Test {
        let _: String = self.notices.connection().await?.xadd("notices", "*", &[("post", id)]).await?;
        Ok(())
    }

    /// Whether the post that a notice is about can be read in Europe.
    async fn sees(&self, notice: &Entry) -> Test<bool> {
        Ok(self.posts.reading_from(["eu"])?.shim().get(&id(notice)).await?.is_some())
    }

    /// How many entries were given to a consumer and not acknowledged.
    async fn pending(&self) -> Test<usize> {
        let mut redis = self.topology.primary().connect().await?;
        let pending: StreamPendingReply = redis.xpending("notices", "readers").await?;
        Ok(pending.count())
    }
}

fn id(notice: &Entry) -> String {
    notice.get("post").unwrap_or_default()
}

#[tokio::test]
async fn an_entry_waits_for_its_post_and_others_pass_it() -> Test {
    let stage = Stage::open().await?;
    stage.post("7").await?;
    LineageScope::new().run(stage.notice("free")).await?;
    let (stop, seen) = (CancellationToken::new(), Mutex::new(Vec::new()));
    let handle = async |notice: &Entry| {
        seen.lock().unwrap().push(id(notice));
        if id(notice) == "free" {
            stage.posts.heal("eu")?;
            return Test::Ok(());
        }
        stop.cancel();
        if stage.sees(notice).await? { Ok(()) } else { Err("the post is not there".into()) }
    };
    let run = Worker::new();
    let run = run.run(stage.stream().await?, stop.cancelled(), handle);
    let tally = tokio::time::timeout(LIMIT, run).await??;
    assert_eq!((tally.handled, tally.failed), (2, 0));
    assert_eq!(*seen.lock().unwrap(), ["free", "7"]);
    assert_eq!(stage.pending().await?, 0);
    Ok(())
}

#[tokio::test]
async fn an_entry_that_is_late_is_not_handled_and_comes_again() -> Test {
    let stage = Stage::open().await?;
    stage.post("7").await?;
    let stream = stage.stream().await?.deadline(Duration::from_millis(20));
    let stop = CancellationToken::new();
    let handle = async |notice: &Entry| {
        stop.cancel();
        if stage.sees(notice).await? { Test::Ok(()) } else { Err("the post is not there".into()) }
    };
    let worker = Worker::new().pause_after_failure(Duration::from_millis(5));
    let heal = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        stage.posts.heal("eu")
    };
    let run = tokio::time::timeout(LIMIT, worker.run(stream, stop.cancelled(), handle));
    let (tally, healed) = tokio::join!(run, heal);
    healed?;
    let tally = tally??;
    assert!(tally.handled == 1 && tally.failed == 0 && tally.late > 0, "{tally:?}");
    Ok(())
}

#[tokio::test]
async fn an_entry_that_failed_comes_again_and_so_does_one_that_was_cut_off() -> Test {
    let stage = Stage::open().await?;
    stage.posts.heal("eu")?;
    for id in ["7", "8"] {
        stage.post(id).await?;
    }
    let (stop, attempts) = (CancellationToken::new(), AtomicUsize::new(0));
    let handle = async |notice: &Entry| match id(notice).as_str() {
        "7" if attempts.fetch_add(1, Ordering::SeqCst) < 2 => Err("the mail server is down"),
        "7" => {
            stop.cancel();
            Ok(())
        }
        _ => std::future::pending().await,
    };
    let worker = Worker::new().drain_within(Duration::from_millis(50));
    let worker = worker.pause_after_failure(Duration::from_millis(5));
    let run = worker.run(stage.stream().await?, stop.cancelled(), handle);
    let tally = tokio::time::timeout(LIMIT, run).await??;
    assert_eq!((tally.handled, tally.failed, tally.cut_off), (1, 2, 1));
    assert_eq!(stage.pending().await?, 1);

    let stop = CancellationToken::new();
    let handle = async |notice: &Entry| {
        stop.cancel();
        if id(notice) == "8" { Ok(()) } else { Err("not the one that was cut off") }
    };
    let run = worker.run(stage.stream().await?, stop.cancelled(), handle);
    assert_eq!(tokio::time::timeout(LIMIT, run).await??.handled, 1);
    assert_eq!(stage.pending().await?, 0);
    Ok(())
}

/// Callers of the source go while they wait for a read, and take nothing along.
#[tokio::test]
async fn no_entry_is_lost_with_a_read_that_nobody_waits_for() -> Test {
    let stage = Stage::open().await?;
    let stream = stage.stream().await?;
    let posting = async {
        for id in 0..10 {
            stage.post(&id.to_string()).await?;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Test::Ok(())
    };
    let receiving = async {
        let mut seen = Vec::new();
        while seen.len() < 10 {
            if let Ok(entry) = tokio::time::timeout(Duration::from_millis(2), stream.recv()).await {
                let entry = entry?;
                seen.push(id(&entry));
                entry.done().await;
            }
        }
        Test::Ok(seen)
    };
    let (posted, seen) = tokio::join!(posting, tokio::time::timeout(LIMIT, receiving));
    posted?;
    assert_eq!(seen??, (0..10).map(|id| id.to_string()).collect::<Vec<_>>());
    assert_eq!(stage.pending().await?, 0);
    Ok(())
}

#[tokio::test]
async fn what_a_consumer_was_given_before_comes_again_however_much_it_is() -> Test {
    // More than are read at once.
    const MANY: usize = 80;
    let stage = Stage::open().await?;
    for id in 0..MANY {
        LineageScope::new().run(stage.notice(&id.to_string())).await?;
    }
    for _ in 0..2 {
        let stream = stage.stream().await?;
        let mut held = Vec::new();
        while held.len() < MANY {
            held.push(tokio::time::timeout(LIMIT, stream.recv()).await??);
        }
        assert!(held.iter().map(id).eq((0..MANY).map(|id| id.to_string())), "in order, none twice");
    }
    Ok(())
}

/// A worker can be a task of its own.
#[tokio::test]
async fn a_worker_of_a_stream_runs_in_a_task() -> Test {
    let stage = Stage::open().await?;
    let (stream, stop) = (stage.stream().await?, CancellationToken::new());
    let stopped = stop.clone().cancelled_owned();
    let run = tokio::spawn(async move {
        Worker::new().run(stream, stopped, async |_: &Entry| Ok::<_, String>(())).await
    });
    stop.cancel();
    assert_eq!(tokio::time::timeout(LIMIT, run).await???.handled, 0);
    Ok(())
}

#[tokio::test]
async fn a_server_that_is_silent_ends_the_worker_and_is_named() -> Test {
    let stage = Stage::open().await?;
    let stream = stage.stream().await?;
    LineageScope::new().run(stage.notice("7")).await?;
    stream.recv().await?.done().await;
    stage.topology.primary().pause().await?;
    // Nothing but time passes from now on.
    tokio::time::pause();
    let handle = async |_: &Entry| Test::Ok(());
    let run = Worker::new();
    let run = run.run(stream, std::future::pending(), handle);
    let error = tokio::time::timeout(LIMIT * 60, run).await?.expect_err("it hands over nothing any more");
    tokio::time::resume();
    let problem = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
    assert!(problem.contains("stream notices of notices was not read"), "{error}: {problem}");
    stage.topology.primary().resume().await?;
    Ok(())
}
