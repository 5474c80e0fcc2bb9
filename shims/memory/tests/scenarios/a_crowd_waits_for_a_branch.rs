//! Many whole barriers, and what their waiting asks of a ledger. Simulated time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use antipode_barrier::{BoxFuture, BranchState, Ledger, ProbeError, Registry, Replica, Store};
use antipode_lineage::{Branch, BranchId, Lineage, StoreName};
use antipode_memory::MemoryStore;
use tokio::time::sleep;

use crate::shop::{PATIENCE, Shop};

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
