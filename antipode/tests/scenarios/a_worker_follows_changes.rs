//! A worker follows the changes of a MongoDB collection of notices, whose posts may not be in Europe yet.

use std::sync::Mutex;
use std::time::Duration;

use antipode::memory::MemoryStore;
use antipode::mongodb::MongoCollection;
use antipode::mongodb::mongodb::Client;
use antipode::mongodb::mongodb::bson::{Document, doc};
use antipode::prelude::*;
use antipode::worker::{Change, Message as _, MongoChanges, Source as _, Worker};
use antipode_docker::{MongoOptions, MongoTopology};
use tokio_util::sync::CancellationToken;

use crate::services::{LIMIT, Test, posts_with_europe_cut_off};

struct Stage {
    topology: MongoTopology,
    client: Client,
    notices: MongoCollection<Document>,
    posts: MemoryStore,
    registry: Registry,
}

impl Stage {
    async fn open() -> Test<Self> {
        Self::with(0).await
    }

    async fn with(replicas: usize) -> Test<Self> {
        let topology = MongoTopology::start(MongoOptions::default().replicas(replicas)).await?;
        let client = Client::with_uri_str(topology.url()).await?;
        let notices = MongoStore::builder("notices").primary(client.clone()).build()?;
        let posts = posts_with_europe_cut_off()?;
        let registry = Registry::builder().store(posts.reading_from(["eu"])?).build().await?;
        let notices = notices.database("app").collection::<Document>("notices");
        Ok(Self { topology, client, notices, posts, registry })
    }

    async fn changes(&self) -> Test<MongoChanges<Document>> {
        let tokens = self.client.database("app").collection("tokens");
        Ok(MongoChanges::watch(&self.notices, &self.registry, tokens, "mailer").await?.deadline(LIMIT))
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
        self.notices.insert_one(doc! { "_id": id }).await?;
        Ok(())
    }

    async fn like(&self, id: &str) -> Test {
        let like = self.notices.update_one(doc! { "_id": id }, doc! { "$inc": { "likes": 1 } });
        LineageScope::new().run(like.into_future()).await?;
        Ok(())
    }

    async fn sees(&self, change: &Change<Document>) -> Test<bool> {
        Ok(self.posts.reading_from(["eu"])?.shim().get(&id(change)).await?.is_some())
    }
}

fn id(change: &Change<Document>) -> String {
    let key = change.document_key.as_ref().and_then(|key| key.get_str("_id").ok());
    key.unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_waits_for_its_post_and_those_of_other_documents_pass_it() -> Test {
    let stage = Stage::open().await?;
    let changes = stage.changes().await?;
    stage.post("7").await?;
    stage.like("7").await?;
    LineageScope::new().run(stage.notice("free")).await?;
    let (stop, seen) = (CancellationToken::new(), Mutex::new(Vec::new()));
    let handle = async |change: &Change<Document>| {
        seen.lock().unwrap().push((id(change), change.full_document.is_some()));
        if id(change) == "free" {
            stage.posts.heal("eu")?;
            return Test::Ok(());
        }
        if seen.lock().unwrap().len() == 3 {
            stop.cancel();
        }
        if stage.sees(change).await? { Ok(()) } else { Err("the post is not there".into()) }
    };
    let tally = tokio::time::timeout(LIMIT, Worker::new().run(changes, stop.cancelled(), handle)).await??;
    assert_eq!((tally.handled, tally.failed), (3, 0));
    let expected = [("free", true), ("7", true), ("7", false)].map(|(id, whole)| (id.to_owned(), whole));
    assert_eq!(*seen.lock().unwrap(), expected, "the insertion before the update");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_handled_comes_again_to_the_next_worker() -> Test {
    let stage = Stage::open().await?;
    stage.posts.heal("eu")?;
    // Where the first worker began counts, even if it handled nothing.
    drop(stage.changes().await?);
    for id in ["1", "2", "3"] {
        stage.post(id).await?;
    }
    let stop = CancellationToken::new();
    let handle = async |change: &Change<Document>| match id(change).as_str() {
        "1" => Ok::<_, String>(()),
        "3" => {
            stop.cancel();
            Ok(())
        }
        _ => std::future::pending().await,
    };
    let worker = Worker::new().drain_within(Duration::from_millis(50));
    let run = worker.run(stage.changes().await?, stop.cancelled(), handle);
    let tally = tokio::time::timeout(LIMIT, run).await??;
    assert_eq!((tally.handled, tally.cut_off), (2, 1));

    let (stop, seen) = (CancellationToken::new(), Mutex::new(Vec::new()));
    let handle = async |change: &Change<Document>| {
        seen.lock().unwrap().push(id(change));
        if id(change) == "3" {
            stop.cancel();
        }
        Ok::<_, String>(())
    };
    let worker = Worker::new();
    let run = worker.run(stage.changes().await?, stop.cancelled(), handle);
    assert_eq!(tokio::time::timeout(LIMIT, run).await??.handled, 2);
    assert_eq!(*seen.lock().unwrap(), ["2", "3"], "from the first that was not handled");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_failed_comes_again_before_the_next_of_its_document() -> Test {
    let stage = Stage::open().await?;
    stage.posts.heal("eu")?;
    let changes = stage.changes().await?;
    stage.post("7").await?;
    stage.like("7").await?;
    let (stop, seen) = (CancellationToken::new(), Mutex::new(Vec::new()));
    let handle = async |change: &Change<Document>| {
        let mut seen = seen.lock().unwrap();
        seen.push(change.full_document.is_some());
        match seen.len() {
            1 => Err("the mail server is down"),
            3 => {
                stop.cancel();
                Ok(())
            }
            _ => Ok(()),
        }
    };
    let worker = Worker::new().pause_after_failure(Duration::from_millis(5));
    let tally = tokio::time::timeout(LIMIT, worker.run(changes, stop.cancelled(), handle)).await??;
    assert_eq!((tally.handled, tally.failed), (2, 1));
    assert_eq!(*seen.lock().unwrap(), [true, true, false]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_saving_that_no_majority_confirms_ends_and_is_named() -> Test {
    let stage = Stage::with(1).await?;
    let changes = stage.changes().await?;
    LineageScope::new().run(stage.notice("7")).await?;
    let change = changes.recv().await?;
    // The primary is there and answers; a write is not confirmed any more.
    stage.topology.link(0).hang();
    tokio::time::timeout(LIMIT * 3, change.done()).await?;
    let closed = tokio::time::timeout(LIMIT * 3, changes.close()).await?;
    let error = closed.expect_err("nobody knows how far it came").to_string();
    assert!(error.contains("token of mailer was not saved in app.tokens"), "{error}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_that_is_dropped_ends_the_worker_and_is_named() -> Test {
    let stage = Stage::open().await?;
    stage.posts.heal("eu")?;
    stage.post("1").await?;
    let changes = stage.changes().await?;
    stage.notices.inner().drop().await?;
    // What the server says of the drop itself is handled like any other change.
    let handle = async |_: &Change<Document>| Ok::<_, String>(());
    let worker = Worker::new();
    let run = worker.run(changes, std::future::pending(), handle);
    let error = tokio::time::timeout(LIMIT, run).await?.expect_err("there is nothing to follow");
    let text = std::error::Error::source(&error).expect("the stream's").to_string();
    assert!(text.contains("store notices") && text.contains("mailer"), "{text}");
    Ok(())
}
