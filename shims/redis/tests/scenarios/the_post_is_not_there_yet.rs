//! A notification overtakes the post that it is about.

use antipode_lineage::{Lineage, LineageScope};
use antipode_redis::redis::AsyncCommands;

use crate::stage::{self, PATIENCE, Stage, barrier, depending, foreign, glance, peek, placed, registry};

#[tokio::test]
async fn a_read_behind_a_barrier_sees_the_write_and_what_it_depended_on() {
    let stage = Stage::start().await;
    let registry = registry(&stage.store).await;
    for index in 0..2 {
        stage.topology.link(index).hang();
    }
    let writer = depending(foreign(5));
    let mut posts = stage.store.connection().await.unwrap().within(writer.clone());
    let () = posts.set("post", "hello").await.unwrap();
    let write = placed(&writer);
    assert!(!write.is_unplaced());

    let stale: Option<String> = peek(stage.topology.replica(0), "post").await;
    assert_eq!(stale, None, "the replica is cut off");
    assert!(!glance(&registry, write).await.is_indeterminate());

    stage.topology.link(1).heal();
    let reader = LineageScope::from(Lineage::from(write));
    let report = reader.run(async { registry.barrier().deadline(PATIENCE).await }).await.unwrap();
    assert_eq!(report.route(stage::name("posts")), Some("replica-1".parse().unwrap()));
    let mut posts = stage.store.read_connection_within(&reader).await.unwrap();
    let post: String = posts.get("post").await.unwrap();
    assert_eq!(post, "hello", "read from the replica that is fresh, not from the preferred one");
    assert!(reader.lineage().covers_write(&foreign(5)));
    assert!(reader.lineage().covers_write(&write));
}

/// The position must be asked for after the transaction: inside of it, or before, it would be that of
/// the write before.
#[tokio::test]
async fn a_position_covers_its_own_write() {
    let stage = Stage::start().await;
    let registry = registry(&stage.store).await;
    let mut raw = stage.raw().await;
    for round in 0..50 {
        let scope = LineageScope::new();
        let mut posts = stage.store.connection().await.unwrap().within(scope.clone());
        let before: String = stage.info(stage.topology.primary(), "master_repl_offset").await;
        let () = posts.set("post", round).await.unwrap();
        let write = placed(&scope);
        assert!(write.position.0 > before.parse().unwrap(), "round {round}: {write} is before its write");
        barrier(&registry, write).await.unwrap();
        let () = raw.set("other", round).await.unwrap();
    }
}

/// X − 1, X and X + 1.
#[tokio::test]
async fn a_replica_at_exactly_the_position_shows_the_write() {
    let stage = Stage::start().await;
    let registry = registry(&stage.reading(&[0])).await;
    let scope = LineageScope::new();
    let mut posts = stage.store.connection().await.unwrap().within(scope.clone());
    let () = posts.set("post", "hello").await.unwrap();
    let write = placed(&scope);
    barrier(&registry, write).await.unwrap();
    // The primary pings its replicas, so the log moves by itself: freeze it where it is.
    stage.topology.link(0).hang();
    let applied = || async {
        let offset = stage.info(stage.topology.replica(0), "slave_repl_offset").await;
        offset.parse::<u64>().unwrap()
    };
    let mut at = applied().await;
    while let now = applied().await
        && now != at
    {
        at = now;
    }
    let () = posts.set("post", "and the log goes on").await.unwrap();
    let place =
        |position| antipode_lineage::WriteId { position: antipode_lineage::Position(position), ..write };
    for visible in [at - 1, at] {
        barrier(&registry, place(visible)).await.unwrap();
    }
    assert!(!glance(&registry, place(at + 1)).await.is_indeterminate());
    let mut ahead = placed(&scope);
    ahead.position.0 += 1_000_000_000;
    assert!(barrier(&registry, ahead).await.unwrap_err().is_unreachable(), "ahead of the primary itself");
}
