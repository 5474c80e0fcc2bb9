//! A shop whose requests leave work behind: for the tests of branches.

use std::time::Duration;

use antipode_barrier::Registry;
use antipode_lineage::{Branch, Lineage, LineageCodec, LineageScope, StoreName};
use antipode_memory::{Lag, MemoryStore};
use tokio::time::sleep;

pub(crate) const LAG: Duration = Duration::from_millis(100);
pub(crate) const WORK: Duration = Duration::from_millis(300);
pub(crate) const LEASE: Duration = Duration::from_millis(200);
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Orders (they hold the ledger) are written in the US and read in Europe.
pub(crate) struct Shop {
    pub(crate) orders: MemoryStore,
    pub(crate) registry: Registry,
}

impl Shop {
    pub(crate) async fn open() -> Self {
        let orders = MemoryStore::builder("orders").region("us").lagging("eu", Lag::of(LAG)).build().unwrap();
        let registry = Registry::builder().store(orders.clone()).deadline(PATIENCE).build().await.unwrap();
        Self { orders, registry }
    }

    /// A request that starts a branch; what leaves with its reply.
    pub(crate) async fn request(&self, name: &str) -> (Branch, Lineage) {
        let request = LineageScope::new();
        let branch = self.registry.branch(self.name(), name).lease(LEASE).within(&request).await.unwrap();
        (branch, LineageCodec::plain().decode(LineageCodec::plain().encode(&request.lineage())).unwrap())
    }

    /// Runs a branch, that takes its time and writes a value.
    pub(crate) async fn run(&self, branch: Branch, key: &str) {
        let open = self.registry.begin(branch).await.unwrap();
        let work = async {
            sleep(WORK).await;
            self.orders.shim().put(key, "done").await.unwrap();
        };
        open.run(work).await;
        open.complete().await.unwrap();
    }

    pub(crate) fn name(&self) -> StoreName {
        "orders".parse().unwrap()
    }

    pub(crate) fn peek(&self, key: &str) -> bool {
        self.orders.peek("eu", key).unwrap().is_some()
    }
}
