//! Writes whose outcome is not known, and those whose outcome is.

use std::time::Duration;

use antipode_lineage::{Lineage, LineageScope, StoreName, WriteId};
use antipode_mongodb::mongodb::Client;
use antipode_mongodb::mongodb::bson::{Document, doc};
use antipode_mongodb::mongodb::options::{Acknowledgment, CollectionOptions, WriteConcern};
use antipode_mongodb::{LINEAGE_FIELD, MongoCollection, MongoStore};
use futures_util::TryStreamExt;

use crate::set;

async fn own(scope: &LineageScope) -> Vec<WriteId> {
    scope.settled().await.of_store(StoreName::parse("posts").unwrap()).to_vec()
}

fn is_unplaced(writes: &[WriteId]) -> bool {
    matches!(writes, [write] if write.is_unplaced())
}

fn is_placed(writes: &[WriteId]) -> bool {
    matches!(writes, [write] if !write.is_unplaced())
}

/// A collection behind a link, with a document in it.
async fn posts(proxied: &set::Proxied) -> MongoCollection<Document> {
    let posts = proxied.store.database("app").collection("posts");
    posts.within(LineageScope::new()).insert_one(doc! { "_id": 0 }).await.unwrap();
    posts
}

#[tokio::test]
async fn a_write_that_was_dropped_may_have_happened() {
    let set = set::start(0).await;
    let proxied = set.proxied().await;
    let posts = posts(&proxied).await;
    proxied.link.hang();
    let limit = Duration::from_millis(200);
    macro_rules! dropped {
        ($action:expr) => {{
            let scope = LineageScope::new();
            assert!(scope.run(tokio::time::timeout(limit, $action.into_future())).await.is_err());
            assert!(is_unplaced(&own(&scope).await), "{}", stringify!($action));
        }};
    }
    dropped!(posts.insert_one(doc! { "_id": 1 }));
    dropped!(posts.insert_many([doc! { "_id": 2 }]));
    dropped!(posts.update_one(doc! {}, doc! { "$set": { "a": 1 } }));
    dropped!(posts.update_many(doc! {}, doc! { "$set": { "a": 1 } }));
    dropped!(posts.replace_one(doc! {}, doc! { "a": 1 }));
    dropped!(posts.delete_one(doc! {}));
    dropped!(posts.delete_many(doc! {}));
    dropped!(posts.find_one_and_update(doc! {}, doc! { "$set": { "a": 1 } }));
    dropped!(posts.find_one_and_replace(doc! {}, doc! { "a": 1 }));
    dropped!(posts.find_one_and_delete(doc! {}));
    // A read that was dropped has told nobody anything.
    let scope = LineageScope::new();
    let read = scope.run(tokio::time::timeout(limit, posts.find_one(doc! {}).into_future()));
    assert!(read.await.is_err());
    assert_eq!(scope.settled().await, Lineage::new());
}

#[tokio::test]
async fn a_write_whose_connection_broke_may_have_happened() {
    let set = set::start(0).await;
    let proxied = set.proxied().await;
    let posts = posts(&proxied).await;
    // The request arrives; its reply does not.
    proxied.link.set_delay_to_client(Duration::from_millis(500));
    let scope = LineageScope::new();
    let within = posts.within(scope.clone());
    let insert = tokio::spawn(async move { within.insert_one(doc! { "_id": 1 }).await });
    while set
        .store
        .inner()
        .database("app")
        .collection::<Document>("posts")
        .count_documents(doc! {})
        .await
        .unwrap()
        < 2
    {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    proxied.link.cut();
    assert!(insert.await.unwrap().is_err());
    assert!(is_unplaced(&own(&scope).await));
}

#[tokio::test]
async fn a_write_that_too_few_members_acknowledged_has_happened_nevertheless() {
    let set = set::start(0).await;
    let mut concern = WriteConcern::builder().w(Acknowledgment::Nodes(40)).build();
    concern.w_timeout = Some(Duration::from_millis(1));
    let options = CollectionOptions::builder().write_concern(concern).build();
    let posts = set.store.database("app").collection_with_options::<Document>("posts", options);
    let scope = LineageScope::new();
    scope.run(posts.insert_one(doc! { "_id": 1 }).into_future()).await.unwrap_err();
    assert!(is_unplaced(&own(&scope).await));
    assert!(scope.lineage().is_weak());
    macro_rules! happened {
        ($action:expr) => {{
            let scope = LineageScope::new();
            scope.run($action.into_future()).await.unwrap_err();
            assert!(is_unplaced(&own(&scope).await), "{}", stringify!($action));
        }};
    }
    happened!(posts.insert_many([doc! { "_id": 2 }]));
    happened!(posts.update_one(doc! { "_id": 1 }, doc! { "$inc": { "a": 1 } }));
    happened!(posts.update_many(doc! { "_id": 1 }, doc! { "$inc": { "a": 1 } }));
    happened!(posts.find_one_and_update(doc! { "_id": 1 }, doc! { "$inc": { "a": 1 } }));
    happened!(posts.replace_one(doc! { "_id": 2 }, doc! { "a": 1 }));
    happened!(posts.find_one_and_replace(doc! { "_id": 2 }, doc! { "a": 2 }));
    // Without the mark that the lineage is weak.
    let values = posts.inner().clone();
    let values = values.find(doc! {}).projection(doc! { LINEAGE_FIELD: 0 }).sort(doc! { "_id": 1 });
    let documents: Vec<_> = values.await.unwrap().try_collect().await.unwrap();
    assert_eq!(documents, [doc! { "_id": 1, "a": 3 }, doc! { "_id": 2, "a": 2 }]);
    happened!(posts.find_one_and_delete(doc! { "_id": 1 }));
    happened!(posts.delete_one(doc! { "_id": 2 }));
    assert_eq!(posts.inner().count_documents(doc! {}).await.unwrap(), 0);
}

#[tokio::test]
async fn a_write_that_was_refused_adds_nothing() {
    let set = set::start(0).await;
    let posts = set.store.database("app").collection::<Document>("posts");
    let scope = LineageScope::new();
    scope.run(posts.insert_one(doc! { "_id": 1 }).into_future()).await.unwrap();
    assert!(is_placed(&own(&scope).await));
    let scope = LineageScope::new();
    scope
        .run(async {
            posts.insert_one(doc! { "_id": 1 }).await.unwrap_err();
            posts.update_one(doc! {}, doc! { "$nonsense": { "a": 1 } }).await.unwrap_err();
            posts.update_one(doc! {}, doc! { "no": "operator" }).await.unwrap_err();
            posts.find_one_and_delete(doc! { "$nonsense": 1 }).await.unwrap_err();
            posts.insert_many(Vec::<Document>::new()).await.unwrap_err();
        })
        .await;
    assert_eq!(scope.settled().await, Lineage::new());
}

#[tokio::test]
async fn a_write_that_was_refused_in_part_is_placed() {
    let set = set::start(0).await;
    let posts = set.store.database("app").collection::<Document>("posts");
    let scope = LineageScope::new();
    let documents = [doc! { "_id": 1 }, doc! { "_id": 1 }];
    scope.run(posts.insert_many(documents).into_future()).await.unwrap_err();
    assert!(is_placed(&own(&scope).await));
    let scope = LineageScope::new();
    posts.inner().insert_many([doc! { "_id": 2, "a": 0 }, doc! { "_id": 3, "a": "text" }]).await.unwrap();
    let update = posts.update_many(doc! { "a": { "$exists": true } }, doc! { "$inc": { "a": 1 } });
    scope.run(update.into_future()).await.unwrap_err();
    assert!(is_placed(&own(&scope).await));
    let updated = posts.inner().find_one(doc! { "_id": 2 }).await.unwrap().unwrap();
    assert_eq!(updated.get_i32("a").unwrap(), 1);
}

#[tokio::test]
async fn only_a_journaled_majority_makes_a_write_strong() {
    let set = set::start(0).await;
    let one = || WriteConcern::builder().w(Acknowledgment::Nodes(1)).build();
    let majority = || WriteConcern::builder().w(Acknowledgment::Majority).build();
    let of = |concern| CollectionOptions::builder().write_concern(concern).build();
    let database = set.store.database("app");
    let usual = database.collection::<Document>("posts");
    let weak = database.collection_with_options::<Document>("posts", of(one()));
    let unjournaled = WriteConcern::builder().w(Acknowledgment::Majority).journal(false).build();
    let unjournaled = database.collection_with_options::<Document>("posts", of(unjournaled));
    for (id, insert, is_weak) in [
        (1, usual.insert_one(doc! { "_id": 1 }), false),
        (2, weak.insert_one(doc! { "_id": 2 }), true),
        (3, usual.insert_one(doc! { "_id": 3 }).write_concern(one()), true),
        (4, weak.insert_one(doc! { "_id": 4 }).write_concern(majority()), false),
        (5, unjournaled.insert_one(doc! { "_id": 5 }), true),
    ] {
        let scope = LineageScope::new();
        scope.run(insert.into_future()).await.unwrap();
        assert_eq!(scope.lineage().is_weak(), is_weak, "{id}");
        assert!(is_placed(&own(&scope).await), "{id}");
    }
}

/// A server that gives up says nothing of how far it had come.
#[tokio::test]
async fn a_write_that_the_server_gave_up_may_have_happened() {
    const HOST_UNREACHABLE: i32 = 6;
    const INTERRUPTED_BY_AN_ELECTION: i32 = 11602;
    const UNAUTHORIZED: i32 = 13;
    let set = set::start(0).await;
    let admin = set.store.inner().database("admin");
    for (uri, code, may_have_happened) in [
        (format!("{}&retryWrites=false", set.topology.url()), INTERRUPTED_BY_AN_ELECTION, true),
        (set.topology.url().to_owned(), HOST_UNREACHABLE, true),
        (set.topology.url().to_owned(), UNAUTHORIZED, false),
    ] {
        let client = Client::with_uri_str(uri).await.unwrap();
        let store = MongoStore::builder("posts").primary(client).build().unwrap();
        let posts = store.database("app").collection::<Document>("posts");
        let fail = doc! { "failCommands": ["insert"], "errorCode": code };
        let fail = doc! { "configureFailPoint": "failCommand", "mode": { "times": 2 }, "data": fail };
        admin.run_command(fail).await.unwrap();
        let scope = LineageScope::new();
        scope.run(posts.insert_one(doc! { "a": 1 }).into_future()).await.unwrap_err();
        assert_eq!(is_unplaced(&own(&scope).await), may_have_happened, "{code}");
        admin.run_command(doc! { "configureFailPoint": "failCommand", "mode": "off" }).await.unwrap();
    }
}
