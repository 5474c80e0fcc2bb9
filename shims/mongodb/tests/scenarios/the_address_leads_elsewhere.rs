//! An address leads to another server than it should: to a member of another set, or to one that is no
//! primary, or no longer. It is refused, and nothing that it says counts for this store.

use std::time::Duration;

use antipode_barrier::Registry;
use antipode_docker::{MongoOptions, MongoTopology, Proxy};
use antipode_lineage::{Lineage, LineageScope};
use antipode_mongodb::MongoStore;
use antipode_mongodb::mongodb::Client;
use antipode_mongodb::mongodb::bson::{Document, doc};

/// Well beyond what a healthy set takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Long enough for a few probes, for barriers that must not succeed.
const SHORT: Duration = Duration::from_millis(1500);

async fn set(replicas: usize) -> MongoTopology {
    MongoTopology::start(MongoOptions::default().replicas(replicas)).await.unwrap()
}

async fn client(uri: impl AsRef<str>) -> Client {
    Client::with_uri_str(uri).await.unwrap()
}

async fn registry(store: &MongoStore) -> Registry {
    Registry::builder().deadline(PATIENCE).store(store.clone()).build().await.unwrap()
}

async fn refused(store: MongoStore) -> String {
    let error = Registry::builder().store(store).build().await.expect_err("it leads elsewhere");
    error.to_string()
}

async fn put(store: &MongoStore, id: i32) -> Lineage {
    let scope = LineageScope::new();
    let posts = store.database("app").collection::<Document>("posts");
    scope.run(posts.insert_one(doc! { "_id": id }).into_future()).await.unwrap();
    scope.settled().await
}

#[tokio::test]
async fn a_member_of_another_set_is_refused_at_the_start() {
    let (ours, theirs) = tokio::join!(set(0), set(0));
    let store = MongoStore::builder("posts").primary(client(ours.url()).await);
    let store = store.replica("eu", client(theirs.primary().url()).await).build().unwrap();
    let error = refused(store).await;
    assert!(error.contains("behind eu is a member of another replica set"), "{error}");
}

#[tokio::test]
async fn an_address_that_comes_to_lead_to_another_set_shows_nothing_of_this_one() {
    let (ours, theirs) = tokio::join!(set(0), set(0));
    let address = Proxy::start(ours.primary().addr()).await.unwrap();
    let eu = client(format!("mongodb://{}/?directConnection=true", address.addr())).await;
    let store = MongoStore::builder("posts").primary(client(ours.url()).await).replica("eu", eu);
    let store = store.build().unwrap();
    let registry = registry(&store).await;
    registry.barrier_on(&put(&store, 1).await).await.unwrap();

    address.set_target(theirs.primary().addr());
    address.reset();
    let lineage = put(&store, 2).await;
    // Their log is of the same term and, a second later, goes further than the write.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let other = MongoStore::builder("other").primary(client(theirs.url()).await).build().unwrap();
    put(&other, 1).await;
    let error = registry.barrier_on(&lineage).deadline(SHORT).await.expect_err("they do not have it");
    assert!(!error.is_lost(), "nothing of this set is known there: {error}");

    address.set_target(ours.primary().addr());
    address.reset();
    registry.barrier_on(&lineage).await.unwrap();
}

#[tokio::test]
async fn a_secondary_is_refused_as_the_primary() {
    let set = set(1).await;
    let secondary = client(set.replica(0).url()).await;
    let error = refused(MongoStore::builder("posts").primary(secondary).build().unwrap()).await;
    assert!(error.contains("behind primary is not the primary"), "{error}");
}

#[tokio::test]
async fn a_primary_that_was_one_does_not_say_how_far_the_store_is() {
    let set = set(1).await;
    let old = client(set.primary().url()).await;
    let store = MongoStore::builder("posts").primary(old.clone()).build().unwrap();
    let registry = registry(&store).await;
    registry.barrier_on(&put(&store, 1).await).await.unwrap();

    set.promote(0).await.unwrap();
    set.primary_link().hang();
    let new = client(format!("{}&w=1", set.replica(0).url())).await;
    let app = |client: &Client| client.database("app").collection::<Document>("posts");
    app(&new).insert_one(doc! { "_id": 2 }).await.unwrap();
    // All that the store has: the old primary's word would let that pass.
    let barrier = registry.barrier_on(&Lineage::everything()).deadline(SHORT).await;
    let error = barrier.expect_err("it does not have the last write");
    assert!(error.to_string().contains("is no primary any more"), "{error}");
    assert_eq!(app(&old).find_one(doc! { "_id": 2 }).await.unwrap(), None);
}
