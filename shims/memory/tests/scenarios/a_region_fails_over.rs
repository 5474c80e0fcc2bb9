//! Failovers, with and without loss: who has what, and what the histories say.

use std::time::Duration;

use antipode_barrier::{Frontier, Shards, Store, Target, Verdict};
use antipode_lineage::{LineageScope, Position, Shard, WriteId};
use antipode_memory::{Lag, MemoryError, MemoryStore};
use tokio::time::advance;

const LAG: Duration = Duration::from_millis(100);

fn posts() -> MemoryStore {
    let builder = MemoryStore::builder("posts").region("us").region("eu").lagging("asia", Lag::of(LAG));
    builder.build().unwrap()
}

fn has(store: &MemoryStore, region: &str, key: &str) -> bool {
    store.peek(region, key).unwrap().is_some()
}

async fn put(store: &MemoryStore, key: &str) -> WriteId {
    store.shim().within(LineageScope::new()).put(key, "x").await.unwrap()
}

async fn frontier(store: &MemoryStore, region: &str) -> Frontier {
    let replica = store.reading_from([region]).unwrap().replicas().remove(0);
    replica.probe(Shards::All).await.unwrap().get(Shard::ONLY).unwrap().clone()
}

async fn verdict(store: &MemoryStore, region: &str, write: WriteId) -> Verdict {
    frontier(store, region).await.verdict(write.epoch, write.position)
}

#[tokio::test(start_paused = true)]
async fn what_the_new_primary_had_not_is_lost_everywhere() {
    let posts = posts();
    let kept = put(&posts, "kept").await;
    posts.cut("eu").unwrap();
    let lost = put(&posts, "lost").await;
    advance(LAG).await;
    assert!(has(&posts, "asia", "lost"), "asia is ahead of the region that takes over");
    posts.fail_over("eu").unwrap();
    let after = put(&posts, "after").await;

    assert_eq!(after.position, lost.position, "the position is taken again");
    assert_eq!((after.epoch.history, after.epoch.term), (lost.epoch.history, lost.epoch.term + 1));
    assert_eq!(posts.primary_region().as_str(), "eu");
    for region in ["eu", "asia"] {
        assert!(has(&posts, region, "kept") && !has(&posts, region, "lost"), "{region}");
        assert_eq!(verdict(&posts, region, kept).await, Verdict::Visible, "{region}");
        assert_eq!(verdict(&posts, region, lost).await, Verdict::Lost, "{region}");
    }
    assert_eq!(verdict(&posts, "asia", after).await, Verdict::Pending);
    advance(LAG).await;
    assert_eq!(verdict(&posts, "asia", after).await, Verdict::Visible);
    assert!(has(&posts, "asia", "after"));
}

#[tokio::test(start_paused = true)]
async fn the_old_primary_is_down_until_it_rejoins_without_its_surplus() {
    let posts = posts();
    posts.cut("eu").unwrap();
    put(&posts, "lost").await;
    posts.fail_over("eu").unwrap();
    let old = posts.reading_from(["us"]).unwrap();
    let refused = old.shim().within(LineageScope::new()).get("lost").await.unwrap_err();
    assert!(refused.is_down(), "nobody reads what only it has: {refused}");
    let names: Vec<_> = posts.replicas().iter().map(|replica| replica.name().to_string()).collect();
    assert_eq!(names, ["asia"], "it is not read from");

    let after = put(&posts, "after").await;
    posts.rejoin("us").unwrap();
    assert!(!has(&posts, "us", "lost") && has(&posts, "us", "after"));
    assert_eq!(verdict(&posts, "us", after).await, Verdict::Visible);
}

#[tokio::test(start_paused = true)]
async fn a_switch_over_loses_nothing() {
    let posts = posts();
    let write = put(&posts, "a").await;
    assert!(!has(&posts, "asia", "a"));
    posts.switch_over("asia").unwrap();
    let after = put(&posts, "b").await;
    for region in ["us", "eu", "asia"] {
        assert!(has(&posts, region, "a"), "{region}");
        assert_eq!(verdict(&posts, region, write).await, Verdict::Visible, "{region}");
        assert_eq!(frontier(&posts, region).await.epoch, after.epoch, "{region}");
    }
    assert!(matches!(posts.switch_over("asia"), Err(MemoryError::AlreadyPrimary { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_region_that_was_behind_the_last_failover_takes_its_end_back() {
    let posts = posts();
    let behind = put(&posts, "behind").await;
    // eu has it, asia not yet; asia then takes over from eu before it has caught up.
    posts.fail_over("eu").unwrap();
    assert_eq!(verdict(&posts, "eu", behind).await, Verdict::Visible);
    let second = put(&posts, "second").await;
    posts.fail_over("asia").unwrap();
    let third = [put(&posts, "x").await, put(&posts, "y").await, put(&posts, "z").await];
    assert!(third.iter().any(|write| write.position >= second.position));
    for lost in [behind, second] {
        assert_eq!(verdict(&posts, "asia", lost).await, Verdict::Lost, "{lost}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_region_that_missed_a_failover_hears_of_it_when_it_is_healed() {
    let posts = posts();
    let kept = put(&posts, "kept").await;
    advance(LAG).await;
    posts.cut("asia").unwrap();
    posts.fail_over("eu").unwrap();
    let after = put(&posts, "after").await;
    assert_eq!(verdict(&posts, "asia", after).await, Verdict::Indeterminate, "it has not heard of it");
    assert!(posts.fail_over("asia").is_err(), "and cannot take over");
    posts.heal("asia").unwrap();
    assert_eq!(verdict(&posts, "asia", after).await, Verdict::Pending);
    advance(LAG).await;
    assert_eq!(verdict(&posts, "asia", after).await, Verdict::Visible);
    assert_eq!(frontier(&posts, "asia").await.position, Position(kept.position.0 + 1));
}

#[tokio::test(start_paused = true)]
async fn a_long_poll_ends_when_its_target_is_cut_off() {
    let posts = posts();
    posts.cut("eu").unwrap();
    let lost = put(&posts, "lost").await;
    let eu = posts.reading_from(["eu"]).unwrap().replicas().remove(0);
    let until = Target { shard: lost.shard, epoch: lost.epoch, position: lost.position };
    let waiting = eu.wait(until).unwrap();
    let (frontiers, ()) = tokio::join!(tokio::time::timeout(10 * LAG, waiting), async {
        tokio::time::sleep(LAG).await;
        posts.fail_over("eu").unwrap();
    });
    let frontiers = frontiers.unwrap().unwrap();
    let frontier = frontiers.get(Shard::ONLY).unwrap();
    assert_eq!(frontier.verdict(lost.epoch, lost.position), Verdict::Lost);
}
