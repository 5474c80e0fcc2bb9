//! Where the lineage is stored, and who sees it.

use antipode_lineage::{Lineage, LineageScope, StoreName, WriteId};
use antipode_mongodb::mongodb::bson::{Bson, Document, doc};
use antipode_mongodb::mongodb::options::ReturnDocument;
use antipode_mongodb::{LINEAGE_FIELD, MongoCollection};
use futures_util::TryStreamExt;
use serde::{Deserialize, Serialize};

use crate::set;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Post {
    #[serde(rename = "_id")]
    id: i32,
    text: String,
    #[serde(default)]
    likes: i32,
}

fn post(id: i32) -> Post {
    Post { id, text: "hello".to_owned(), likes: 0 }
}

fn of(store: &str) -> WriteId {
    WriteId::unplaced(StoreName::parse(store).unwrap())
}

/// A scope that depends on a write to this store.
fn after(store: &str) -> LineageScope {
    LineageScope::from(Lineage::from(of(store)))
}

/// The stores that the document's lineage names, besides its own.
async fn stored(posts: &MongoCollection<Post>, id: i32) -> Vec<String> {
    let posts = posts.inner().clone_with_type::<Document>();
    let document = posts.find_one(doc! { "_id": id }).await.unwrap().unwrap();
    let Some(Bson::Document(fields)) = document.get(LINEAGE_FIELD) else { return Vec::new() };
    let stores = fields.keys().map(|field| field.split('/').next().unwrap().to_owned());
    stores.filter(|store| store != "posts").collect()
}

/// The stores that a read of the document depends on, besides its own.
async fn read(posts: &MongoCollection<Post>, id: i32) -> Vec<String> {
    let scope = LineageScope::new();
    scope.run(posts.find_one(doc! { "_id": id }).into_future()).await.unwrap().unwrap();
    dependencies(&scope).await
}

async fn dependencies(scope: &LineageScope) -> Vec<String> {
    let lineage = scope.settled().await;
    let posts = StoreName::parse("posts").unwrap();
    assert!(!lineage.of_store(posts).is_empty(), "there is always a place in the store itself");
    lineage
        .writes()
        .iter()
        .filter(|write| write.store != posts)
        .map(|write| write.store.to_string())
        .collect()
}

#[tokio::test]
async fn inserts_and_replacements_store_it_and_readers_join_it() {
    let set = set::start(0).await;
    let posts = set.collection::<Post>();
    after("a").run(posts.insert_one(post(1)).into_future()).await.unwrap();
    after("a").run(posts.insert_many([post(2), post(3)]).into_future()).await.unwrap();
    for id in 1..=3 {
        assert_eq!(stored(&posts, id).await, ["a"]);
        assert_eq!(read(&posts, id).await, ["a"]);
    }
    after("b").run(posts.replace_one(doc! { "_id": 1 }, post(1)).into_future()).await.unwrap();
    assert_eq!(stored(&posts, 1).await, ["b"], "nothing of the old value is left");
    let replaced = posts.find_one_and_replace(doc! { "_id": 2 }, post(2));
    let scope = after("b");
    scope.run(replaced.into_future()).await.unwrap().unwrap();
    assert_eq!(stored(&posts, 2).await, ["b"]);
    assert_eq!(dependencies(&scope).await, ["a", "b"], "the old value was read");
    let upserted = posts.replace_one(doc! { "_id": 4 }, post(4)).upsert(true);
    after("b").run(upserted.into_future()).await.unwrap();
    assert_eq!(read(&posts, 4).await, ["b"]);
}

#[tokio::test]
async fn a_partial_update_joins() {
    let set = set::start(0).await;
    let posts = set.collection::<Post>();
    after("a").run(posts.insert_one(post(1)).into_future()).await.unwrap();
    let one = || doc! { "_id": 1 };
    after("b").run(posts.update_one(one(), doc! { "$set": { "likes": 1 } }).into_future()).await.unwrap();
    assert_eq!(stored(&posts, 1).await, ["a", "b"]);
    after("c").run(posts.update_many(doc! {}, doc! { "$max": { "likes": 2 } }).into_future()).await.unwrap();
    assert_eq!(stored(&posts, 1).await, ["a", "b", "c"]);
    let scope = after("d");
    let found = posts.find_one_and_update(one(), doc! { "$inc": { "likes": 1 } });
    let found = scope.run(found.return_document(ReturnDocument::After).into_future()).await.unwrap().unwrap();
    assert_eq!(found.likes, 3);
    assert_eq!(stored(&posts, 1).await, ["a", "b", "c", "d"]);
    assert_eq!(dependencies(&scope).await, ["a", "b", "c", "d"]);
    let upserted = posts.update_one(doc! { "_id": 5 }, doc! { "$set": { "text": "new" } }).upsert(true);
    after("e").run(upserted.into_future()).await.unwrap();
    assert_eq!(stored(&posts, 5).await, ["e"]);
    // A greater position stays, whoever writes last.
    let earlier = WriteId { position: antipode_lineage::Position(1), ..of("e") };
    let scope = LineageScope::from(Lineage::from(earlier));
    scope
        .run(posts.update_one(doc! { "_id": 5 }, doc! { "$set": { "likes": 9 } }).into_future())
        .await
        .unwrap();
    let scope = LineageScope::new();
    scope.run(posts.find_one(doc! { "_id": 5 }).into_future()).await.unwrap();
    assert!(scope.settled().await.covers_write(&of("e")));
}

#[tokio::test]
async fn an_update_by_pipeline_joins_whatever_its_stages_take_away() {
    let set = set::start(0).await;
    let posts = set.collection::<Post>();
    let pipelines = [
        vec![doc! { "$set": { "likes": 1 } }],
        vec![doc! { "$unset": "likes" }],
        vec![doc! { "$project": { "text": 1 } }],
        vec![doc! { "$replaceWith": { "_id": "$_id", "text": "$text" } }],
        vec![doc! { "$replaceRoot": { "newRoot": { "_id": "$_id", "text": "$text" } } }],
    ];
    for (id, pipeline) in (1..).zip(pipelines) {
        after("a").run(posts.insert_one(post(id)).into_future()).await.unwrap();
        after("b").run(posts.update_one(doc! { "_id": id }, pipeline.clone()).into_future()).await.unwrap();
        assert_eq!(stored(&posts, id).await, ["a", "b"], "{pipeline:?}");
        assert_eq!(read(&posts, id).await, ["a", "b"]);
    }
    // A document that had none.
    posts.inner().insert_one(post(9)).await.unwrap();
    let replace = vec![doc! { "$replaceWith": { "_id": "$_id", "text": "other" } }];
    after("b").run(posts.update_one(doc! { "_id": 9 }, replace).into_future()).await.unwrap();
    assert_eq!(stored(&posts, 9).await, ["b"]);
}

#[tokio::test]
async fn projections_hide_it_from_the_user_and_not_from_the_shim() {
    let set = set::start(0).await;
    let posts = set.collection::<Post>().clone_with_type::<Document>();
    after("a")
        .run(posts.insert_one(doc! { "_id": 1, "text": "t", "tags": [1, 2] }).into_future())
        .await
        .unwrap();
    for projection in [
        doc! { "text": 1 },
        doc! { "_id": 1 },
        doc! { "_id": 0 },
        doc! { "text": 0 },
        doc! { "tags": { "$slice": 1 } },
        doc! { "_id": 1, "tags": { "$slice": 1 } },
        doc! { "_id": 0, "tags": { "$slice": 1 } },
        doc! { "tags": { "$elemMatch": { "$gt": 1 } } },
        doc! { "other": "$text" },
        doc! { "text": { "$toUpper": "$text" } },
    ] {
        let plain = posts.inner().find_one(doc! {}).projection(projection.clone()).await.unwrap().unwrap();
        let plain: Document = plain.into_iter().filter(|(name, _)| name != LINEAGE_FIELD).collect();
        let scope = LineageScope::new();
        let found = posts.find_one(doc! {}).projection(projection.clone());
        assert_eq!(scope.run(found.into_future()).await.unwrap().unwrap(), plain, "{projection}");
        assert_eq!(dependencies(&scope).await, ["a"], "{projection}");
        let updated = posts.find_one_and_update(doc! {}, doc! { "$set": { "text": "t" } });
        let scope = LineageScope::new();
        let updated = scope.run(updated.projection(projection.clone()).into_future()).await.unwrap().unwrap();
        assert_eq!(updated, plain, "{projection}");
        assert_eq!(dependencies(&scope).await, ["a"], "{projection}");
    }
}

#[tokio::test]
async fn writers_and_readers_without_the_shim_go_on_as_before() {
    let set = set::start(0).await;
    let posts = set.collection::<Post>();
    after("a").run(posts.insert_one(post(1)).into_future()).await.unwrap();
    posts.inner().update_one(doc! { "_id": 1 }, doc! { "$set": { "likes": 7 } }).await.unwrap();
    assert_eq!(read(&posts, 1).await, ["a"], "the old part of the value is still there");
    posts.inner().replace_one(doc! { "_id": 1 }, post(1)).await.unwrap();
    assert!(read(&posts, 1).await.is_empty());
    #[derive(Deserialize)]
    struct Lenient {
        text: String,
    }
    after("a").run(posts.insert_one(post(2)).into_future()).await.unwrap();
    let lenient = posts.inner().clone_with_type::<Lenient>();
    assert_eq!(lenient.find_one(doc! { "_id": 2 }).await.unwrap().unwrap().text, "hello");
}

#[tokio::test]
async fn what_cannot_be_read_stands_for_everything() {
    let set = set::start(0).await;
    let posts = set.collection::<Post>();
    let damaged = doc! { "_id": 1, "text": "t", LINEAGE_FIELD: { "posts": "nonsense" } };
    posts.inner().clone_with_type().insert_one(damaged).await.unwrap();
    let scope = LineageScope::new();
    let found: Vec<Post> =
        scope.run(async { posts.find(doc! {}).await.unwrap().try_collect().await.unwrap() }).await;
    assert_eq!(found.len(), 1);
    assert!(scope.lineage().has_overflowed());
}

#[tokio::test]
async fn deletions_take_it_along_and_finding_nothing_is_a_read_as_well() {
    let set = set::start(0).await;
    let posts = set.collection::<Post>();
    after("a").run(posts.insert_many([post(1), post(2)]).into_future()).await.unwrap();
    let scope = LineageScope::new();
    let deleted = scope.run(posts.find_one_and_delete(doc! { "_id": 1 }).into_future()).await.unwrap();
    assert_eq!(deleted, Some(post(1)));
    assert_eq!(dependencies(&scope).await, ["a"]);
    let scope = LineageScope::new();
    scope.run(posts.delete_many(doc! {}).into_future()).await.unwrap();
    assert!(dependencies(&scope).await.is_empty());
    let scope = LineageScope::new();
    assert_eq!(scope.run(posts.find_one(doc! {}).into_future()).await.unwrap(), None);
    assert!(dependencies(&scope).await.is_empty());
    let scope = LineageScope::new();
    assert_eq!(scope.run(posts.count_documents(doc! {}).into_future()).await.unwrap(), 0);
    assert!(dependencies(&scope).await.is_empty());
}

#[tokio::test]
async fn keys_of_an_index_depend_on_everything() {
    let set = set::start(0).await;
    let posts = set.collection::<Document>();
    after("a").run(posts.insert_one(doc! { "_id": 1 }).into_future()).await.unwrap();
    let scope = LineageScope::new();
    let keys = posts.find_one(doc! { "_id": 1 }).return_key(true).projection(doc! { "_id": 1 });
    assert!(scope.run(keys.into_future()).await.unwrap().is_some());
    assert!(scope.lineage().has_overflowed());
}

#[tokio::test]
async fn an_aggregation_joins_what_its_documents_carry_or_depends_on_everything() {
    let set = set::start(0).await;
    let posts = set.collection::<Post>();
    after("a").run(posts.insert_many([post(1), post(2)]).into_future()).await.unwrap();
    let scope = LineageScope::new();
    let keeping = [doc! { "$match": { "_id": 1 } }, doc! { "$project": { "text": 1, "likes": 1 } }];
    let found: Vec<Post> = scope
        .run(async { posts.aggregate(keeping).with_type().await.unwrap().try_collect().await.unwrap() })
        .await;
    assert_eq!(found, [post(1)]);
    assert_eq!(dependencies(&scope).await, ["a"]);
    let scope = LineageScope::new();
    let grouping = [doc! { "$group": { "_id": null, "likes": { "$sum": "$likes" } } }];
    let found: Vec<Document> =
        scope.run(async { posts.aggregate(grouping).await.unwrap().try_collect().await.unwrap() }).await;
    assert_eq!(found, [doc! { "_id": null, "likes": 0 }]);
    assert!(scope.lineage().has_overflowed());
    let scope = LineageScope::new();
    let texts = scope.run(posts.distinct("text", doc! {}).into_future()).await.unwrap();
    assert_eq!(texts, [Bson::from("hello")]);
    assert!(scope.lineage().has_overflowed());
}
