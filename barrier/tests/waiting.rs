//! Barriers that wait, and what ends their wait. Simulated time.

mod simulated;

use std::sync::Arc;
use std::time::Duration;

use antipode_barrier::{Ancestor, Frontier, OnTimeout, Verdict};
use antipode_lineage::{Epoch, Lineage, LineageScope, Position, Shard, WriteId};
use simulated::{Answer, EPOCH, SimReplica, SimStore, registry};
use tokio::time::{Instant, sleep};

const LAG: Duration = Duration::from_millis(150);

fn later(replica: &Arc<SimReplica>, after: Duration, answer: Answer) -> tokio::task::JoinHandle<()> {
    let replica = Arc::clone(replica);
    tokio::spawn(async move {
        sleep(after).await;
        replica.set(answer);
    })
}

#[tokio::test(start_paused = true)]
async fn returns_once_the_replica_has_caught_up() {
    let posts = SimStore::new("posts", &[50]);
    let registry = registry([&posts]).await;
    let started = Instant::now();
    later(&posts.replicas[0], LAG, Answer::Frontier(Frontier::new(EPOCH, Position(60))));
    let report = registry.barrier_on(&posts.lineage(60)).await.unwrap();
    assert!(report.prevented() && report.route(posts.name).unwrap().as_str() == "r0");
    let detection = started.elapsed() - LAG;
    assert!(detection < Duration::from_millis(6), "{detection:?}");
}

#[tokio::test(start_paused = true)]
async fn all_stores_wait_at_once() {
    let (posts, users) = (SimStore::new("posts", &[0]), SimStore::new("users", &[0]));
    let registry = registry([&posts, &users]).await;
    for store in [&posts, &users] {
        later(&store.replicas[0], LAG, Answer::Frontier(Frontier::new(EPOCH, Position(9))));
    }
    let started = Instant::now();
    let lineage: Lineage = [posts.at(5), users.at(7)].into_iter().collect();
    assert_eq!(registry.barrier_on(&lineage).await.unwrap().waits().len(), 2);
    assert!(started.elapsed() < LAG * 2);
}

#[tokio::test(start_paused = true)]
async fn the_deadline_is_kept_and_named() {
    let posts = SimStore::new("posts", &[0]);
    let registry = registry([&posts]).await;
    for silent in [Answer::Frontier(Frontier::new(EPOCH, Position(0))), Answer::Silence] {
        posts.replicas[0].set(silent);
        let started = Instant::now();
        let lineage = posts.lineage(60);
        let error = registry.barrier_on(&lineage).deadline(LAG).await.unwrap_err();
        assert!(error.is_timeout(), "{error}");
        assert!(error.to_string().contains("posts[0]@1/1:60 is pending at r0"), "{error}");
        assert_eq!(started.elapsed().as_millis(), LAG.as_millis());
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_down_is_named_and_may_come_back() {
    let posts = SimStore::new("posts", &[60]);
    let registry = registry([&posts]).await;
    posts.replicas[0].set(Answer::Refused);
    let error = registry.barrier_on(&posts.lineage(60)).await.unwrap_err();
    assert!(error.is_store_down() && error.to_string().contains("connection refused"), "{error}");
    later(&posts.replicas[0], LAG, Answer::Frontier(Frontier::new(EPOCH, Position(60))));
    registry.barrier_on(&posts.lineage(60)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_gets_no_answer_is_given_up() {
    let posts = SimStore::new("posts", &[60]);
    let registry = registry([&posts]).await;
    posts.replicas[0].set(Answer::Silence);
    later(&posts.replicas[0], LAG, Answer::Frontier(Frontier::new(EPOCH, Position(60))));
    // The first probe hangs for good, although the replica answers again soon.
    registry.barrier_on(&posts.lineage(60)).deadline(Duration::from_secs(5)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_first_fresh_replica_is_taken_and_reads_follow() {
    let posts = SimStore::new("posts", &[0, 0, 0]);
    let registry = registry([&posts]).await;
    later(&posts.replicas[1], LAG, Answer::Frontier(Frontier::new(EPOCH, Position(60))));
    let scope = LineageScope::from(posts.lineage(60));
    scope.run(async { registry.barrier().await.unwrap() }).await;
    assert_eq!(scope.route(posts.name).unwrap().as_str(), "r1");
}

#[tokio::test(start_paused = true)]
async fn what_waiting_cannot_change_ends_at_once() {
    let promoted = Epoch { term: 2, ..EPOCH };
    let ancestry = [Ancestor { epoch: EPOCH, end: Position(55) }];
    let cut_off = Frontier::new(promoted, Position(99)).with_ancestry(ancestry);
    let foreign = |posts: &SimStore| WriteId { epoch: Epoch { history: 9, term: 9 }, ..posts.at(1) };

    let posts = SimStore::new("posts", &[50]);
    let registry = registry([&posts]).await;
    let started = Instant::now();
    let error = registry.barrier_on(&posts.lineage(101)).await.unwrap_err();
    assert!(error.is_unreachable(), "{error}");
    let among_others: Lineage = [posts.at(5), foreign(&posts)].into_iter().collect();
    for lineage in [foreign(&posts).into(), among_others] {
        let error = registry.barrier_on(&lineage).await.unwrap_err();
        assert!(error.is_indeterminate(), "{error}");
    }
    posts.primary().set(Answer::Frontier(cut_off.clone()));
    posts.replicas[0].set(Answer::Frontier(cut_off));
    let error = registry.barrier_on(&posts.lineage(56)).await.unwrap_err();
    assert!(error.is_lost() && error.dependencies()[0].verdict == Verdict::Lost, "{error}");
    assert!(started.elapsed() < Duration::from_millis(50), "{:?}", started.elapsed());
    registry.barrier_on(&posts.lineage(55)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_epoch_the_replica_has_yet_to_hear_of_is_waited_for() {
    let promoted = Epoch { term: 2, ..EPOCH };
    let ancestry = [Ancestor { epoch: EPOCH, end: Position(55) }];
    let new = Frontier::new(promoted, Position(80)).with_ancestry(ancestry);
    let posts = SimStore::new("posts", &[50]);
    let registry = registry([&posts]).await;
    posts.primary().set(Answer::Frontier(new.clone()));
    later(&posts.replicas[0], LAG, Answer::Frontier(new));
    let write = WriteId { epoch: promoted, ..posts.at(70) };
    registry.barrier_on(&write.into()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_unplaced_write_waits_for_all_that_the_primary_holds() {
    let posts = SimStore::new("posts", &[99]);
    let registry = registry([&posts]).await;
    for lineage in [WriteId::unplaced(posts.name).into(), Lineage::everything()] {
        posts.replicas[0].apply(99);
        let error = registry.barrier_on(&lineage).deadline(LAG).await.unwrap_err();
        assert!(error.is_timeout(), "{error}");
        posts.replicas[0].apply(100);
        registry.barrier_on(&lineage).deadline(LAG).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn an_unplaced_write_of_a_history_that_ended_is_nobodys_to_vouch_for() {
    let posts = SimStore::new("posts", &[100]);
    let registry = registry([&posts]).await;
    let lineage: Lineage =
        [WriteId::unplaced_in(posts.name, Shard::ONLY, EPOCH), posts.at(3)].into_iter().collect();
    registry.barrier_on(&lineage).deadline(LAG).await.unwrap();
    let ancestry = [Ancestor { epoch: EPOCH, end: Position(55) }];
    let promoted = Frontier::new(Epoch { term: 2, ..EPOCH }, Position(99)).with_ancestry(ancestry);
    posts.primary().set(Answer::Frontier(promoted.clone()));
    posts.replicas[0].set(Answer::Frontier(promoted));
    for policy in [OnTimeout::Fail, OnTimeout::Primary] {
        let error = registry.barrier_on(&lineage).on_timeout(policy).await.unwrap_err();
        assert!(error.is_indeterminate(), "{error}");
    }
    let look = registry.barrier_on(&lineage).probe().await;
    assert_eq!(look[0].verdict, Verdict::Indeterminate);
}

#[tokio::test(start_paused = true)]
async fn an_unplaced_write_does_not_cover_up_a_placed_one() {
    let posts = SimStore::new("posts", &[100]);
    let registry = registry([&posts]).await;
    let lineage: Lineage = [WriteId::unplaced(posts.name), posts.at(1000)].into_iter().collect();
    let error = registry.barrier_on(&lineage).await.unwrap_err();
    assert!(error.is_unreachable(), "{error}");
}

#[tokio::test(start_paused = true)]
async fn the_primary_vouches_for_no_write_whose_history_may_have_ended() {
    let posts = SimStore::new("posts", &[0]);
    let registry = registry([&posts]).await;
    let barrier = async |write: WriteId| {
        let lineage = Lineage::from(write);
        registry.barrier_on(&lineage).deadline(LAG).on_timeout(OnTimeout::Primary).await
    };
    barrier(WriteId::unplaced(posts.name)).await.unwrap();
    let error = barrier(WriteId::unplaced_in(posts.name, Shard::ONLY, EPOCH)).await.unwrap_err();
    assert!(error.is_timeout(), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_capture_that_takes_long_does_not_extend_the_deadline() {
    let posts = SimStore::new("posts", &[100]);
    let registry = registry([&posts]).await;
    let scope = LineageScope::new();
    scope.defer(WriteId::unplaced(posts.name), LAG * 1000, std::future::pending());
    let started = Instant::now();
    let barrier = async { registry.barrier().deadline(LAG).await };
    assert!(scope.run(barrier).await.unwrap_err().is_timeout());
    assert_eq!(started.elapsed(), LAG);
}

#[tokio::test(start_paused = true)]
async fn the_policy_decides_what_a_timeout_means() {
    let posts = SimStore::new("posts", &[0]);
    let registry = registry([&posts]).await;
    let scope = LineageScope::from(posts.lineage(60));
    let barrier =
        async |policy| scope.run(async { registry.barrier().deadline(LAG).on_timeout(policy).await }).await;
    assert!(barrier(OnTimeout::Fail).await.unwrap_err().is_timeout());
    for stuck in [Answer::Frontier(Frontier::new(EPOCH, Position(0))), Answer::Silence] {
        posts.replicas[0].set(stuck);
        barrier(OnTimeout::Primary).await.unwrap();
        assert_eq!(scope.route(posts.name).unwrap().as_str(), "primary");
    }
    scope.add(WriteId::unplaced(posts.name));
    barrier(OnTimeout::Primary).await.unwrap();
    assert!(!scope.lineage().is_weak());
    assert!(barrier(OnTimeout::Weak).await.unwrap().is_weak() && scope.lineage().is_weak());
    posts.primary().set(Answer::Refused);
    let error = barrier(OnTimeout::Primary).await;
    assert!(error.is_err(), "a primary that was not asked proves nothing");
}

#[tokio::test(start_paused = true)]
async fn only_the_selected_and_registered_stores_are_waited_for() {
    let (posts, users) = (SimStore::new("posts", &[50]), SimStore::new("users", &[0]));
    let registry = registry([&posts, &users]).await;
    let foreign = SimStore::new("foreign", &[]);
    let lineage: Lineage = [posts.at(5), users.at(7), foreign.at(1)].into_iter().collect();
    let report = registry.barrier_on(&lineage).only(&[posts.name]).await.unwrap();
    assert_eq!((report.skipped(), report.route(users.name)), (2, None));
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_says_what_is_known_and_waits_for_nothing() {
    let posts = SimStore::new("posts", &[50]);
    let registry = registry([&posts]).await;
    let verdict = async |position| {
        let lineage = posts.lineage(position);
        registry.barrier_on(&lineage).probe().await[0].verdict
    };
    let started = Instant::now();
    assert_eq!(verdict(50).await, Verdict::Visible);
    assert_eq!(verdict(51).await, Verdict::Pending);
    assert_eq!(verdict(101).await, Verdict::Unreachable);
    assert!(started.elapsed() < Duration::from_millis(20));
}

#[tokio::test]
async fn no_lineage_is_an_error_not_a_pass() {
    let error = registry([]).await.barrier().await.unwrap_err();
    assert!(error.is_no_lineage(), "{error}");
    LineageScope::new().run(async { registry([]).await.barrier().await.unwrap() }).await;
}
