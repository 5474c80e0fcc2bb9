//! Branches that end otherwise than by being completed once, and ledgers that do not know. Simulated time.

use std::time::Duration;

use antipode_barrier::{BranchStanding, Registry};
use antipode_lineage::{Branch, BranchId, Lineage, LineageScope};
use antipode_memory::MemoryStore;
use tokio::time::{Instant, sleep};

use crate::shop::{LAG, LEASE, Shop, WORK};

#[tokio::test(start_paused = true)]
async fn a_branch_that_dies_is_abandoned_within_its_lease() {
    let shop = Shop::open().await;
    let (refund, reply) = shop.request("refund").await;
    let open = shop.registry.begin(refund).await.unwrap();
    sleep(WORK).await; // Longer than the lease: the handle renews it.
    let died = Instant::now();
    drop(open);
    let error = shop.registry.barrier_on(&reply).whole().await.unwrap_err();
    assert!(error.is_abandoned() && error.to_string().contains("orders/refund/"), "{error}");
    assert!(died.elapsed() <= LEASE + LAG, "{:?}", died.elapsed());
    assert!(shop.registry.begin(refund).await.unwrap_err().is_abandoned(), "nobody takes it up later");
    let prefix = shop.registry.barrier_on(&reply).await;
    assert!(prefix.is_ok(), "who does not wait for branches is not told");
}

#[tokio::test(start_paused = true)]
async fn a_branch_that_nobody_begins_is_abandoned() {
    let shop = Shop::open().await;
    let (_, reply) = shop.request("refund").await;
    let error = shop.registry.barrier_on(&reply).whole().await.unwrap_err();
    assert!(error.is_abandoned(), "{error}");
}

#[tokio::test(start_paused = true)]
async fn completing_after_the_lease_does_not_close_a_branch() {
    let shop = Shop::open().await;
    let (refund, reply) = shop.request("refund").await;
    let open = shop.registry.begin(refund).await.unwrap();
    // The process is cut off from its ledger, as if frozen, and comes back too late.
    shop.orders.pause("us").unwrap();
    sleep(LEASE * 2).await;
    shop.orders.resume("us").unwrap();
    assert!(open.complete().await.unwrap_err().is_abandoned());
    assert!(shop.registry.barrier_on(&reply).whole().await.unwrap_err().is_abandoned());
}

#[tokio::test(start_paused = true)]
async fn a_branch_runs_once() {
    let shop = Shop::open().await;
    let (refund, _) = shop.request("refund").await;
    let late = shop.registry.begin(refund).await.unwrap();
    shop.run(refund, "refund").await;
    assert!(shop.registry.begin(refund).await.unwrap_err().is_closed(), "its message came again");
    late.complete().await.unwrap(); // Nothing that the other run did not have.
    shop.orders.shim().within(late.scope().clone()).put("refund", "twice").await.unwrap();
    assert!(late.complete().await.unwrap_err().is_closed(), "its writes are not covered");
}

#[tokio::test(start_paused = true)]
async fn an_entry_that_no_ledger_knows_is_an_error() {
    let shop = Shop::open().await;
    for (ledger, standing) in [("orders", BranchStanding::Unknown), ("cellar", BranchStanding::Unregistered)]
    {
        let mut lineage = Lineage::new();
        let branch = Branch { ledger: ledger.parse().unwrap(), name: "x".parse().unwrap(), id: BranchId(7) };
        lineage.add_branch(branch);
        let error = shop.registry.barrier_on(&lineage).whole().await.unwrap_err();
        assert!(error.is_unknown_branch() && error.branches()[0].standing == standing, "{error}");
    }
    let mut forgotten = Lineage::new();
    forgotten.forget_branches();
    for lineage in [forgotten, Lineage::everything()] {
        shop.registry.barrier_on(&lineage).await.unwrap();
        let error = shop.registry.barrier_on(&lineage).whole().await.unwrap_err();
        assert!(error.is_unknown_branch(), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_branch_is_forgotten_an_hour_after_its_end_and_not_earlier() {
    let shop = Shop::open().await;
    let (refund, reply) = shop.request("refund").await;
    shop.run(refund, "refund").await;
    sleep(Duration::from_secs(3_500)).await;
    assert_eq!(shop.registry.barrier_on(&reply).whole().await.unwrap().branches(), 1);
    sleep(Duration::from_secs(200)).await;
    assert!(shop.registry.barrier_on(&reply).whole().await.unwrap_err().is_unknown_branch());
}

#[tokio::test(start_paused = true)]
async fn a_ledger_that_is_down_is_named_and_may_come_back() {
    let shop = Shop::open().await;
    let (_, reply) = shop.request("refund").await;
    let down = MemoryStore::builder("orders").region("us").build().unwrap();
    let registry = Registry::builder().store(down.clone()).deadline(WORK).build().await.unwrap();
    down.stop("us").unwrap();
    let error = registry.barrier_on(&reply).whole().await.unwrap_err();
    assert!(error.is_store_down() && error.to_string().contains("us"), "{error}");
    let request = LineageScope::new();
    let error = registry.branch(shop.name(), "refund").within(&request).await.unwrap_err();
    assert!(error.is_ledger_down() && request.lineage().is_empty(), "{error}");
    let come_back = async {
        sleep(WORK / 2).await;
        down.start("us").unwrap();
    };
    let (_, branch) = tokio::join!(come_back, registry.branch(shop.name(), "refund").within(&request));
    assert_eq!(request.lineage().branches(), [branch.unwrap()]);
}
