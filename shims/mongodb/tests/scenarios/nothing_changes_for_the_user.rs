//! The same results, the same errors and the same commands as without the shim.

use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use antipode_lineage::{Lineage, LineageScope, StoreName, WriteId};
use antipode_mongodb::mongodb::Collection;
use antipode_mongodb::mongodb::bson::{Bson, Document, doc};
use antipode_mongodb::mongodb::error::Result;
use antipode_mongodb::mongodb::event::EventHandler;
use antipode_mongodb::mongodb::event::command::CommandEvent;
use antipode_mongodb::mongodb::options::{
    ClientOptions, CursorType, Hint, InsertOneOptions, ReturnDocument, UpdateOptions,
};
use antipode_mongodb::{MongoCollection, MongoStore};
use futures_util::TryStreamExt;

use crate::set;

/// The same collection twice, in databases of its own, and the commands sent to the servers.
struct Twins {
    _set: set::Set,
    store: MongoStore,
    plain: Collection<Document>,
    shimmed: MongoCollection<Document>,
    commands: Arc<Mutex<Vec<String>>>,
}

async fn twins() -> Twins {
    let set = set::start(0).await;
    let commands = Arc::<Mutex<Vec<String>>>::default();
    let mut options = ClientOptions::parse(set.topology.url()).await.unwrap();
    let seen = Arc::clone(&commands);
    options.command_event_handler = Some(EventHandler::callback(move |event| {
        if let CommandEvent::Started(event) = event {
            seen.lock().unwrap().push(event.command_name);
        }
    }));
    let client = options.client();
    let store = MongoStore::builder("posts").primary(client.clone()).build().unwrap();
    let plain = client.database("plain").collection("posts");
    let shimmed = store.database("shim").collection("posts");
    Twins { _set: set, store, plain, shimmed, commands }
}

trait IntoClient {
    fn client(self) -> antipode_mongodb::mongodb::Client;
}

impl IntoClient for ClientOptions {
    fn client(self) -> antipode_mongodb::mongodb::Client {
        antipode_mongodb::mongodb::Client::with_options(self).unwrap()
    }
}

impl Twins {
    /// What was sent meanwhile, besides asking where the server stands.
    fn sent(&self) -> Vec<String> {
        let sent = std::mem::take(&mut *self.commands.lock().unwrap());
        sent.into_iter()
            .filter(|command| !["hello", "replSetGetConfig"].contains(&command.as_str()))
            .collect()
    }
}

fn outcome(outcome: Result<impl Debug>) -> String {
    let text = match outcome {
        Ok(value) => format!("{value:?}"),
        Err(error) => {
            let mut labels: Vec<_> = error.labels().iter().collect();
            labels.sort();
            format!("{:?} {labels:?}", error.kind)
        }
    };
    text.replace("shim.posts", "plain.posts")
}

fn after_a_write() -> LineageScope {
    LineageScope::from(Lineage::from(WriteId::unplaced(StoreName::parse("cache").unwrap())))
}

/// Does the same to both, and compares what comes back and what was sent.
macro_rules! same {
    ($twins:ident, $posts:ident => $action:expr) => {{
        $twins.sent();
        let plain = {
            let $posts = &$twins.plain;
            outcome(async { $action }.await)
        };
        let sent = $twins.sent();
        let shimmed = {
            let $posts = &$twins.shimmed;
            let scope = after_a_write();
            let shimmed = outcome(scope.run(async { $action }).await);
            let _ = scope.settled().await;
            shimmed
        };
        assert_eq!(shimmed, plain, "{}", stringify!($action));
        assert_eq!($twins.sent(), sent, "{}", stringify!($action));
    }};
}

fn posts(ids: std::ops::Range<i32>) -> Vec<Document> {
    ids.map(|id| doc! { "_id": id, "text": "hello", "likes": id % 3, "tags": [1, 2, 3] }).collect()
}

#[tokio::test]
async fn writes_have_the_same_results_and_errors() {
    let twins = twins().await;
    same!(twins, it => it.insert_one(posts(0..1).remove(0)).await);
    same!(twins, it => it.insert_one(doc! { "_id": 0 }).await);
    same!(twins, it => it.insert_one(doc! { "_id": 1 }).with_options(InsertOneOptions::default()).await);
    same!(twins, it => it.insert_many(posts(2..9)).comment("a comment").await.map(|done| done.inserted_ids.len()));
    same!(twins, it => it.insert_many(posts(0..12)).ordered(false).await.map(|_| ()));
    same!(twins, it => it.insert_many(Vec::<Document>::new()).await);
    same!(twins, it => it.update_one(doc! { "_id": 1 }, doc! { "$set": { "likes": 7 } }).await);
    same!(twins, it => it.update_one(doc! { "_id": 99 }, doc! { "$set": { "likes": 7 } }).await);
    same!(twins, it => it.update_one(doc! { "_id": 99 }, doc! { "$inc": { "likes": 7 } }).upsert(true).await);
    same!(twins, it => it.update_one(doc! { "_id": 1 }, doc! { "$set": { "_id": 2 } }).await);
    same!(twins, it => it.update_one(doc! { "_id": 1 }, doc! { "likes": 2 }).await);
    same!(twins, it => it.update_one(doc! { "_id": 1 }, doc! {}).await);
    same!(twins, it => it.update_one(doc! { "_id": 1 }, doc! { "$max": 3 }).await);
    same!(twins, it => it.update_one(doc! { "_id": 1 }, doc! { "$nonsense": { "a": 3 } }).await);
    same!(twins, it => it.update_many(doc! { "likes": 2 }, vec![doc! { "$set": { "likes": { "$add": ["$likes", 1] } } }]).await);
    let filtered = || UpdateOptions::builder().array_filters(vec![doc! { "tag": 2 }]).build();
    same!(twins, it => it.update_many(doc! { "tags": 2 }, doc! { "$set": { "tags.$[tag]": 5 } }).with_options(filtered()).await);
    same!(twins, it => it.update_one(doc! { "_id": 1 }, doc! { "$set": { "a": 1 } }).hint(Hint::Name("none".into())).await);
    same!(twins, it => it.replace_one(doc! { "_id": 2 }, doc! { "text": "replaced" }).await);
    same!(twins, it => it.replace_one(doc! { "_id": 98 }, doc! { "text": "replaced" }).upsert(true).await);
    same!(twins, it => it.replace_one(doc! { "_id": 2 }, doc! { "_id": 3 }).await);
    same!(twins, it => it.find_one_and_update(doc! { "_id": 4 }, doc! { "$set": { "likes": 1 } }).await);
    same!(twins, it => it.find_one_and_update(doc! { "_id": 4 }, doc! { "$inc": { "likes": 1 } }).return_document(ReturnDocument::After).projection(doc! { "likes": 1 }).await);
    same!(twins, it => it.find_one_and_replace(doc! { "_id": 5 }, doc! { "text": "other" }).return_document(ReturnDocument::After).await);
    same!(twins, it => it.find_one_and_delete(doc! {}).sort(doc! { "_id": -1 }).await);
    same!(twins, it => it.find_one_and_delete(doc! { "_id": 1234 }).await);
    same!(twins, it => it.delete_one(doc! { "_id": 6 }).await);
    same!(twins, it => it.delete_one(doc! { "_id": 6 }).await);
    same!(twins, it => it.delete_many(doc! { "$nonsense": 6 }).await);
    same!(twins, it => it.delete_many(doc! { "likes": 0 }).await);
    same!(twins, it => it.find(doc! {}).sort(doc! { "_id": 1 }).await?.try_collect::<Vec<Document>>().await);
}

#[tokio::test]
async fn reads_have_the_same_results_and_errors() {
    let twins = twins().await;
    same!(twins, it => it.find_one(doc! {}).await);
    same!(twins, it => it.insert_many(posts(0..25)).await.map(|done| done.inserted_ids.len()));
    same!(twins, it => it.find_one(doc! { "_id": 3 }).await);
    same!(twins, it => it.find_one(doc! {}).sort(doc! { "_id": -1 }).skip(2).projection(doc! { "tags": 0 }).await);
    same!(twins, it => it.find_one(doc! { "$nonsense": 1 }).await);
    same!(twins, it => it.find_one(doc! {}).projection(doc! { "a": 1, "b": 0 }).await);
    same!(twins, it => it.find(doc! {}).batch_size(4).sort(doc! { "_id": 1 }).await?.try_collect::<Vec<_>>().await);
    same!(twins, it => it.find(doc! {}).limit(7).sort(doc! { "_id": 1 }).projection(doc! { "_id": 1 }).await?.try_collect::<Vec<_>>().await);
    same!(twins, it => it.find(doc! {}).cursor_type(CursorType::Tailable).await.map(|_| ()));
    same!(twins, it => it.find(doc! {}).projection(doc! { "tags": { "$slice": [1, 1] } }).sort(doc! { "_id": 1 }).await?.try_collect::<Vec<_>>().await);
    same!(twins, it => it.count_documents(doc! { "likes": 1 }).limit(5).await);
    same!(twins, it => it.distinct("likes", doc! {}).await);
    same!(twins, it => it.aggregate([doc! { "$match": { "likes": 1 } }, doc! { "$sort": { "_id": 1 } }]).batch_size(3).await?.try_collect::<Vec<_>>().await);
    same!(twins, it => it.aggregate([doc! { "$project": { "_id": 0, "likes": 1 } }, doc! { "$limit": 3 }]).await?.try_collect::<Vec<_>>().await);
    same!(twins, it => it.aggregate([doc! { "$group": { "_id": "$likes", "n": { "$sum": 1 } } }, doc! { "$sort": { "_id": 1 } }]).await?.try_collect::<Vec<_>>().await);
    same!(twins, it => it.aggregate([doc! { "$nonsense": 1 }]).await.map(|_| ()));
    same!(twins, it => it.aggregate([doc! { "$match": {} }, doc! { "$out": "copy" }]).await.map(|_| ()));
    same!(twins, it => it.clone_with_type::<Bson>().find_one(doc! { "_id": 1 }).await);
    // A document of another type than asked for.
    same!(twins, it => it.clone_with_type::<String>().find_one(doc! { "_id": 1 }).await);
}

#[tokio::test]
async fn operations_outside_of_a_lineage_pass_and_are_counted() {
    let twins = twins().await;
    twins.shimmed.insert_one(doc! { "_id": 1 }).await.unwrap();
    assert_eq!(twins.shimmed.find_one(doc! {}).await.unwrap(), Some(doc! { "_id": 1 }));
    assert_eq!(twins.store.missed(), 2);
    let scope = LineageScope::new();
    let within = twins.shimmed.within(scope.clone());
    within.insert_one(doc! { "_id": 2 }).await.unwrap();
    within.find(doc! {}).await.unwrap().try_collect::<Vec<_>>().await.unwrap();
    assert_eq!(twins.store.missed(), 2);
    assert_eq!(scope.settled().await.writes().len(), 1);
    let database = twins.store.database("shim").within(LineageScope::new());
    database.collection::<Document>("posts").delete_one(doc! {}).await.unwrap();
    assert_eq!(twins.store.missed(), 2);
}

#[tokio::test]
async fn a_process_can_refuse_operations_outside_of_a_lineage() {
    let set = set::start(0).await;
    let store = MongoStore::builder("posts")
        .primary(set.store.inner().clone())
        .on_missing(antipode_barrier::OnMissing::Error)
        .build()
        .unwrap();
    let posts = store.database("app").collection::<Document>("posts");
    let error = posts.insert_one(doc! { "_id": 1 }).await.unwrap_err();
    assert!(error.get_custom::<antipode_mongodb::Error>().unwrap().is_missing_lineage(), "{error}");
    assert!(posts.find_one(doc! {}).await.is_err());
    assert_eq!(posts.inner().count_documents(doc! {}).await.unwrap(), 0);
}
