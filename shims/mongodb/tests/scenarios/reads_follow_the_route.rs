//! Which server a read goes to.

use std::sync::{Arc, Mutex};

use antipode_lineage::{LineageScope, ReplicaName};
use antipode_mongodb::MongoStore;
use antipode_mongodb::mongodb::Client;
use antipode_mongodb::mongodb::bson::{Document, doc};
use antipode_mongodb::mongodb::event::EventHandler;
use antipode_mongodb::mongodb::event::command::CommandEvent;
use antipode_mongodb::mongodb::options::{
    AggregateOptions, ChangeStreamOptions, ClientOptions, CollectionOptions, CountOptions, DistinctOptions,
    FindOneOptions, FindOptions, ReadPreference, SelectionCriteria,
};
use futures_util::TryStreamExt;

use crate::set;

type Heard = Arc<Mutex<Vec<String>>>;

async fn listened(uri: String, name: &'static str, heard: &Heard) -> Client {
    let mut options = ClientOptions::parse(uri).await.unwrap();
    let heard = Arc::clone(heard);
    options.command_event_handler = Some(EventHandler::callback(move |event| {
        if let CommandEvent::Started(event) = event
            && !["hello", "replSetGetConfig", "killCursors"].contains(&event.command_name.as_str())
        {
            heard.lock().unwrap().push(name.to_owned());
        }
    }));
    Client::with_options(options).unwrap()
}

#[tokio::test]
async fn every_read_goes_where_the_barrier_found_it_fresh() {
    let set = set::start(2).await;
    let heard = Heard::default();
    let store = MongoStore::builder("posts")
        .primary(listened(set.topology.url().to_owned(), "primary", &heard).await)
        .replica("eu", listened(set.topology.replica(0).url(), "eu", &heard).await)
        .replica("us", listened(set.topology.replica(1).url(), "us", &heard).await)
        .build()
        .unwrap();
    let posts = store.database("app").collection::<Document>("posts");
    posts.within(LineageScope::new()).insert_one(doc! { "_id": 1, "a": 1 }).await.unwrap();
    assert_eq!(std::mem::take(&mut *heard.lock().unwrap()), ["primary"]);
    let route = |name: &str| name.parse::<ReplicaName>().unwrap();
    for (expected, routed) in
        [("eu", None), ("us", Some("us")), ("eu", Some("eu")), ("primary", Some("primary"))]
    {
        let scope = LineageScope::new();
        if let Some(routed) = routed {
            scope.set_route("posts".parse().unwrap(), route(routed));
        }
        scope
            .run(async {
                posts.find_one(doc! {}).await.unwrap();
                posts.find(doc! {}).await.unwrap().try_collect::<Vec<_>>().await.unwrap();
                posts
                    .aggregate([doc! { "$match": {} }])
                    .await
                    .unwrap()
                    .try_collect::<Vec<_>>()
                    .await
                    .unwrap();
                posts.count_documents(doc! {}).await.unwrap();
                posts.distinct("a", doc! {}).await.unwrap();
                drop(posts.watch().await.unwrap());
            })
            .await;
        assert_eq!(std::mem::take(&mut *heard.lock().unwrap()), vec![expected; 6]);
        // What writes, and what is in a session, goes to the primary.
        scope
            .run(async {
                let mut session = store.start_session().await.unwrap();
                posts.find_one(doc! {}).session(&mut session).await.unwrap();
                posts.find_one_and_update(doc! {}, doc! { "$inc": { "a": 1 } }).await.unwrap();
                drop(posts.aggregate([doc! { "$out": "copy" }]).await.unwrap());
            })
            .await;
        assert_eq!(std::mem::take(&mut *heard.lock().unwrap()), vec!["primary"; 3]);
        let _ = scope.settled().await;
        heard.lock().unwrap().clear();
    }
    let scope = LineageScope::new();
    scope.set_route("posts".parse().unwrap(), route("asia"));
    let error = scope.run(posts.find_one(doc! {}).into_future()).await.unwrap_err();
    let error = error.get_custom::<antipode_mongodb::Error>().unwrap().to_string();
    assert!(error.contains("no replica asia"), "{error}");
}

#[tokio::test]
async fn a_read_preference_leads_no_read_past_the_barrier() {
    let set = set::start(1).await;
    let preferences = Heard::default();
    let mut options = ClientOptions::parse(set.topology.url()).await.unwrap();
    let heard = Arc::clone(&preferences);
    options.command_event_handler = Some(EventHandler::callback(move |event| {
        if let CommandEvent::Started(event) = event
            && let Ok(preference) = event.command.get_document("$readPreference")
        {
            heard.lock().unwrap().push(format!("{}: {preference}", event.command_name));
        }
    }));
    let client = Client::with_options(options).unwrap();
    let secondary = || SelectionCriteria::ReadPreference(ReadPreference::Secondary { options: None });
    let store = MongoStore::builder("posts").primary(client.clone()).build().unwrap();
    let options = CollectionOptions::builder().selection_criteria(secondary()).build();
    let posts = store.database("app").collection_with_options::<Document>("posts", options);
    let find_one = FindOneOptions::builder().selection_criteria(secondary()).build();
    let find = FindOptions::builder().selection_criteria(secondary()).build();
    let count = CountOptions::builder().selection_criteria(secondary()).build();
    let aggregate = AggregateOptions::builder().selection_criteria(secondary()).build();
    let distinct = DistinctOptions::builder().selection_criteria(secondary()).build();
    let watch = ChangeStreamOptions::builder().selection_criteria(secondary()).build();
    LineageScope::new()
        .run(async {
            posts.insert_one(doc! { "_id": 1 }).await.unwrap();
            posts.find_one(doc! {}).with_options(find_one).await.unwrap().unwrap();
            posts.find(doc! {}).with_options(find).await.unwrap();
            posts.count_documents(doc! {}).with_options(count).await.unwrap();
            posts.aggregate([]).with_options(aggregate).await.unwrap();
            posts.distinct("_id", doc! {}).with_options(distinct).await.unwrap();
            posts.watch().with_options(watch).await.unwrap();
        })
        .await;
    assert_eq!(*preferences.lock().unwrap(), Vec::<String>::new());
    let other = client.database("app").collection::<Document>("posts");
    let other = other.find_one(doc! {}).selection_criteria(secondary());
    other.await.unwrap();
    assert_eq!(preferences.lock().unwrap().len(), 1, "that is how it would show");
}
