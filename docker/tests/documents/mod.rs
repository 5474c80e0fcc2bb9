//! Documents of MongoDB servers, by the plain driver.
#![allow(clippy::unwrap_used, dead_code, reason = "a test fails by it; not all use all")]

use std::time::{Duration, Instant};

use antipode_docker::{MongoNode, MongoTopology};
use mongodb::{
    Client, Collection,
    bson::{Document, doc},
    error::Result,
    options::{Acknowledgment, WriteConcern},
};

pub(crate) async fn documents(url: &str) -> Collection<Document> {
    Client::with_uri_str(url).await.unwrap().database("test").collection("documents")
}

/// Acknowledged by the primary alone.
pub(crate) async fn put(url: &str, id: i32) -> Result<()> {
    let one = WriteConcern::builder().w(Acknowledgment::Nodes(1)).build();
    documents(url).await.insert_one(doc! { "_id": id }).write_concern(one).await.map(drop)
}

/// Acknowledged by a majority, within 20 s.
pub(crate) async fn put_for_good(topology: &MongoTopology, id: i32) {
    let majority = WriteConcern::builder().w(Acknowledgment::Majority);
    let majority = majority.w_timeout(Duration::from_secs(20)).build();
    documents(topology.url()).await.insert_one(doc! { "_id": id }).write_concern(majority).await.unwrap();
}

pub(crate) async fn has(node: &MongoNode, id: i32) -> bool {
    documents(&node.url()).await.find_one(doc! { "_id": id }).await.is_ok_and(|found| found.is_some())
}

/// Waits until the server has the document.
pub(crate) async fn shows(node: &MongoNode, id: i32) {
    let documents = documents(&node.url()).await;
    let deadline = Instant::now() + Duration::from_secs(30);
    while !documents.find_one(doc! { "_id": id }).await.is_ok_and(|found| found.is_some()) {
        assert!(Instant::now() < deadline, "{} does not come to show {id}: {}", node.name(), node.log());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
