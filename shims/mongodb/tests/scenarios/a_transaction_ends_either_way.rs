//! What a transaction leaves in the lineage.

use std::time::Duration;

use antipode_lineage::{Lineage, LineageScope, StoreName, WriteId};
use antipode_mongodb::mongodb::bson::{Document, doc};
use antipode_mongodb::mongodb::error::TRANSIENT_TRANSACTION_ERROR;
use antipode_mongodb::mongodb::options::{Acknowledgment, TransactionOptions, WriteConcern};
use antipode_mongodb::{LINEAGE_FIELD, MongoCollection};

use crate::set;

fn name(store: &str) -> StoreName {
    StoreName::parse(store).unwrap()
}

fn after(store: &str) -> LineageScope {
    LineageScope::from(Lineage::from(WriteId::unplaced(name(store))))
}

async fn own(scope: &LineageScope) -> Vec<WriteId> {
    scope.settled().await.of_store(name("posts")).to_vec()
}

/// A collection with a document in it: transactions need one that is there.
async fn posts(set: &set::Set) -> MongoCollection<Document> {
    let posts = set.collection();
    posts.inner().insert_one(doc! { "_id": 0, "likes": 0 }).await.unwrap();
    posts
}

#[tokio::test]
async fn a_commit_places_what_was_written_in_it() {
    let set = set::start(0).await;
    let posts = posts(&set).await;
    let scope = after("a");
    let mut session = set.store.start_session().await.unwrap();
    scope
        .run(async {
            session.start_transaction().await.unwrap();
            posts.insert_one(doc! { "_id": 1 }).session(&mut session).await.unwrap();
            posts
                .update_one(doc! { "_id": 0 }, doc! { "$inc": { "likes": 1 } })
                .session(&mut session)
                .await
                .unwrap();
        })
        .await;
    assert!(own(&scope).await.is_empty(), "nothing is written yet");
    session.commit_transaction().await.unwrap();
    let placed = own(&scope).await;
    assert!(placed.len() == 1 && !placed[0].is_unplaced(), "{placed:?}");
    assert!(!scope.lineage().is_weak());
    for id in [0, 1] {
        let document = posts.inner().find_one(doc! { "_id": id }).await.unwrap().unwrap();
        assert!(document.get_document(LINEAGE_FIELD).unwrap().contains_key("a/0/0/0"));
    }
    // The session goes on to another operation.
    let scope = LineageScope::new();
    let insert = posts.insert_one(doc! { "_id": 2 }).session(&mut session);
    scope.run(insert.into_future()).await.unwrap();
    assert!(own(&scope).await[0].position > placed[0].position);
}

#[tokio::test]
async fn an_abort_leaves_nothing_but_what_was_read() {
    let set = set::start(0).await;
    let posts = posts(&set).await;
    let read = after("a");
    read.run(posts.insert_one(doc! { "_id": 1 }).into_future()).await.unwrap();
    let scope = LineageScope::new();
    let mut session = set.store.start_session().await.unwrap();
    scope
        .run(async {
            session.start_transaction().await.unwrap();
            posts.insert_one(doc! { "_id": 2 }).session(&mut session).await.unwrap();
            session.abort_transaction().await.unwrap();
        })
        .await;
    assert_eq!(scope.settled().await, Lineage::new());
    scope
        .run(async {
            session.start_transaction().await.unwrap();
            let found = posts.find_one(doc! { "_id": 1 }).session(&mut session).await.unwrap();
            assert_eq!(found, Some(doc! { "_id": 1 }));
            let mut all = posts.find(doc! {}).session(&mut session).await.unwrap();
            while all.next(&mut session).await.transpose().unwrap().is_some() {}
            assert_eq!(posts.count_documents(doc! {}).session(&mut session).await.unwrap(), 2);
            session.abort_transaction().await.unwrap();
        })
        .await;
    assert!(scope.settled().await.covers(&Lineage::from(WriteId::unplaced(name("a")))));
    assert!(!own(&scope).await.is_empty());
    // One that is forgotten is aborted by the driver.
    let scope = LineageScope::new();
    session.start_transaction().await.unwrap();
    let insert = posts.insert_one(doc! { "_id": 3 }).session(&mut session);
    scope.run(insert.into_future()).await.unwrap();
    drop(session);
    assert_eq!(scope.settled().await, Lineage::new());
}

#[tokio::test]
async fn a_conflict_leaves_nothing() {
    let set = set::start(0).await;
    let posts = posts(&set).await;
    let (mut first, mut second) =
        (set.store.start_session().await.unwrap(), set.store.start_session().await.unwrap());
    let scope = LineageScope::new();
    let increment = || posts.update_one(doc! { "_id": 0 }, doc! { "$inc": { "likes": 1 } });
    first.start_transaction().await.unwrap();
    second.start_transaction().await.unwrap();
    increment().session(&mut first).await.unwrap();
    let lost = scope.run(increment().session(&mut second).into_future()).await.unwrap_err();
    assert!(lost.contains_label(TRANSIENT_TRANSACTION_ERROR), "{lost}");
    first.commit_transaction().await.unwrap();
    let refused = second.commit_transaction().await.unwrap_err();
    assert!(refused.contains_label(TRANSIENT_TRANSACTION_ERROR), "{refused}");
    assert_eq!(scope.settled().await, Lineage::new());
}

#[tokio::test]
async fn a_commit_of_unknown_outcome_is_unplaced() {
    let set = set::start(0).await;
    let posts = posts(&set).await;
    let proxied = set.proxied().await;
    let through =
        proxied.store.database(posts.inner().namespace().db.as_str()).collection::<Document>("posts");
    let scope = LineageScope::new();
    let mut session = proxied.store.start_session().await.unwrap();
    session.start_transaction().await.unwrap();
    scope.run(through.insert_one(doc! { "_id": 1 }).session(&mut session).into_future()).await.unwrap();
    proxied.link.hang();
    let gone = tokio::time::timeout(Duration::from_millis(300), session.commit_transaction()).await;
    assert!(gone.is_err());
    assert!(own(&scope).await.iter().any(WriteId::is_unplaced), "it may have been committed");
    // The user asks again, as without the shim.
    proxied.link.heal();
    session.commit_transaction().await.unwrap();
    assert_eq!(posts.inner().count_documents(doc! {}).await.unwrap(), 2);
}

#[tokio::test]
async fn a_transaction_that_waits_for_one_member_is_weak() {
    let set = set::start(0).await;
    let posts = posts(&set).await;
    let one = || WriteConcern::builder().w(Acknowledgment::Nodes(1)).build();
    let defaults = TransactionOptions::builder().write_concern(one()).build();
    let mut of_the_session = set.store.start_session().default_transaction_options(defaults).await.unwrap();
    of_the_session.start_transaction().await.unwrap();
    let mut of_its_own = set.store.start_session().await.unwrap();
    of_its_own.start_transaction().write_concern(one()).await.unwrap();
    for (id, mut session) in [(1, of_the_session), (2, of_its_own)] {
        let scope = LineageScope::new();
        scope.run(posts.insert_one(doc! { "_id": id }).session(&mut session).into_future()).await.unwrap();
        assert!(!scope.lineage().is_weak());
        session.commit_transaction().await.unwrap();
        assert!(scope.lineage().is_weak());
    }
}
