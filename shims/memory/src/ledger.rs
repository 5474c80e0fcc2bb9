//! The branch ledger: a map, kept where the primary is.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use antipode_barrier::{BoxFuture, BranchState, Ledger, ProbeError};
use antipode_lineage::{Branch, BranchId, Lineage};
use tokio::time::Instant;

use crate::cluster::{Cluster, Turn};

/// How long a branch is known after it ended.
const RETENTION: Duration = Duration::from_secs(3_600);

/// Answers while the primary does. A failover loses nothing of it.
#[derive(Debug)]
pub(crate) struct MemoryLedger {
    cluster: Arc<Cluster>,
    entries: Mutex<BTreeMap<BranchId, Entry>>,
}

#[derive(Debug)]
struct Entry {
    lease: Duration,
    until: Instant,
    waits: Vec<Branch>,
    closed: Option<(Instant, Lineage)>,
}

impl MemoryLedger {
    pub(crate) fn new(cluster: Arc<Cluster>) -> Self {
        Self { cluster, entries: Mutex::default() }
    }

    /// Takes a step once the primary answers.
    async fn step<T>(
        &self,
        mut step: impl FnMut(&mut BTreeMap<BranchId, Entry>, Instant) -> T,
    ) -> Result<T, ProbeError> {
        let stepped = self.cluster.until(|state| match state.answers(state.primary)? {
            false => Ok(Turn::Again(None)),
            true => {
                let now = Instant::now();
                // Nothing panics while the lock is held.
                let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
                entries.retain(|_, entry| entry.ended() + RETENTION > now);
                Ok(Turn::Done(step(&mut entries, now)))
            }
        });
        stepped.await.map_err(ProbeError::new)
    }
}

impl Entry {
    fn state(&self, now: Instant) -> BranchState {
        match &self.closed {
            Some((_, last)) => BranchState::Closed(last.clone()),
            None if self.until <= now => BranchState::Abandoned,
            None => BranchState::Open { lease_left: self.until - now, waits: self.waits.clone() },
        }
    }

    fn is_open(&self, now: Instant) -> bool {
        matches!(self.state(now), BranchState::Open { .. })
    }

    /// When it ended, or will if nobody renews it.
    fn ended(&self) -> Instant {
        self.closed.as_ref().map_or(self.until, |(at, _)| *at)
    }
}

impl Ledger for MemoryLedger {
    fn register<'a>(
        &'a self,
        branch: &'a Branch,
        lease: Duration,
    ) -> BoxFuture<'a, Result<BranchState, ProbeError>> {
        Box::pin(self.step(move |entries, now| {
            let entry = || Entry { lease, until: now + lease, waits: Vec::new(), closed: None };
            entries.entry(branch.id).or_insert_with(entry).state(now)
        }))
    }

    fn renew<'a>(
        &'a self,
        branch: BranchId,
        waits: &'a [Branch],
    ) -> BoxFuture<'a, Result<BranchState, ProbeError>> {
        Box::pin(self.step(move |entries, now| {
            let Some(entry) = entries.get_mut(&branch) else { return BranchState::Unknown };
            if entry.is_open(now) {
                (entry.until, entry.waits) = (now + entry.lease, waits.to_vec());
            }
            entry.state(now)
        }))
    }

    fn complete<'a>(
        &'a self,
        branch: BranchId,
        last: &'a Lineage,
    ) -> BoxFuture<'a, Result<BranchState, ProbeError>> {
        Box::pin(self.step(move |entries, now| {
            let Some(entry) = entries.get_mut(&branch) else { return BranchState::Unknown };
            if entry.is_open(now) {
                entry.closed = Some((now, last.clone()));
            }
            entry.state(now)
        }))
    }

    fn read<'a>(&'a self, branches: &'a [BranchId]) -> BoxFuture<'a, Result<Vec<BranchState>, ProbeError>> {
        Box::pin(self.step(move |entries, now| {
            let state = |id| entries.get(id).map_or(BranchState::Unknown, |entry| entry.state(now));
            branches.iter().map(state).collect()
        }))
    }
}
