//! Full synchronisations: the first replica of a primary, a replica that lost its place.

use std::time::Duration;

use antipode_barrier::Registry;
use antipode_docker::{Member, RedisOptions};
use antipode_lineage::LineageScope;
use antipode_redis::redis::AsyncCommands;

use crate::stage::{PATIENCE, Stage, barrier, glance, peek, placed, registry};

#[tokio::test]
async fn a_primary_without_replicas_gives_no_positions_and_reads_its_own_writes() {
    let stage = Stage::with(RedisOptions::default().replicas(0)).await;
    let scope = LineageScope::new();
    let mut posts = stage.store.connection().await.unwrap().within(scope.clone());
    let () = posts.set("post", "hello").await.unwrap();
    let write = placed(&scope);
    assert!(write.is_unplaced(), "{write}: an offset that does not count would pass before its write");
    barrier(&registry(&stage.store).await, write).await.unwrap();
}

/// The first replica changes the replication id, and its first synchronisation contains the write.
#[tokio::test]
async fn a_write_before_the_first_replica_is_waited_for_at_that_replica() {
    let stage = Stage::with(RedisOptions::default().replicas(1)).await;
    let store = stage.reading(&[0]);
    let registry = registry(&store).await;
    stage.topology.replica(0).stop().await.unwrap();
    stage.topology.primary().restart().await.unwrap();
    let before = stage.info(stage.topology.primary(), "master_replid").await;
    let scope = LineageScope::new();
    let mut posts = store.connection().await.unwrap().within(scope.clone());
    let () = posts.set("post", "hello").await.unwrap();
    assert!(placed(&scope).is_unplaced(), "{}", placed(&scope));

    stage.topology.rejoin_as_replica(Member::Replica(0), Member::Primary).await.unwrap();
    assert_ne!(stage.info(stage.topology.primary(), "master_replid").await, before);
    barrier(&registry, placed(&scope)).await.unwrap();
    let post: Option<String> = peek(stage.topology.replica(0), "post").await;
    assert_eq!(post.as_deref(), Some("hello"));
}

/// The replica loses its place and must take all of the data anew, while barriers wait for it.
#[tokio::test]
async fn a_barrier_does_not_pass_while_the_replica_takes_all_data_anew() {
    // A backlog of its least size, so that a cut-off replica falls out of it.
    let small = RedisOptions::default().replicas(1).setting("repl-backlog-size", "16kb");
    let small = small.setting("rdb-key-save-delay", "200").setting("repl-timeout", "60");
    let stage = Stage::with(small).await;
    let registry = registry(&stage.store).await;
    let mut primary = stage.raw().await;
    for index in 0..2_000 {
        let () = primary.set(format!("ballast.{index}"), index).await.unwrap();
    }
    let scope = LineageScope::new();
    let mut posts = stage.store.connection().await.unwrap().within(scope.clone());
    for round in 0..3 {
        let syncs: u64 = stage.info(stage.topology.primary(), "sync_full").await.parse().unwrap();
        stage.topology.link(0).cut();
        let () = primary.set("ballast", "x".repeat(1_000_000)).await.unwrap();
        let value = format!("round {round}");
        let () = posts.set("post", &value).await.unwrap();
        let write = placed(&scope);
        let waiting = tokio::spawn({
            let registry = registry.clone();
            async move { barrier(&registry, write).await.map(|_| ()) }
        });
        stage.topology.link(0).heal();
        waiting.await.unwrap().unwrap();
        // Whatever is asked right after the barrier sees the write, or is refused while data loads.
        let seen: Option<String> = peek(stage.topology.replica(0), "post").await;
        assert_eq!(seen.as_ref(), Some(&value));
        let now: u64 = stage.info(stage.topology.primary(), "sync_full").await.parse().unwrap();
        assert!(now > syncs, "round {round}: the replica did not fall out of the backlog");
    }
}

/// A replica that comes back empty must not be taken for what it was.
#[tokio::test]
async fn a_barrier_waits_for_a_replica_that_comes_back_empty() {
    let stage = Stage::with(RedisOptions::default().replicas(1).setting("rdb-key-save-delay", "200")).await;
    let registry = Registry::builder().store(stage.store.clone()).deadline(PATIENCE);
    let registry = registry.frontier_ttl(Duration::ZERO).build().await.unwrap();
    let mut primary = stage.raw().await;
    for index in 0..1_000 {
        let () = primary.set(format!("ballast.{index}"), index).await.unwrap();
    }
    let scope = LineageScope::new();
    let mut posts = stage.store.connection().await.unwrap().within(scope.clone());
    let () = posts.set("post", "hello").await.unwrap();
    let write = placed(&scope);
    barrier(&registry, write).await.unwrap();

    let replica = stage.topology.replica(0);
    stage.topology.link(0).hang();
    replica.kill().await.unwrap();
    let _ = glance(&registry, write).await;
    replica.restart().await.unwrap();
    let empty: Option<String> = peek(replica, "post").await;
    assert_eq!(empty, None);
    assert!(!glance(&registry, write).await.is_indeterminate());

    let waiting = tokio::spawn(async move { barrier(&registry, write).await.map(|_| ()) });
    stage.topology.link(0).heal();
    waiting.await.unwrap().unwrap();
    let seen: Option<String> = peek(replica, "post").await;
    assert_eq!(seen.as_deref(), Some("hello"));
}

/// A server that reads its data back is not yet in any history.
#[tokio::test]
async fn a_barrier_waits_for_a_primary_that_reads_its_data_back() {
    let options = RedisOptions::default().replicas(1).setting("save", "3600 1");
    // A quarter of a second to read back, answering all the while.
    let options =
        options.setting("key-load-delay", "500").setting("loading-process-events-interval-bytes", "1024");
    let stage = Stage::with(options).await;
    let store = stage.reading(&[]);
    let registry = Registry::builder().store(store.clone()).deadline(PATIENCE).frontier_ttl(Duration::ZERO);
    let registry = registry.build().await.unwrap();
    let mut primary = stage.raw().await;
    for index in 0..500 {
        let () = primary.set(format!("ballast.{index}"), "x".repeat(100)).await.unwrap();
    }
    let scope = LineageScope::new();
    let mut posts = store.connection().await.unwrap().within(scope.clone());
    let () = posts.set("post", "hello").await.unwrap();
    let write = placed(&scope);
    assert!(!write.is_unplaced());
    stage.topology.primary().restart().await.unwrap();
    barrier(&registry, write).await.unwrap();
    let post: Option<String> = peek(stage.topology.primary(), "post").await;
    assert_eq!(post.as_deref(), Some("hello"));
}
