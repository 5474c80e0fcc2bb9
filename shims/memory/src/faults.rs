//! What can be done to the regions of a store while it runs: lag, partitions, pauses, failover.

use antipode_barrier::Ancestor;
use antipode_lineage::{Position, ReplicaName};
use tokio::time::Instant;

use crate::cluster::State;
use crate::region::{Condition, Region};
use crate::{Lag, MemoryError, MemoryStore};

/// Faults. A region is named as in the builder; `primary` is whichever region is.
///
/// # Errors
/// All of them answer [`MemoryError::UnknownRegion`] for a name that the store does not have.
impl MemoryStore {
    /// Sets how long entries take to the region, from the next one on.
    pub fn set_lag(&self, region: &str, lag: Lag) -> Result<(), MemoryError> {
        self.afflict(region, |region, _| region.set_lag(lag))
    }

    /// Cuts the region off: nothing reaches it from the primary, it goes on answering. The primary is
    /// then cut off from every region.
    pub fn cut(&self, region: &str) -> Result<(), MemoryError> {
        self.afflict(region, |region, _| region.linked = None)
    }

    /// Ends [`cut`](MemoryStore::cut): what was held back arrives after the region's lag.
    pub fn heal(&self, region: &str) -> Result<(), MemoryError> {
        self.afflict(region, |region, now| {
            region.linked.get_or_insert(now);
        })
    }

    /// Pauses the region: it answers nothing and applies nothing, calls wait.
    pub fn pause(&self, region: &str) -> Result<(), MemoryError> {
        self.afflict(region, |region, _| region.turn(Condition::Running, Condition::Paused))
    }

    /// Ends [`pause`](MemoryStore::pause).
    pub fn resume(&self, region: &str) -> Result<(), MemoryError> {
        self.afflict(region, |region, _| region.turn(Condition::Paused, Condition::Running))
    }

    /// Stops the region: it refuses everything with [`MemoryError::RegionDown`] and keeps its data.
    pub fn stop(&self, region: &str) -> Result<(), MemoryError> {
        self.afflict(region, |region, _| {
            if region.is_attached() {
                region.condition = Condition::Stopped;
            }
        })
    }

    /// Starts a [stopped](MemoryStore::stop) region with the data that it had.
    pub fn start(&self, region: &str) -> Result<(), MemoryError> {
        self.afflict(region, |region, now| {
            if region.condition == Condition::Stopped {
                region.condition = Condition::Running;
                region.linked = region.linked.map(|_| now);
            }
        })
    }

    /// Lets go of a region for good: it is down and the log is not kept for it. It may
    /// [rejoin](MemoryStore::rejoin).
    ///
    /// # Errors
    /// [`MemoryError::AlreadyPrimary`] for the primary.
    pub fn detach(&self, region: &str) -> Result<(), MemoryError> {
        self.cluster.change(|state, _| {
            let name = state.find(region)?;
            state.other_than_primary(name)?.condition = Condition::Detached;
            Ok(())
        })
    }

    /// The primary is gone at once, and the region becomes primary with what it has applied. What it
    /// had not applied is cut off: those writes are lost. The old primary is down until it
    /// [rejoins](MemoryStore::rejoin).
    ///
    /// # Errors
    /// [`MemoryError::AlreadyPrimary`]; [`MemoryError::RegionDown`] if the region is not running or
    /// missed the last failover.
    pub fn fail_over(&self, to: &str) -> Result<(), MemoryError> {
        self.cluster.change(|state, now| {
            let to = state.find(to)?;
            let old = state.primary;
            state.promote(to)?;
            state.region(old)?.condition = Condition::Detached;
            state.reconnect(now)
        })
    }

    /// The region becomes primary once everything has reached it, and the old primary follows it.
    /// Nothing is lost.
    ///
    /// # Errors
    /// As [`fail_over`](MemoryStore::fail_over).
    pub fn switch_over(&self, to: &str) -> Result<(), MemoryError> {
        self.cluster.change(|state, now| {
            let (to, old) = (state.find(to)?, state.primary);
            state.deliver_all(to)?;
            state.promote(to)?;
            state.region(old)?.linked = Some(now);
            state.reconnect(now)
        })
    }

    /// Lets a region that a failover left behind follow the primary. What only it had is thrown
    /// away for a copy of the primary's data.
    pub fn rejoin(&self, region: &str) -> Result<(), MemoryError> {
        self.afflict(region, |region, now| {
            region.turn(Condition::Detached, Condition::Running);
            region.linked = Some(now);
        })
    }

    fn afflict(&self, region: &str, fault: impl FnOnce(&mut Region, Instant)) -> Result<(), MemoryError> {
        self.cluster.change(|state, now| {
            let name = state.find(region)?;
            fault(state.region(name)?, now);
            state.reconnect(now)
        })
    }
}

impl Region {
    fn turn(&mut self, from: Condition, to: Condition) {
        if self.condition == from {
            self.condition = to;
        }
    }
}

impl State {
    fn other_than_primary(&mut self, name: ReplicaName) -> Result<&mut Region, MemoryError> {
        if name == self.primary {
            return Err(MemoryError::AlreadyPrimary { store: self.name, region: name });
        }
        self.region(name)
    }

    /// Begins a new epoch with what the region has applied.
    fn promote(&mut self, to: ReplicaName) -> Result<(), MemoryError> {
        let (store, epoch) = (self.name, self.epoch);
        let region = self.other_than_primary(to)?;
        if region.condition != Condition::Running || region.epoch != epoch {
            return Err(MemoryError::RegionDown { store, region: to });
        }
        let end = Position(region.applied);
        region.linked = region.linked.or(Some(Instant::now()));
        // A region that was behind an earlier epoch's end takes that end back with it.
        self.ancestry.iter_mut().for_each(|ancestor| ancestor.end = ancestor.end.min(end));
        self.ancestry.push(Ancestor { epoch, end });
        self.epoch.term += 1;
        self.log.truncate(end.0);
        self.tails.iter_mut().for_each(|(_, next)| *next = (*next).min(end.0 + 1));
        self.primary = to;
        Ok(())
    }

    fn deliver_all(&mut self, to: ReplicaName) -> Result<(), MemoryError> {
        let store = self.name;
        if !self.answers(self.primary)? || !self.answers(to)? {
            return Err(MemoryError::RegionDown { store, region: to });
        }
        let log = &self.log;
        if let Some(region) = self.regions.iter_mut().find(|region| region.name == to) {
            region.deliver_all(log);
        }
        Ok(())
    }

    /// Every region that the primary reaches hears of its epoch, and throws away what is not part of
    /// it.
    fn reconnect(&mut self, now: Instant) -> Result<(), MemoryError> {
        if !self.is_replicating() {
            return Ok(());
        }
        let (epoch, first) = (self.epoch, self.log.first());
        let source = self.region(self.primary)?;
        let (linked, applied) = (source.linked, source.applied);
        for name in self.regions.iter().map(|region| region.name).collect::<Vec<_>>() {
            let ancestry = self.ancestry.clone();
            let region = self.region(name)?;
            if region.linked.is_none() || region.condition != Condition::Running {
                continue;
            }
            // What was on its way to it when the primary was cut off is sent again.
            region.linked = region.linked.max(linked);
            let left = ancestry.iter().find(|ancestor| ancestor.epoch == region.epoch);
            let diverged = left.is_some_and(|left| region.applied > left.end.0);
            if region.epoch != epoch {
                region.epoch = epoch;
                region.ancestry = ancestry.into();
                region.linked = Some(now);
            }
            if diverged || region.applied + 1 < first {
                let data = self.region(self.primary)?.data.clone();
                self.region(name)?.adopt(data, applied);
            }
        }
        Ok(())
    }
}
