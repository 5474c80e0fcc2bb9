//! A member refuses to wait for a time that it has not heard of. It is told of it, and waits then.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use antipode_barrier::Registry;
use antipode_docker::{MongoOptions, MongoTopology};
use antipode_lineage::LineageScope;
use antipode_mongodb::MongoStore;
use antipode_mongodb::mongodb::Client;
use antipode_mongodb::mongodb::bson::{Document, doc};
use antipode_mongodb::mongodb::error::ErrorKind;
use antipode_mongodb::mongodb::event::EventHandler;
use antipode_mongodb::mongodb::event::command::CommandEvent;
use antipode_mongodb::mongodb::options::ClientOptions;

/// After the latest time that the member has heard of.
const TIME_UNKNOWN: i32 = 72;

/// The request was held for as long as it may be.
const EXPIRED: i32 = 50;

/// How a member answered to requests that it was to hold.
#[derive(Default)]
struct Answers {
    unknown: AtomicU64,
    held: AtomicU64,
}

async fn listened(uri: String, answers: &Arc<Answers>) -> Client {
    let mut options = ClientOptions::parse(uri).await.unwrap();
    let answers = Arc::clone(answers);
    options.command_event_handler = Some(EventHandler::callback(move |event| {
        let CommandEvent::Failed(event) = event else { return };
        let ErrorKind::Command(error) = event.failure.kind.as_ref() else { return };
        match error.code {
            TIME_UNKNOWN => answers.unknown.fetch_add(1, Ordering::Relaxed),
            EXPIRED => answers.held.fetch_add(1, Ordering::Relaxed),
            _ => 0,
        };
    }));
    Client::with_options(options).unwrap()
}

/// Has the members tell each other the time so rarely that a test ends before.
async fn quiet(topology: &MongoTopology) {
    let admin = async |uri: String| Client::with_uri_str(uri).await.unwrap().database("admin");
    let (primary, replica) = (admin(topology.primary().url()).await, admin(topology.replica(0).url()).await);
    let config = async |at: &antipode_mongodb::mongodb::Database| {
        let reply = at.run_command(doc! { "replSetGetConfig": 1 }).await.unwrap();
        reply.get_document("config").unwrap().clone()
    };
    let mut rare = config(&primary).await;
    let version = rare.get_i32("version").unwrap() + 1;
    rare.insert("version", version);
    let settings = rare.get_document_mut("settings").unwrap();
    settings.insert("heartbeatIntervalMillis", 10_000);
    settings.insert("electionTimeoutMillis", 60_000);
    primary.run_command(doc! { "replSetReconfig": rare, "force": true }).await.unwrap();
    while config(&replica).await.get_i32("version").unwrap() < version {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // The last words that were under way.
    tokio::time::sleep(Duration::from_millis(500)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_told_the_time_and_holds_the_request() {
    let topology = MongoTopology::start(MongoOptions::default().replicas(1)).await.unwrap();
    quiet(&topology).await;
    let answers = Arc::<Answers>::default();
    let primary = Client::with_uri_str(format!("{}&w=1", topology.primary().url())).await.unwrap();
    let eu = listened(topology.replica(0).url(), &answers).await;
    let store = MongoStore::builder("posts").primary(primary).replica("eu", eu).build().unwrap();
    let registry = Registry::builder().deadline(Duration::from_secs(60)).store(store.clone());
    let registry = registry.build().await.unwrap();
    topology.link(0).hang();
    let scope = LineageScope::new();
    let posts = store.database("app").collection::<Document>("posts");
    scope.run(posts.insert_one(doc! { "_id": 1 }).into_future()).await.unwrap();
    let lineage = scope.settled().await;

    let barrier = registry.barrier_on(&lineage);
    let held = async {
        while answers.held.load(Ordering::Relaxed) < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        topology.link(0).heal();
    };
    let (barrier, ()) = tokio::join!(barrier.into_future(), held);
    barrier.unwrap();
    let unknown = answers.unknown.load(Ordering::Relaxed);
    assert_eq!(unknown, 1, "it refuses until it is told, and is told at once");
}
