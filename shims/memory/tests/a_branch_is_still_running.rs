//! Work that a request started and did not wait for: what whole-lineage barriers make of it. Simulated
//! time.
#![allow(clippy::unwrap_used)] // Helpers of tests.

use std::time::Duration;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use antipode_barrier::{
    BoxFuture, BranchStanding, BranchState, Ledger, OnTimeout, ProbeError, Registry, Replica, Store,
};
use antipode_lineage::{Branch, BranchId, Lineage, LineageCodec, LineageScope, StoreName};
use antipode_memory::{Lag, MemoryStore};
use tokio::time::{Instant, sleep};

const LAG: Duration = Duration::from_millis(100);
const WORK: Duration = Duration::from_millis(300);
const LEASE: Duration = Duration::from_millis(200);
const PATIENCE: Duration = Duration::from_secs(60);

/// Orders (they hold the ledger) are written in the US and read in Europe.
struct Shop {
    orders: MemoryStore,
    registry: Registry,
}

impl Shop {
    async fn open() -> Self {
        let orders = MemoryStore::builder("orders").region("us").lagging("eu", Lag::of(LAG)).build().unwrap();
        let registry = Registry::builder().store(orders.clone()).deadline(PATIENCE).build().await.unwrap();
        Self { orders, registry }
    }

    /// A request that starts a branch; what leaves with its reply.
    async fn request(&self, name: &str) -> (Branch, Lineage) {
        let request = LineageScope::new();
        let branch = self.registry.branch(self.name(), name).lease(LEASE).within(&request).await.unwrap();
        (branch, LineageCodec::plain().decode(LineageCodec::plain().encode(&request.lineage())).unwrap())
    }

    /// Runs a branch, that takes its time and writes a value.
    async fn run(&self, branch: Branch, key: &str) {
        let open = self.registry.begin(branch).await.unwrap();
        let work = async {
            sleep(WORK).await;
            self.orders.shim().put(key, "done").await.unwrap();
        };
        open.run(work).await;
        open.complete().await.unwrap();
    }

    fn name(&self) -> StoreName {
        "orders".parse().unwrap()
    }

    fn peek(&self, key: &str) -> bool {
        self.orders.peek("eu", key).unwrap().is_some()
    }
}

#[tokio::test(start_paused = true)]
async fn only_a_whole_barrier_waits_for_a_branch_and_then_for_its_writes() {
    let shop = Shop::open().await;
    let (refund, reply) = shop.request("refund").await;
    let reader = async {
        let prefix = shop.registry.barrier_on(&reply).await.unwrap();
        assert!(!shop.peek("refund") && prefix.branches() == 0, "the anomaly");
        assert!(shop.registry.barrier_on(&reply).known().is_some(), "an open entry is nothing to a prefix");
        assert!(shop.registry.barrier_on(&reply).whole().known().is_none());
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
    scope.run(async { assert!(shop.registry.barrier().whole().known().is_some(), "once is enough") }).await;
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

/// A store whose ledger takes its time, and counts the questions.
struct Counted {
    orders: MemoryStore,
    reads: Arc<Reads>,
}

struct Reads {
    ledger: Arc<dyn Ledger>,
    all: AtomicUsize,
    under_way: AtomicUsize,
}

impl Store for Counted {
    fn name(&self) -> StoreName {
        Store::name(&self.orders)
    }

    fn primary(&self) -> Option<Arc<dyn Replica>> {
        self.orders.primary()
    }

    fn replicas(&self) -> Vec<Arc<dyn Replica>> {
        self.orders.replicas()
    }

    fn ledger(&self) -> Option<Arc<dyn Ledger>> {
        Some(Arc::clone(&self.reads) as _)
    }
}

impl Ledger for Reads {
    fn register<'a>(
        &'a self,
        branch: &'a Branch,
        lease: Duration,
    ) -> BoxFuture<'a, Result<BranchState, ProbeError>> {
        self.ledger.register(branch, lease)
    }

    fn renew<'a>(
        &'a self,
        branch: BranchId,
        waits: &'a [Branch],
    ) -> BoxFuture<'a, Result<BranchState, ProbeError>> {
        self.ledger.renew(branch, waits)
    }

    fn complete<'a>(
        &'a self,
        branch: BranchId,
        last: &'a Lineage,
    ) -> BoxFuture<'a, Result<BranchState, ProbeError>> {
        self.ledger.complete(branch, last)
    }

    fn read<'a>(&'a self, branches: &'a [BranchId]) -> BoxFuture<'a, Result<Vec<BranchState>, ProbeError>> {
        Box::pin(async move {
            self.all.fetch_add(1, Ordering::Relaxed);
            assert_eq!(self.under_way.fetch_add(1, Ordering::Relaxed), 0, "one question at a time");
            sleep(Duration::from_millis(1)).await;
            self.under_way.fetch_sub(1, Ordering::Relaxed);
            self.ledger.read(branches).await
        })
    }
}

#[tokio::test(start_paused = true)]
async fn many_whole_barriers_ask_one_question_at_a_time() {
    let shop = Shop::open().await;
    let ledger = shop.orders.ledger().unwrap();
    let (all, under_way) = Default::default();
    let reads = Arc::new(Reads { ledger, all, under_way });
    let counted = Counted { orders: shop.orders.clone(), reads: Arc::clone(&reads) };
    let registry = Registry::builder().store(counted).deadline(PATIENCE).build().await.unwrap();
    let requests = [shop.request("a").await, shop.request("b").await];
    let waiting: Vec<_> = (0..200)
        .map(|number| {
            let (registry, reply) = (registry.clone(), requests[number % 2].1.clone());
            tokio::spawn(async move { registry.barrier_on(&reply).whole().await.unwrap().branches() })
        })
        .collect();
    tokio::join!(shop.run(requests[0].0, "a"), shop.run(requests[1].0, "b"));
    for barrier in waiting {
        assert_eq!(barrier.await.unwrap(), 1);
    }
    let asked = reads.all.load(Ordering::Relaxed);
    assert!(asked < 1_000, "{asked} questions for 200 barriers of some 100 looks each");
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
