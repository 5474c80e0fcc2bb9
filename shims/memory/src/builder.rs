//! Building a store.

use antipode_barrier::{OnMissing, Recorder};
use antipode_lineage::{Epoch, ReplicaName, StoreName};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::cluster::{Cluster, PRIMARY, State};
use crate::region::{Lag, Region};
use crate::{MemoryError, MemoryStore};

/// How many entries the log holds if nothing else is said.
const CAPACITY: usize = 65_536;

/// Describes an in-memory store. Made by [`MemoryStore::builder`].
#[derive(Debug, Clone)]
#[must_use]
pub struct MemoryBuilder {
    name: String,
    regions: Vec<(String, Lag)>,
    capacity: usize,
    seed: Option<u64>,
    on_missing: OnMissing,
}

impl MemoryBuilder {
    pub(crate) fn new(name: String) -> Self {
        Self { name, regions: Vec::new(), capacity: CAPACITY, seed: None, on_missing: OnMissing::default() }
    }

    /// Adds a region that the log reaches at once. The first region is the primary.
    pub fn region(self, name: impl Into<String>) -> Self {
        self.lagging(name, Lag::NONE)
    }

    /// Adds a region that the log reaches after this lag. For the first region, the primary, the lag
    /// counts once it follows another one.
    pub fn lagging(mut self, name: impl Into<String>, lag: Lag) -> Self {
        self.regions.push((name.into(), lag));
        self
    }

    /// The most entries (writes or transactions) that the log keeps for regions and tails that are
    /// behind; 65,536 if not said. At least 1.
    pub fn capacity(self, entries: usize) -> Self {
        Self { capacity: entries.max(1), ..self }
    }

    /// Draws the lags and the name of the store's history from this seed, so that a run can be
    /// repeated. Without one they are random: positions of an earlier process are then known to be
    /// of another history.
    pub fn seed(self, seed: u64) -> Self {
        Self { seed: Some(seed), ..self }
    }

    /// What an operation outside of any lineage does; by default it warns and counts.
    pub fn on_missing(self, on_missing: OnMissing) -> Self {
        Self { on_missing, ..self }
    }

    /// Builds the store.
    ///
    /// # Errors
    /// [`MemoryError::Name`], [`MemoryError::NoRegion`] or [`MemoryError::RegionTaken`].
    pub fn build(self) -> Result<MemoryStore, MemoryError> {
        let store = StoreName::parse(&self.name)
            .map_err(|source| MemoryError::Name { name: self.name.clone(), source })?;
        let mut rng = StdRng::seed_from_u64(self.seed.unwrap_or_else(rand::random));
        let epoch = Epoch { history: rng.random_range(1..=u64::MAX), term: 1 };
        let mut regions: Vec<Region> = Vec::with_capacity(self.regions.len());
        for (name, lag) in self.regions {
            let name = ReplicaName::parse(&name).map_err(|source| MemoryError::Name { name, source })?;
            if name.as_str() == PRIMARY || regions.iter().any(|region| region.name == name) {
                return Err(MemoryError::RegionTaken { store, region: name });
            }
            regions.push(Region::new(name, lag, epoch, rng.random()));
        }
        let state = State::new(store, regions, self.capacity).ok_or(MemoryError::NoRegion { store })?;
        Ok(MemoryStore::new(Cluster::new(state), Recorder::new(store, self.on_missing)))
    }
}
