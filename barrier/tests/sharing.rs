//! What barriers share, and what they leave behind. Simulated time.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // Helpers of tests.

mod simulated;

use std::time::Duration;

use antipode_barrier::Registry;
use antipode_lineage::WriteId;
use futures_util::future::{FutureExt, join_all};
use simulated::{Answer, ROUND_TRIP, SimStore, registry};
use tokio::time::{sleep, timeout};

const LAG: Duration = Duration::from_millis(150);

async fn probes_of(waiters: usize) -> (u64, u64) {
    let posts = SimStore::new("posts", &[0]);
    let registry = registry([&posts]).await;
    let lineage = posts.lineage(60);
    let catch_up = async {
        sleep(LAG).await;
        posts.replicas[0].apply(60);
    };
    let barriers = join_all((0..waiters).map(|_| async { registry.barrier_on(&lineage).await.unwrap() }));
    tokio::join!(catch_up, barriers);
    (posts.replicas[0].probes(), posts.primary().probes())
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_barriers_probe_like_one() {
    let (one, primary_one) = probes_of(1).await;
    let (many, primary_many) = probes_of(10_000).await;
    assert!(many <= one * 2 && primary_many <= primary_one * 2, "{one} {many} {primary_one} {primary_many}");
}

#[tokio::test(start_paused = true)]
async fn a_visible_lineage_costs_no_probe_until_the_answer_is_old() {
    let (posts, behind) = (SimStore::new("posts", &[60]), SimStore::new("users", &[0]));
    let registry = registry([&posts, &behind]).await;
    registry.barrier_on(&posts.lineage(60)).await.unwrap();
    let probes = posts.replicas[0].probes();
    for _ in 0..1000 {
        registry.barrier_on(&posts.lineage(60)).await.unwrap();
    }
    let mut lineage = posts.lineage(60);
    lineage.add(behind.at(60));
    registry.barrier_on(&lineage).only(&[posts.name]).await.unwrap();
    assert_eq!(posts.replicas[0].probes(), probes);
    sleep(Duration::from_secs(1)).await;
    registry.barrier_on(&posts.lineage(60)).await.unwrap();
    assert_eq!(posts.replicas[0].probes(), probes + 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_in_use_is_followed_by_the_next_before_it_is_too_old() {
    let posts = SimStore::new("posts", &[60]);
    let registry = registry([&posts]).await;
    let lineage = posts.lineage(60);
    registry.barrier_on(&lineage).await.unwrap();
    let probes = posts.replicas[0].probes();
    for at in 0..200 {
        assert!(registry.barrier_on(&lineage).is_known(), "{at}");
        sleep(Duration::from_millis(10)).await;
    }
    // In two seconds: an answer is believed for a quarter of one, and followed after half of that.
    let probes = posts.replicas[0].probes() - probes;
    assert!((8..=16).contains(&probes), "{probes}");
    sleep(Duration::from_secs(1)).await;
    let rested = posts.replicas[0].probes();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(posts.replicas[0].probes(), rested, "nobody uses it, nobody asks");
}

#[tokio::test(start_paused = true)]
async fn however_many_use_an_answer_one_of_them_has_it_followed() {
    let posts = SimStore::new("posts", &[60]);
    let registry = registry([&posts]).await;
    let lineage = posts.lineage(60);
    registry.barrier_on(&lineage).await.unwrap();
    let probes = posts.replicas[0].probes();
    // Past half of its time.
    sleep(Duration::from_millis(150)).await;
    for at in 0..1000 {
        assert!(registry.barrier_on(&lineage).is_known(), "{at}");
        tokio::task::yield_now().await;
    }
    sleep(ROUND_TRIP * 20).await;
    assert_eq!(posts.replicas[0].probes(), probes + 1);
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_is_dropped_leaves_no_question_behind() {
    let posts = SimStore::new("posts", &[60]);
    let registry = registry([&posts]).await;
    let lineage = posts.lineage(60);
    registry.barrier_on(&lineage).await.unwrap();
    sleep(Duration::from_millis(150)).await;
    posts.replicas[0].set(Answer::Silence);
    assert!(registry.barrier_on(&lineage).is_known());
    sleep(ROUND_TRIP * 4).await;
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    assert_eq!(tasks(), 1, "the question is under way");
    drop(registry);
    tokio::task::yield_now().await;
    assert_eq!(tasks(), 0);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_nobody_probes() {
    let posts = SimStore::new("posts", &[0]);
    let registry = registry([&posts]).await;
    let lineage = posts.lineage(60);
    let _ = timeout(LAG, registry.barrier_on(&lineage)).await.unwrap_err();
    assert_eq!(registry.waiting(), 0, "the cancelled barrier gave up its place");
    sleep(ROUND_TRIP * 2).await;
    let probes = posts.replicas[0].probes();
    sleep(Duration::from_secs(60)).await;
    assert_eq!(posts.replicas[0].probes(), probes);
    assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_question_taken_back_is_not_asked_again() {
    let posts = SimStore::new("posts", &[0]);
    posts.primary().set(Answer::Refused);
    let registry = registry([&posts]).await;
    let lineage = WriteId::unplaced(posts.name).into();
    let _ = timeout(LAG, registry.barrier_on(&lineage)).await.unwrap_err();
    let probes = posts.primary().probes();
    sleep(Duration::from_secs(60)).await;
    assert_eq!(posts.primary().probes(), probes);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_barrier_does_not_disturb_the_others() {
    let posts = SimStore::new("posts", &[0]);
    let registry = registry([&posts]).await;
    let lineage = posts.lineage(60);
    let catch_up = async {
        sleep(LAG).await;
        posts.replicas[0].apply(60);
    };
    let cancelled = timeout(LAG / 2, registry.barrier_on(&lineage));
    let (_, cancelled, stayed) = tokio::join!(catch_up, cancelled, registry.barrier_on(&lineage));
    assert!(cancelled.is_err() && stayed.is_ok());
}

#[tokio::test(start_paused = true)]
async fn forged_lineages_share_one_question_to_the_primary() {
    let posts = SimStore::new("posts", &[50]);
    let registry = registry([&posts]).await;
    let forged = posts.lineage(u64::MAX - 1);
    let all = join_all((0..1000).map(|_| async { registry.barrier_on(&forged).await.unwrap_err() })).await;
    assert!(all.iter().all(|error| error.is_unreachable()));
    assert!(posts.primary().probes() <= 2, "{} probes", posts.primary().probes());
}

#[tokio::test(start_paused = true)]
async fn more_barriers_than_allowed_are_refused() {
    let posts = SimStore::new("posts", &[0]);
    let registry = Registry::builder().store(posts.clone()).max_waiting(2).build().await.unwrap();
    let lineage = posts.lineage(60);
    let all = join_all((0..3).map(|_| async { registry.barrier_on(&lineage).deadline(LAG).await })).await;
    let refused = all.iter().filter(|outcome| outcome.as_ref().is_err_and(|error| error.is_too_many()));
    assert_eq!(refused.count(), 1);
    assert_eq!(registry.waiting(), 0);
}

#[test]
fn a_runtime_that_ends_takes_no_one_elses_barrier_along() {
    let runtime =
        || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (first, second) = (runtime(), runtime());
    let posts = SimStore::new("posts", &[0]);
    let registry = second.block_on(registry([&posts]));
    let lineage = posts.lineage(60);
    // The watcher's task lives in the runtime of the first barrier.
    let (theirs, dependency) = (registry.clone(), lineage.clone());
    let begun = first.spawn(async move { theirs.barrier_on(&dependency).await.map(drop) });
    while posts.replicas[0].probes() == 0 {
        std::thread::yield_now();
    }
    let waiting = second.spawn(async move {
        registry.barrier_on(&lineage).deadline(Duration::from_secs(20)).await.map(drop)
    });
    std::thread::sleep(Duration::from_millis(50));
    first.shutdown_timeout(Duration::from_secs(5));
    drop(begun);
    posts.replicas[0].apply(60);
    second.block_on(waiting).unwrap().unwrap();
}

#[test]
fn a_runtime_that_ends_before_the_watchers_task_ran_takes_no_barrier_along() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (first, second) = (runtime(), runtime());
    let posts = SimStore::new("posts", &[0]);
    let registry = second.block_on(registry([&posts]));
    let lineage = posts.lineage(60);
    let mut waits = Box::pin(registry.barrier_on(&lineage).into_future());
    // Nobody runs what this spawns.
    let entered = first.enter();
    assert!((&mut waits).now_or_never().is_none());
    drop(entered);
    assert_eq!(posts.replicas[0].probes(), 0);
    drop(first);
    posts.replicas[0].apply(60);
    second.block_on(registry.barrier_on(&lineage).deadline(Duration::from_secs(20)).into_future()).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_silent_replica_does_not_hold_up_a_sound_one() {
    let posts = SimStore::new("posts", &[60, 60]);
    posts.replicas[0].set(Answer::Silence);
    let registry = registry([&posts]).await;
    let report = registry.barrier_on(&posts.lineage(60)).await.unwrap();
    assert_eq!(report.route(posts.name).unwrap().as_str(), "r1");
}
