//! Failovers: with and without loss, twice, and from the view of a replica that lagged.

use antipode_docker::Member;
use antipode_lineage::{LineageScope, WriteId};
use antipode_redis::RedisStore;
use antipode_redis::redis::AsyncCommands;

use crate::stage::{Stage, barrier, client, peek, placed, registry, replicas, store};

/// Writes through the shim, in a scope of its own.
async fn write(store: &RedisStore, key: &str, value: &str) -> WriteId {
    let scope = LineageScope::new();
    let mut posts = store.connection().await.unwrap().within(scope.clone());
    let () = posts.set(key, value).await.unwrap();
    placed(&scope)
}

impl Stage {
    /// The store as it is configured after replica 0 took over.
    fn after_failover(&self, reading: &[usize]) -> RedisStore {
        store(self.topology.replica(0), &replicas(&self.topology, reading))
    }

    /// Waits until a replica has applied a write.
    async fn settle(&self, replica: usize, write: WriteId) {
        barrier(&registry(&self.reading(&[replica])).await, write).await.unwrap();
    }
}

#[tokio::test]
async fn a_write_that_the_failover_lost_is_lost_however_many_follow() {
    let stage = Stage::start().await;
    let kept = write(&stage.store, "kept", "1").await;
    stage.settle(0, kept).await;
    stage.settle(1, kept).await;
    stage.topology.link(0).hang();
    stage.topology.link(1).hang();
    let lost = write(&stage.store, "lost", "1").await;
    assert_eq!(lost.epoch, kept.epoch);
    stage.topology.primary().kill().await.unwrap();
    stage.topology.promote(0).await.unwrap();

    let promoted = stage.topology.replica(0);
    let (replid, replid2, end) = (
        stage.info(promoted, "master_replid").await,
        stage.info(promoted, "master_replid2").await,
        stage.info(promoted, "second_repl_offset").await,
    );
    println!("captured {lost}; new history: {replid}, which left {replid2} before {end}");
    assert!(replid2.starts_with(&format!("{:016x}", lost.epoch.history)));
    assert!(lost.position.0 >= end.parse().unwrap());

    let after = stage.after_failover(&[]);
    let registry = registry(&after).await;
    barrier(&registry, kept).await.unwrap();
    // A bare offset would pass from here on: the new history has gone past it.
    let later = write(&after, "later", &"x".repeat(1_000)).await;
    assert!(later.position > lost.position && later.epoch != lost.epoch);
    let error = barrier(&registry, lost).await.unwrap_err();
    println!("{error}");
    assert!(error.is_lost(), "{error}");
    let absent: Option<String> = peek(promoted, "lost").await;
    assert_eq!(absent, None);
}

#[tokio::test]
async fn a_replica_that_lagged_behind_the_promoted_one_waits_for_what_it_will_get() {
    let stage = Stage::start().await;
    let early = write(&stage.store, "early", "1").await;
    stage.settle(1, early).await;
    stage.topology.link(1).hang();
    let late = write(&stage.store, "late", "1").await;
    stage.settle(0, late).await;
    stage.topology.link(0).hang();
    let lost = write(&stage.store, "lost", "1").await;
    stage.topology.primary().kill().await.unwrap();
    stage.topology.promote(0).await.unwrap();
    stage.topology.link(1).heal();
    stage.topology.follow(1, Member::Replica(0)).await.unwrap();

    let promoted = stage.info(stage.topology.replica(0), "second_repl_offset").await;
    let own = stage.info(stage.topology.replica(1), "second_repl_offset").await;
    assert_ne!(promoted, own, "replica 1 heard of the new history before it had all of the old one");

    let after = stage.after_failover(&[1]);
    let registry = registry(&after).await;
    // By its own word alone, `late` lies past the end of the old history.
    for visible in [early, late] {
        barrier(&registry, visible).await.unwrap();
    }
    let error = barrier(&registry, lost).await.unwrap_err();
    assert!(error.is_lost(), "{error}");
    let values: Vec<Option<String>> =
        [peek(stage.topology.replica(1), "late").await, peek(stage.topology.replica(1), "lost").await].into();
    assert_eq!(values, [Some("1".to_owned()), None]);
}

#[tokio::test]
async fn the_old_primary_comes_back_and_knows_nothing_of_the_new_history() {
    let stage = Stage::start().await;
    let kept = write(&stage.store, "kept", "1").await;
    stage.settle(0, kept).await;
    stage.topology.promote(0).await.unwrap();
    let after = stage.after_failover(&[]);
    let newer = write(&after, "newer", "1").await;

    // Both are primaries now. Whoever still reads from the old one must not be told that it is fine.
    let stale = store(stage.topology.primary(), &[]);
    let behind = registry(&stale).await;
    let error = barrier(&behind, newer).await.unwrap_err();
    assert!(error.is_indeterminate(), "{error}");

    let lost = write(&stale, "lost", "1").await;
    let old = Member::Primary;
    stage.topology.rejoin_as_replica(old, Member::Replica(0)).await.unwrap();
    let reads_old = vec![("old".to_owned(), client(stage.topology.primary()))];
    let registry = registry(&store(stage.topology.replica(0), &reads_old)).await;
    barrier(&registry, newer).await.unwrap();
    barrier(&registry, kept).await.unwrap();
    assert!(barrier(&registry, lost).await.unwrap_err().is_lost());
}

#[tokio::test]
async fn two_failovers_in_a_row_are_followed_back_by_who_saw_both() {
    let stage = Stage::start().await;
    let first = write(&stage.store, "first", "1").await;
    stage.settle(0, first).await;
    stage.settle(1, first).await;
    stage.topology.primary().kill().await.unwrap();
    stage.topology.promote(0).await.unwrap();
    stage.topology.follow(1, Member::Replica(0)).await.unwrap();
    let witness = store(stage.topology.replica(1), &[("middle".into(), client(stage.topology.replica(0)))]);
    let second = write(&stage.after_failover(&[]), "second", "1").await;
    let middle = stage.after_failover(&[1]);
    barrier(&registry(&middle).await, second).await.unwrap();
    stage.topology.promote(1).await.unwrap();

    // A process that saw the first failover happen: its replica there was a primary then.
    let saw_both = antipode_barrier::Store::replicas(&witness);
    for replica in saw_both {
        replica.probe(antipode_barrier::Shards::All).await.unwrap();
    }
    stage.topology.replica(0).kill().await.unwrap();
    let last = antipode_barrier::Store::primary(&witness).unwrap();
    let frontiers = last.probe(antipode_barrier::Shards::All).await.unwrap();
    let frontier = frontiers.get(antipode_lineage::Shard::ONLY).unwrap();
    for write in [first, second] {
        let verdict = frontier.verdict(write.epoch, write.position);
        assert_eq!(verdict, antipode_barrier::Verdict::Visible, "{write} at {frontier:?}");
    }
    // One that came later knows of one only.
    let later = registry(&store(stage.topology.replica(1), &[])).await;
    barrier(&later, second).await.unwrap();
    assert!(barrier(&later, first).await.unwrap_err().is_indeterminate());
}
