//! Barriers inside of branches, which may wait for one another. Simulated time.

use antipode_lineage::{Branch, Lineage, LineageScope};
use tokio::time::{Instant, sleep};

use crate::shop::{LAG, Shop, WORK};

#[tokio::test(start_paused = true)]
async fn a_barrier_inside_of_a_branch_does_not_wait_for_it() {
    let shop = Shop::open().await;
    let (refund, reply) = shop.request("refund").await;
    let open = LineageScope::from(reply.clone()).run(shop.registry.begin(refund)).await.unwrap();
    open.run(async {
        shop.registry.barrier().whole().await.expect("a branch is no entry of its own scope");
        let error = shop.registry.barrier_on(&reply).whole().await.unwrap_err();
        assert!(error.is_cycle() && error.waited().is_zero(), "at once: {error}");
        LineageScope::current().unwrap().join(&reply);
        assert!(shop.registry.barrier().whole().await.unwrap_err().is_cycle());
    })
    .await;
    open.complete().await.unwrap();
    let whole = shop.registry.barrier_on(&reply).whole().await.unwrap();
    assert_eq!(whole.branches(), 1, "its own entry in its final lineage is not waited for again");
}

#[tokio::test(start_paused = true)]
async fn branches_that_wait_for_each_other_are_told() {
    let shop = Shop::open().await;
    let [a, b, c] = [shop.request("a").await, shop.request("b").await, shop.request("c").await];
    let wait = async |own: &(Branch, Lineage), other: &(Branch, Lineage)| {
        let open = shop.registry.begin(own.0).await.unwrap();
        let started = Instant::now();
        let outcome = open.run(async { shop.registry.barrier_on(&other.1).whole().await }).await;
        open.complete().await.unwrap();
        (outcome, started.elapsed())
    };
    let waits = tokio::join!(wait(&a, &b), wait(&b, &c), wait(&c, &a));
    let outcomes = [waits.0, waits.1, waits.2];
    assert!(outcomes.iter().any(|(outcome, _)| outcome.as_ref().is_err_and(|error| error.is_cycle())));
    for (outcome, waited) in outcomes {
        assert!(
            outcome.as_ref().is_ok_and(|report| report.branches() == 1)
                || outcome.as_ref().is_err_and(|error| error.is_cycle()),
            "{outcome:?}"
        );
        assert!(waited < WORK, "well before the deadline: {waited:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_barrier_inside_of_a_branch_waits_for_another_that_does_not_wait_for_it() {
    let shop = Shop::open().await;
    let [a, b] = [shop.request("a").await, shop.request("b").await];
    let first = async {
        let open = shop.registry.begin(a.0).await.unwrap();
        // A barrier that gave up before: nobody may take it for one that still waits.
        let short = shop.registry.barrier_on(&b.1).whole().deadline(LAG);
        open.run(async { assert!(short.await.unwrap_err().is_timeout()) }).await;
        sleep(WORK).await;
        open.complete().await.unwrap();
    };
    let second = async {
        let open = shop.registry.begin(b.0).await.unwrap();
        sleep(LAG).await;
        open.run(async { shop.registry.barrier_on(&a.1).whole().await.unwrap() }).await;
        open.complete().await.unwrap();
    };
    tokio::join!(first, second);
}
