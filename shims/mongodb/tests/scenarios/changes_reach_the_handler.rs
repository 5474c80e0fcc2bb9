//! What an event of a change stream depends on.

use std::time::Duration;

use antipode_lineage::{Lineage, LineageScope, StoreName, WriteId};
use antipode_mongodb::mongodb::bson::doc;
use antipode_mongodb::mongodb::change_stream::event::OperationType;
use antipode_mongodb::mongodb::options::FullDocumentType;
use antipode_mongodb::{MongoChangeStream, MongoEvent};
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};

use crate::set;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Post {
    #[serde(rename = "_id")]
    id: i32,
    likes: i32,
}

fn after(store: &str) -> LineageScope {
    LineageScope::from(Lineage::from(WriteId::unplaced(StoreName::parse(store).unwrap())))
}

fn stores(lineage: &Lineage) -> Vec<String> {
    let foreign = lineage.writes().iter().filter(|write| write.store.as_str() != "posts");
    foreign.map(|write| write.store.to_string()).collect()
}

fn own(lineage: &Lineage) -> WriteId {
    lineage.of_store("posts".parse().unwrap())[0]
}

async fn next(changes: &mut MongoChangeStream<Post>) -> MongoEvent<Post> {
    tokio::time::timeout(Duration::from_secs(20), changes.next()).await.unwrap().unwrap().unwrap()
}

#[tokio::test]
async fn each_event_depends_on_what_its_writer_depended_on() {
    let set = set::start(0).await;
    let posts = set.collection::<Post>();
    let mut changes = posts.watch().await.unwrap();
    let (insert, update) = (after("a"), after("b"));
    insert.run(posts.insert_one(Post { id: 1, likes: 0 }).into_future()).await.unwrap();
    let event = next(&mut changes).await;
    assert_eq!(event.operation_type, OperationType::Insert);
    assert_eq!(event.full_document, Some(Post { id: 1, likes: 0 }));
    assert_eq!(stores(event.lineage()), ["a"]);
    assert_eq!(own(event.lineage()), own(&insert.settled().await), "the insertion itself");

    let increment = || posts.update_one(doc! {}, doc! { "$inc": { "likes": 1 } });
    update.run(increment().into_future()).await.unwrap();
    let event = next(&mut changes).await;
    assert_eq!(event.full_document, None, "nobody asked for it");
    let description = event.update_description.as_ref().unwrap();
    assert_eq!(description.updated_fields, doc! { "likes": 1 });
    assert_eq!(stores(event.lineage()), ["a", "b"]);
    assert_eq!(own(event.lineage()), own(&update.settled().await));

    // Its writer depends on what is stored already: the update does not raise it.
    update.run(increment().into_future()).await.unwrap();
    assert_eq!(stores(next(&mut changes).await.lineage()), ["a", "b"]);

    after("c").run(posts.replace_one(doc! {}, Post { id: 1, likes: 9 }).into_future()).await.unwrap();
    let event = next(&mut changes).await;
    assert_eq!(event.full_document, Some(Post { id: 1, likes: 9 }));
    assert_eq!(stores(event.lineage()), ["c"]);

    posts.delete_one(doc! {}).await.unwrap();
    let event = next(&mut changes).await;
    assert_eq!(event.operation_type, OperationType::Delete);
    assert!(stores(event.lineage()).is_empty());
    assert!(!own(event.lineage()).is_unplaced());
}

#[tokio::test]
async fn an_update_whose_document_is_gone_depends_on_everything() {
    let set = set::start(0).await;
    let posts = set.collection::<Post>();
    posts.insert_one(Post { id: 1, likes: 0 }).await.unwrap();
    let mut changes = posts.watch().await.unwrap();
    after("a").run(posts.update_one(doc! {}, doc! { "$inc": { "likes": 1 } }).into_future()).await.unwrap();
    posts.delete_one(doc! {}).await.unwrap();
    assert!(next(&mut changes).await.lineage().has_overflowed());
}

#[tokio::test]
async fn a_user_who_asks_for_documents_gets_them_as_they_are_without_the_shim() {
    let set = set::start(0).await;
    let posts = set.collection::<Post>();
    let mut changes = posts.watch().full_document(FullDocumentType::UpdateLookup).await.unwrap();
    after("a").run(posts.insert_one(Post { id: 1, likes: 0 }).into_future()).await.unwrap();
    next(&mut changes).await;
    posts.inner().update_one(doc! {}, doc! { "$inc": { "likes": 1 } }).await.unwrap();
    let event = next(&mut changes).await;
    assert_eq!(event.full_document, Some(Post { id: 1, likes: 1 }));
    assert_eq!(stores(event.lineage()), ["a"], "of the part that is left of the old value");
}

#[tokio::test]
async fn a_stream_goes_on_where_it_ended() {
    let set = set::start(0).await;
    let posts = set.collection::<Post>();
    let scope = LineageScope::new();
    let mut changes = scope.run(posts.watch().into_future()).await.unwrap();
    for id in 1..=3 {
        posts.insert_one(Post { id, likes: 0 }).await.unwrap();
    }
    assert_eq!(scope.run(next(&mut changes)).await.document_key, Some(doc! { "_id": 1 }));
    let token = changes.resume_token();
    drop(changes);
    let odd = doc! { "$match": { "documentKey._id": { "$in": [1, 3] } } };
    let mut changes = posts.watch().resume_after(token).pipeline([odd]).await.unwrap();
    assert_eq!(next(&mut changes).await.document_key, Some(doc! { "_id": 3 }));
    assert!(changes.is_alive());
    assert!(changes.next_if_any().await.unwrap().is_none());
    assert_eq!(scope.settled().await, Lineage::new(), "the stream itself joins nothing");
}
