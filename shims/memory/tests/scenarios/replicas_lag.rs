//! What reaches a region, and when, on a simulated clock.

use std::sync::Arc;
use std::time::Duration;

use antipode_barrier::{Frontier, Replica, Shards, Store, Target};
use antipode_lineage::{LineageScope, Shard, WriteId};
use antipode_memory::{Lag, MemoryError, MemoryStore};
use tokio::time::{Instant, advance, sleep};

const LAG: Duration = Duration::from_millis(100);
const TICK: Duration = Duration::from_millis(1);

fn posts() -> MemoryStore {
    MemoryStore::builder("posts").region("us").lagging("eu", Lag::of(LAG)).seed(1).build().unwrap()
}

fn at(store: &MemoryStore, region: &str, key: &str) -> Option<String> {
    let value = store.peek(region, key).unwrap()?;
    Some(String::from_utf8(value.to_vec()).unwrap())
}

async fn put(store: &MemoryStore, key: &str, value: &str) -> WriteId {
    store.shim().within(LineageScope::new()).put(key, value).await.unwrap()
}

fn eu(store: &MemoryStore) -> Arc<dyn Replica> {
    store.reading_from(["eu"]).unwrap().replicas().remove(0)
}

async fn frontier(replica: &dyn Replica) -> Frontier {
    replica.probe(Shards::All).await.unwrap().get(Shard::ONLY).unwrap().clone()
}

#[tokio::test(start_paused = true)]
async fn a_write_arrives_after_the_lag_and_not_before() {
    let posts = posts();
    let write = put(&posts, "a", "1").await;
    assert_eq!(write.position.0, 1, "the first position");
    advance(LAG - TICK).await;
    assert_eq!(at(&posts, "eu", "a"), None);
    assert_eq!(frontier(&*eu(&posts)).await.position.0, 0);
    advance(TICK).await;
    assert_eq!(at(&posts, "eu", "a").as_deref(), Some("1"));
    assert_eq!(frontier(&*eu(&posts)).await.position, write.position);
}

#[tokio::test(start_paused = true)]
async fn jitter_reorders_nothing_and_a_seed_repeats_it() {
    let run = async |seed| {
        let lag = Lag::of(LAG).jitter(5 * LAG);
        let posts = MemoryStore::builder("posts").region("us").lagging("eu", lag).seed(seed).build().unwrap();
        let mut tail = posts.tail("eu").unwrap();
        let begun = Instant::now();
        for number in 0..50 {
            put(&posts, &number.to_string(), "x").await;
        }
        let mut arrivals = Vec::new();
        for number in 0..50 {
            let notice = tail.next().await.unwrap();
            assert_eq!(*notice.key, *number.to_string(), "seed {seed}: in order");
            arrivals.push((notice.write, begun.elapsed()));
        }
        arrivals
    };
    let first = run(7).await;
    assert_eq!(first, run(7).await, "seed 7 twice: the same history, the same arrivals");
    assert_ne!(first, run(8).await);
    let last = first.last().unwrap().1;
    assert!(last >= LAG && last <= 6 * LAG + TICK, "{last:?}");
}

#[tokio::test(start_paused = true)]
async fn a_long_poll_ends_when_the_position_is_applied() {
    let posts = posts();
    let (first, second) = (put(&posts, "a", "1").await, put(&posts, "a", "2").await);
    let wait = |write: WriteId| {
        let until = Target { shard: write.shard, epoch: write.epoch, position: write.position };
        let posts = posts.clone();
        async move {
            let begun = Instant::now();
            let waited = tokio::time::timeout(10 * LAG, eu(&posts).wait(until).unwrap()).await;
            let frontiers = waited.unwrap().unwrap();
            (frontiers.get(Shard::ONLY).unwrap().position, begun.elapsed())
        }
    };
    assert_eq!(wait(first).await, (second.position, LAG), "both arrive at once");
    assert_eq!(wait(second).await, (second.position, Duration::ZERO));
    // Nothing is on its way when this one begins.
    let mut third = second;
    third.position.0 += 1;
    let (waited, _) = tokio::join!(wait(third), async {
        sleep(LAG).await;
        put(&posts, "a", "3").await
    });
    assert_eq!(waited, (third.position, 2 * LAG));
}

#[tokio::test(start_paused = true)]
async fn a_cut_holds_back_what_is_on_its_way() {
    for cut_off in ["eu", "us"] {
        let posts = posts();
        put(&posts, "a", "1").await;
        advance(LAG / 2).await;
        posts.cut(cut_off).unwrap();
        advance(10 * LAG).await;
        assert_eq!(at(&posts, "eu", "a"), None, "{cut_off}");
        assert_eq!(put(&posts, "b", "1").await.position.0, 2, "the primary goes on");
        posts.heal(cut_off).unwrap();
        advance(LAG - TICK).await;
        assert_eq!(at(&posts, "eu", "a"), None, "{cut_off}: it is sent again");
        advance(TICK).await;
        assert_eq!((at(&posts, "eu", "a"), at(&posts, "eu", "b")), (Some("1".into()), Some("1".into())));
    }
}

#[tokio::test(start_paused = true)]
async fn a_paused_region_makes_calls_wait() {
    let posts = posts();
    let europe = posts.reading_from(["eu"]).unwrap();
    put(&posts, "a", "1").await;
    posts.pause("eu").unwrap();
    advance(2 * LAG).await;
    let get = async { europe.shim().within(LineageScope::new()).get("a").await.unwrap() };
    let (value, ()) = tokio::join!(get, async {
        sleep(LAG).await;
        posts.resume("eu").unwrap();
    });
    assert_eq!(value.as_deref(), Some(&b"1"[..]), "what arrived meanwhile is applied at once");

    posts.pause("us").unwrap();
    let write = put(&posts, "b", "1");
    assert!(tokio::time::timeout(LAG, write).await.is_err());
    posts.resume("us").unwrap();
    assert_eq!(at(&posts, "us", "b"), None, "the call was dropped before it wrote");
}

#[tokio::test(start_paused = true)]
async fn a_stopped_region_refuses_and_keeps_its_data() {
    let posts = posts();
    let europe = posts.reading_from(["eu"]).unwrap();
    put(&posts, "a", "1").await;
    advance(LAG).await;
    posts.stop("eu").unwrap();
    let refused = europe.shim().within(LineageScope::new()).get("a").await.unwrap_err();
    assert!(refused.is_down() && refused.to_string().contains("eu"), "{refused}");
    assert!(eu(&posts).probe(Shards::All).await.is_err());
    put(&posts, "b", "1").await;
    posts.start("eu").unwrap();
    assert_eq!((at(&posts, "eu", "a").as_deref(), at(&posts, "eu", "b")), (Some("1"), None));
    advance(LAG).await;
    assert_eq!(at(&posts, "eu", "b").as_deref(), Some("1"));

    posts.stop("primary").unwrap();
    let refused = posts.shim().within(LineageScope::new()).put("c", "1").await.unwrap_err();
    assert!(matches!(refused, MemoryError::RegionDown { .. }), "{refused}");
}

#[test]
fn what_cannot_be_built_says_why() {
    let refused = |builder: antipode_memory::MemoryBuilder| builder.build().unwrap_err().to_string();
    let builder = || MemoryStore::builder("posts");
    assert!(refused(builder()).contains("no region"));
    assert!(refused(builder().region("us").region("us")).contains("us"));
    assert!(refused(builder().region("primary")).contains("primary"));
    assert!(refused(builder().region("U S")).contains("U S"));
    assert!(refused(MemoryStore::builder("Posts").region("us")).contains("Posts"));
    let posts = builder().region("us").build().unwrap();
    assert!(posts.cut("mars").unwrap_err().to_string().contains("mars"));
    assert!(posts.reading_from(["mars"]).is_err());
}
