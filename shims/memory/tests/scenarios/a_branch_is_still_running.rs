//! Work that a request started and did not wait for: what whole-lineage barriers make of it. Simulated
//! time.

use antipode_barrier::{BranchStanding, OnTimeout};
use antipode_lineage::LineageScope;
use tokio::time::{Instant, sleep};

use crate::shop::{LAG, Shop, WORK};

#[tokio::test(start_paused = true)]
async fn only_a_whole_barrier_waits_for_a_branch_and_then_for_its_writes() {
    let shop = Shop::open().await;
    let (refund, reply) = shop.request("refund").await;
    let reader = async {
        let prefix = shop.registry.barrier_on(&reply).await.unwrap();
        assert!(!shop.peek("refund") && prefix.branches() == 0, "the anomaly");
        assert!(shop.registry.barrier_on(&reply).is_known(), "an open entry is nothing to a prefix");
        assert!(!shop.registry.barrier_on(&reply).whole().is_known());
        let whole = shop.registry.barrier_on(&reply).whole().await.unwrap();
        assert!(shop.peek("refund") && whole.branches() == 1 && whole.prevented());
    };
    tokio::join!(shop.run(refund, "refund"), reader);
}

#[tokio::test(start_paused = true)]
async fn the_scope_takes_over_what_the_branch_came_to() {
    let shop = Shop::open().await;
    let (refund, reply) = shop.request("refund").await;
    let scope = LineageScope::from(reply);
    let reader = async { scope.run(async { shop.registry.barrier().whole().await.unwrap() }).await };
    tokio::join!(shop.run(refund, "refund"), reader);
    let lineage = scope.lineage();
    assert!(lineage.branches().is_empty() && lineage.of_store(shop.name()).len() == 1, "{lineage}");
    scope.run(async { assert!(shop.registry.barrier().whole().is_known(), "once is enough") }).await;
}

#[tokio::test(start_paused = true)]
async fn branches_of_branches_are_followed() {
    let shop = Shop::open().await;
    let (outer, reply) = shop.request("outer").await;
    let run_outer = async {
        let open = shop.registry.begin(outer).await.unwrap();
        let inner = shop.registry.branch(shop.name(), "inner").within(open.scope()).await.unwrap();
        open.complete().await.unwrap();
        shop.run(inner, "inner").await;
    };
    let reader = async {
        let whole = shop.registry.barrier_on(&reply).whole().await.unwrap();
        assert!(shop.peek("inner") && whole.branches() == 2);
    };
    tokio::join!(run_outer, reader);
}

#[tokio::test(start_paused = true)]
async fn branches_that_name_each_other_are_followed_once() {
    let shop = Shop::open().await;
    let [a, b] = [shop.request("a").await, shop.request("b").await];
    for (own, other) in [(&a, &b), (&b, &a)] {
        let open = shop.registry.begin(own.0).await.unwrap();
        open.scope().join(&other.1);
        open.complete().await.unwrap();
    }
    assert_eq!(shop.registry.barrier_on(&a.1).whole().await.unwrap().branches(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_branch_still_running_at_the_deadline_is_named() {
    let shop = Shop::open().await;
    let (refund, reply) = shop.request("refund").await;
    let _open = shop.registry.begin(refund).await.unwrap();
    let started = Instant::now();
    let error = shop.registry.barrier_on(&reply).whole().deadline(WORK).await.unwrap_err();
    assert!(error.is_timeout() && started.elapsed() < WORK + LAG, "{error}");
    assert_eq!(error.branches()[0].standing, BranchStanding::Open);
    let weak = shop.registry.barrier_on(&reply).whole().deadline(WORK).on_timeout(OnTimeout::Weak).await;
    assert!(weak.unwrap().is_weak());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_left_behind() {
    let shop = Shop::open().await;
    let (refund, reply) = shop.request("refund").await;
    let open = shop.registry.begin(refund).await.unwrap();
    let waiting = shop.registry.barrier_on(&reply).whole();
    assert!(tokio::time::timeout(LAG, waiting).await.is_err(), "dropped half-way");
    assert_eq!(shop.registry.waiting(), 0);
    drop(open);
    sleep(LAG).await;
    assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 0);
}

#[tokio::test]
async fn a_branch_needs_a_lineage_a_ledger_and_a_name() {
    let shop = Shop::open().await;
    let refused = async |store: &str, name: &str| {
        shop.registry.branch(store.parse().unwrap(), name).await.unwrap_err().to_string()
    };
    assert!(refused("orders", "refund").await.contains("outside of a lineage"));
    LineageScope::new()
        .run(async {
            assert!(refused("orders", "Re fund").await.contains("\"Re fund\""));
            assert!(refused("cellar", "refund").await.contains("store cellar"));
        })
        .await;
}
