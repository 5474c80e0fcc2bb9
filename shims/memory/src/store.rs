//! The store as it is registered, and its regions as barriers see them.

use std::sync::Arc;

use antipode_barrier::{
    BoxFuture, Frontiers, Ledger, Observer, ProbeError, Recorder, Replica, Shards, Store, Target, Verdict,
};
use antipode_lineage::{ReplicaName, StoreName};

use crate::cluster::{Cluster, PRIMARY, State, Turn};
use crate::ledger::MemoryLedger;
use crate::{MemoryBuilder, MemoryError, MemoryShim, Tail};

/// An in-process store with a primary region and replicas that its log reaches later.
///
/// A handle: clones share the store. What is [read from](MemoryStore::reading_from) belongs to the
/// handle, so each "process" of a simulation has its own.
#[derive(Debug, Clone)]
pub struct MemoryStore {
    pub(crate) cluster: Arc<Cluster>,
    recorder: Recorder,
    ledger: Arc<MemoryLedger>,
    /// Empty: every region but the primary.
    reading: Arc<[ReplicaName]>,
}

impl MemoryStore {
    /// Begins a store with the name that every service uses for it.
    pub fn builder(name: impl Into<String>) -> MemoryBuilder {
        MemoryBuilder::new(name.into())
    }

    pub(crate) fn new(cluster: Cluster, recorder: Recorder) -> Self {
        let cluster = Arc::new(cluster);
        let ledger = Arc::new(MemoryLedger::new(Arc::clone(&cluster)));
        Self { cluster, recorder, ledger, reading: Arc::default() }
    }

    /// The same store for a process that reads from these regions, the preferred one first;
    /// `primary` stands for whichever region is. Without this, every region but the primary is read
    /// from, in the builder's order.
    ///
    /// # Errors
    /// [`MemoryError::UnknownRegion`].
    pub fn reading_from<'r>(&self, regions: impl IntoIterator<Item = &'r str>) -> Result<Self, MemoryError> {
        let parse = |region: &str| {
            self.cluster.ask(|state, _| state.find(region))?;
            ReplicaName::parse(region).map_err(|source| MemoryError::Name { name: region.to_owned(), source })
        };
        let reading = regions.into_iter().map(parse).collect::<Result<_, _>>()?;
        Ok(Self { reading, ..self.clone() })
    }

    /// The handle for reads and writes that carry lineage.
    #[must_use]
    pub fn shim(&self) -> MemoryShim {
        MemoryShim::new(self.clone(), self.recorder.clone())
    }

    /// The entries of the log as the region applies them, beginning after what it has applied now.
    ///
    /// # Errors
    /// [`MemoryError::UnknownRegion`].
    pub fn tail(&self, region: &str) -> Result<Tail, MemoryError> {
        Tail::new(Arc::clone(&self.cluster), region)
    }

    /// Reads a value at one region, without lineage. A paused region answers too.
    ///
    /// # Errors
    /// [`MemoryError::UnknownRegion`].
    pub fn peek(&self, region: &str, key: &str) -> Result<Option<Arc<[u8]>>, MemoryError> {
        self.cluster.ask(|state, _| {
            let name = state.find(region)?;
            Ok(state.region(name)?.data.get(key).map(|stored| Arc::clone(&stored.value)))
        })
    }

    /// The region that is the primary now.
    #[must_use]
    pub fn primary_region(&self) -> ReplicaName {
        self.cluster.ask(|state, _| state.primary)
    }

    /// How many operations had no lineage to record into.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.recorder.missed()
    }

    /// The regions read from, the preferred one first.
    pub(crate) fn reading(&self, state: &State) -> Vec<ReplicaName> {
        if !self.reading.is_empty() {
            return self.reading.to_vec();
        }
        let regions = state.regions.iter().filter(|region| region.is_attached());
        let names = regions.map(|region| region.name);
        let followers: Vec<_> = names.filter(|name| *name != state.primary).collect();
        if followers.is_empty() { vec![state.primary] } else { followers }
    }

    fn replica(&self, name: ReplicaName) -> Arc<dyn Replica> {
        Arc::new(MemoryReplica { cluster: Arc::clone(&self.cluster), name })
    }
}

impl Store for MemoryStore {
    fn name(&self) -> StoreName {
        self.cluster.name()
    }

    fn primary(&self) -> Option<Arc<dyn Replica>> {
        ReplicaName::parse(PRIMARY).ok().map(|name| self.replica(name))
    }

    fn replicas(&self) -> Vec<Arc<dyn Replica>> {
        let reading = self.cluster.ask(|state, _| self.reading(state));
        reading.into_iter().map(|name| self.replica(name)).collect()
    }

    fn ledger(&self) -> Option<Arc<dyn Ledger>> {
        Some(Arc::clone(&self.ledger) as _)
    }

    fn observed_by(&self, observer: Arc<dyn Observer>) {
        self.recorder.observed_by(observer);
    }
}

/// A region, or whichever one is the primary.
#[derive(Debug)]
struct MemoryReplica {
    cluster: Arc<Cluster>,
    name: ReplicaName,
}

impl MemoryReplica {
    /// Answers when the region has something else to say of the target than that it is pending.
    async fn frontiers(&self, until: Option<Target>) -> Result<Frontiers, ProbeError> {
        let answer = self.cluster.until(|state| {
            let name = state.find(self.name.as_str())?;
            if !state.answers(name)? {
                return Ok(Turn::Again(None));
            }
            let frontier = state.region(name)?.frontier();
            let pending = |until: Target| frontier.verdict(until.epoch, until.position) == Verdict::Pending;
            match until.is_some_and(pending) {
                true => Ok(Turn::Again(state.next_due(name))),
                false => Ok(Turn::Done(frontier.into())),
            }
        });
        answer.await.map_err(ProbeError::new)
    }
}

impl Replica for MemoryReplica {
    fn name(&self) -> ReplicaName {
        self.name
    }

    fn probe<'a>(&'a self, _shards: Shards<'a>) -> BoxFuture<'a, Result<Frontiers, ProbeError>> {
        Box::pin(self.frontiers(None))
    }

    fn wait<'a>(&'a self, until: Target) -> Option<BoxFuture<'a, Result<Frontiers, ProbeError>>> {
        Some(Box::pin(self.frontiers(Some(until))))
    }
}
