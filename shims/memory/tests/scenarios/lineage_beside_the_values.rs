//! What is stored beside a value, what a read takes along, and what a topic hands out.

use std::time::Duration;

use antipode_barrier::OnMissing;
use antipode_lineage::{LineageScope, StoreName, WriteId};
use antipode_memory::{Lag, MemoryError, MemoryStore};
use tokio::time::advance;

const LAG: Duration = Duration::from_millis(100);

fn posts() -> MemoryStore {
    MemoryStore::builder("posts").region("us").lagging("eu", Lag::of(LAG)).build().unwrap()
}

/// A scope that depends on a write to a store of this name.
fn depending_on(store: &str) -> LineageScope {
    let scope = LineageScope::new();
    scope.add(WriteId::unplaced(StoreName::parse(store).unwrap()));
    scope
}

fn depends_on(scope: &LineageScope, store: &str) -> bool {
    !scope.lineage().of_store(StoreName::parse(store).unwrap()).is_empty()
}

#[tokio::test(start_paused = true)]
async fn an_append_joins_and_a_put_replaces() {
    let posts = posts();
    let writer = |store| posts.shim().within(depending_on(store));
    let read = async || {
        let reader = LineageScope::new();
        let at_primary = posts.reading_from(["us"]).unwrap().shim().within(reader.clone());
        at_primary.get("a").await.unwrap();
        ["x", "y", "z"].map(|store| depends_on(&reader, store))
    };
    writer("x").put("a", "1").await.unwrap();
    writer("y").append("a", "2").await.unwrap();
    assert_eq!(read().await, [true, true, false]);
    writer("z").put("a", "3").await.unwrap();
    assert_eq!(read().await, [false, false, true], "nothing of the old value is left");
    writer("x").delete("a").await.unwrap();
    assert_eq!(read().await, [false, false, false], "neither is its lineage");
}

#[tokio::test(start_paused = true)]
async fn a_read_takes_its_write_along_wherever_it_reads() {
    let posts = posts();
    let old = posts.shim().within(LineageScope::new()).put("a", "old").await.unwrap();
    advance(LAG).await;
    let new = posts.shim().within(LineageScope::new()).put("a", "new").await.unwrap();
    for (region, write) in [("eu", old), ("us", new), ("primary", new)] {
        let reader = LineageScope::new();
        let shim = posts.reading_from([region]).unwrap().shim().within(reader.clone());
        shim.get("a").await.unwrap().unwrap();
        assert_eq!(reader.lineage(), write.into(), "{region}");
        shim.get("nothing").await.unwrap();
        assert_eq!(reader.lineage(), write.into(), "{region}: nothing as of then");
    }
}

#[tokio::test(start_paused = true)]
async fn a_transaction_is_one_write_and_builds_on_itself() {
    let posts = posts();
    let scope = LineageScope::new();
    let shim = posts.shim().within(scope.clone());
    let transaction = shim.transaction().put("a", "1").append("a", "2").put("b", "1").delete("b");
    let write = transaction.commit().await.unwrap();
    assert_eq!((scope.lineage(), write.position.0), (write.into(), 1));
    assert_eq!(posts.peek("us", "a").unwrap().as_deref(), Some(&b"12"[..]));
    advance(LAG).await;
    assert_eq!(posts.peek("eu", "a").unwrap().as_deref(), Some(&b"12"[..]));
    assert_eq!(posts.peek("eu", "b").unwrap(), None);
    drop(shim.transaction().put("a", "dropped"));
    assert_eq!(posts.peek("us", "a").unwrap().as_deref(), Some(&b"12"[..]));
}

#[tokio::test(start_paused = true)]
async fn a_tail_hands_out_each_change_with_its_writers_lineage() {
    let posts = posts();
    posts.shim().within(LineageScope::new()).put("before", "x").await.unwrap();
    advance(LAG).await;
    let mut tail = posts.tail("eu").unwrap();
    let writer = posts.shim().within(depending_on("x"));
    writer.transaction().put("a", "1").delete("before").commit().await.unwrap();
    assert!(tokio::time::timeout(LAG / 2, tail.next()).await.is_err(), "not there yet");
    let (put, delete) = (tail.next().await.unwrap(), tail.next().await.unwrap());
    assert_eq!((&*put.key, put.value.as_deref()), ("a", Some(&b"1"[..])));
    assert_eq!((&*delete.key, delete.value.as_deref()), ("before", None));
    for notice in [put, delete] {
        assert!(depends_on(&notice.scope(), "x") && depends_on(&notice.scope(), "posts"), "{notice:?}");
    }
}

#[tokio::test]
async fn an_operation_outside_of_a_lineage_is_counted_or_refused() {
    let posts = posts();
    posts.shim().put("a", "1").await.unwrap();
    posts.shim().get("a").await.unwrap();
    assert_eq!(posts.missed(), 2);
    let strict = MemoryStore::builder("posts").region("us").on_missing(OnMissing::Error).build().unwrap();
    assert!(matches!(strict.shim().put("a", "1").await, Err(MemoryError::MissingLineage(_))));
    assert_eq!(strict.peek("us", "a").unwrap(), None, "nothing was written");
}
