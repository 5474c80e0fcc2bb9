//! A store whose servers count what they are asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use antipode_barrier::{BoxFuture, CheckError, Frontiers, ProbeError, Replica, Shards, Store, Target};
use antipode_lineage::{ReplicaName, StoreName};

/// The bed's store, seen through counters.
pub(crate) struct Counted {
    store: Arc<dyn Store>,
    pub(crate) replicas: Arc<Counts>,
    pub(crate) primary: Arc<Counts>,
    /// How much later the primary answers.
    late: Duration,
}

/// What the servers behind it were asked, all together.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    asked: AtomicU64,
    under_way: AtomicU64,
    most_under_way: AtomicU64,
}

impl Counts {
    /// Probes and long polls begun so far.
    pub(crate) fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }

    /// Those under way now.
    pub(crate) fn under_way(&self) -> u64 {
        self.under_way.load(Ordering::SeqCst)
    }

    /// The most that were ever under way together.
    pub(crate) fn most_under_way(&self) -> u64 {
        self.most_under_way.load(Ordering::SeqCst)
    }
}

impl Counted {
    pub(crate) fn new(store: Arc<dyn Store>) -> Arc<Self> {
        Self::with_late_primary(store, Duration::ZERO)
    }

    /// The same with a primary far enough away for questions to meet on their way.
    pub(crate) fn with_late_primary(store: Arc<dyn Store>, late: Duration) -> Arc<Self> {
        Arc::new(Self { store, replicas: Arc::default(), primary: Arc::default(), late })
    }
}

impl Store for Counted {
    fn name(&self) -> StoreName {
        self.store.name()
    }

    fn primary(&self) -> Option<Arc<dyn Replica>> {
        let replica = self.store.primary()?;
        Some(Arc::new(CountedReplica { replica, counts: Arc::clone(&self.primary), late: self.late }))
    }

    fn replicas(&self) -> Vec<Arc<dyn Replica>> {
        let counted = |replica| -> Arc<dyn Replica> {
            Arc::new(CountedReplica { replica, counts: Arc::clone(&self.replicas), late: Duration::ZERO })
        };
        self.store.replicas().into_iter().map(counted).collect()
    }

    fn check(&self) -> BoxFuture<'_, Result<(), CheckError>> {
        self.store.check()
    }
}

struct CountedReplica {
    replica: Arc<dyn Replica>,
    counts: Arc<Counts>,
    late: Duration,
}

impl CountedReplica {
    fn counted<'a, T: Send + 'a>(&'a self, answer: BoxFuture<'a, T>) -> BoxFuture<'a, T> {
        Box::pin(async move {
            self.counts.asked.fetch_add(1, Ordering::SeqCst);
            let under_way = self.counts.under_way.fetch_add(1, Ordering::SeqCst) + 1;
            self.counts.most_under_way.fetch_max(under_way, Ordering::SeqCst);
            let _under_way = UnderWay(&self.counts);
            let answer = answer.await;
            if !self.late.is_zero() {
                tokio::time::sleep(self.late).await;
            }
            answer
        })
    }
}

impl Replica for CountedReplica {
    fn name(&self) -> ReplicaName {
        self.replica.name()
    }

    fn probe<'a>(&'a self, shards: Shards<'a>) -> BoxFuture<'a, Result<Frontiers, ProbeError>> {
        self.counted(self.replica.probe(shards))
    }

    fn wait<'a>(&'a self, until: Target) -> Option<BoxFuture<'a, Result<Frontiers, ProbeError>>> {
        self.replica.wait(until).map(|answer| self.counted(answer))
    }
}

/// Takes itself back when the question ends or is dropped.
struct UnderWay<'a>(&'a Counts);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::SeqCst);
    }
}
