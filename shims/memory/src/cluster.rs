//! All regions under one lock, and time passing in them.
//!
//! No task applies anything: whoever asks a region first lets it apply what has arrived by then. What
//! it answers is the same as if it had been applied at that moment, under a simulated clock too.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use antipode_barrier::Ancestor;
use antipode_lineage::{Epoch, Lineage, Position, ReplicaName, Shard, StoreName, WriteId};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::MemoryError;
use crate::log::{Applied, Entry, Log, Stored};
use crate::region::{Condition, Region};

/// The name that a route or a replica has for whichever region is the primary.
pub(crate) const PRIMARY: &str = "primary";

#[derive(Debug)]
pub(crate) struct Cluster {
    name: StoreName,
    state: Mutex<State>,
    /// Counts what happened, to wake those who wait for something to happen.
    changed: watch::Sender<u64>,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) name: StoreName,
    pub(crate) regions: Vec<Region>,
    pub(crate) primary: ReplicaName,
    pub(crate) epoch: Epoch,
    pub(crate) ancestry: Vec<Ancestor>,
    pub(crate) log: Log,
    capacity: usize,
    /// Who reads the log beside the regions: a number, and the position read next.
    pub(crate) tails: Vec<(u64, u64)>,
}

/// A change of one key, asked for.
#[derive(Debug, Clone)]
pub(crate) enum Edit {
    Put(Arc<str>, Arc<[u8]>),
    Append(Arc<str>, Arc<[u8]>),
    Delete(Arc<str>),
}

/// What an attempt came to.
pub(crate) enum Turn<T> {
    Done(T),
    /// To be tried again when something changes, or at this time.
    Again(Option<Instant>),
}

impl Cluster {
    pub(crate) fn new(state: State) -> Self {
        Self { name: state.name, state: Mutex::new(state), changed: watch::Sender::new(0) }
    }

    pub(crate) fn name(&self) -> StoreName {
        self.name
    }

    /// Lets time pass in every region, then looks or changes something, and wakes the waiting.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut State, Instant) -> T) -> T {
        let outcome = self.ask(change);
        self.changed.send_modify(|count| *count = count.wrapping_add(1));
        outcome
    }

    /// Lets time pass in every region, then looks.
    pub(crate) fn ask<T>(&self, ask: impl FnOnce(&mut State, Instant) -> T) -> T {
        let now = Instant::now();
        let mut state = self.lock();
        state.catch_up(now);
        ask(&mut state, now)
    }

    /// Asks until it is done. Cancelling between two attempts leaves nothing behind.
    pub(crate) async fn until<T>(
        &self,
        mut attempt: impl FnMut(&mut State) -> Result<Turn<T>, MemoryError>,
    ) -> Result<T, MemoryError> {
        // Subscribed first: a change after the attempt is not missed.
        let mut changed = self.changed.subscribe();
        loop {
            match self.ask(|state, _| attempt(state))? {
                Turn::Done(value) => return Ok(value),
                Turn::Again(None) => {
                    // The sender lives as long as `self`.
                    let _ = changed.changed().await;
                }
                Turn::Again(Some(due)) => {
                    let _ = tokio::time::timeout_at(due, changed.changed()).await;
                }
            }
        }
    }

    /// Commits the edits as one entry at the primary; waits while that is paused.
    ///
    /// `committed` runs in the same poll as the commit: a dropped call has either not written, or
    /// told.
    pub(crate) async fn commit(
        &self,
        edits: &[Edit],
        lineage: &Lineage,
        mut committed: impl FnMut(WriteId),
    ) -> Result<WriteId, MemoryError> {
        self.until(|state| match state.answers(state.primary)? {
            false => Ok(Turn::Again(None)),
            true => {
                let write = state.commit(edits, lineage, Instant::now())?;
                committed(write);
                self.changed.send_modify(|count| *count = count.wrapping_add(1));
                Ok(Turn::Done(write))
            }
        })
        .await
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while the lock is held; a poisoned state is still a whole one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    pub(crate) fn new(name: StoreName, regions: Vec<Region>, capacity: usize) -> Option<Self> {
        let first = regions.first()?;
        let (primary, epoch) = (first.name, first.epoch);
        let (ancestry, log, tails) = (Vec::new(), Log::new(), Vec::new());
        Some(Self { name, regions, primary, epoch, ancestry, log, capacity, tails })
    }

    /// The name of the region called this, where `primary` is whichever one is.
    pub(crate) fn find(&self, region: &str) -> Result<ReplicaName, MemoryError> {
        if region == PRIMARY {
            return Ok(self.primary);
        }
        let mut names = self.regions.iter().map(|region| region.name);
        let unknown = || MemoryError::UnknownRegion { store: self.name, region: region.to_owned() };
        names.find(|name| name.as_str() == region).ok_or_else(unknown)
    }

    pub(crate) fn region(&mut self, name: ReplicaName) -> Result<&mut Region, MemoryError> {
        let unknown = || MemoryError::UnknownRegion { store: self.name, region: name.to_string() };
        self.regions.iter_mut().find(|region| region.name == name).ok_or_else(unknown)
    }

    /// Whether the region answers now. A paused one does not.
    pub(crate) fn answers(&mut self, name: ReplicaName) -> Result<bool, MemoryError> {
        let store = self.name;
        match self.region(name)?.condition {
            Condition::Running => Ok(true),
            Condition::Paused => Ok(false),
            Condition::Stopped | Condition::Detached => Err(MemoryError::RegionDown { store, region: name }),
        }
    }

    /// Lets every region apply what has arrived by now.
    fn catch_up(&mut self, now: Instant) {
        if self.is_replicating() {
            for region in self.regions.iter_mut().filter(|region| region.name != self.primary) {
                region.catch_up(&self.log, now);
            }
        }
    }

    /// When the next entry reaches the region, if one is on its way.
    pub(crate) fn next_due(&mut self, name: ReplicaName) -> Option<Instant> {
        let replicating = self.is_replicating();
        let region = self.regions.iter_mut().find(|region| region.name == name)?;
        region.next_due(&self.log).filter(|_| replicating)
    }

    /// Whether the primary sends its log to anyone.
    pub(crate) fn is_replicating(&self) -> bool {
        let mut regions = self.regions.iter();
        let sends = |region: &Region| region.condition == Condition::Running && region.linked.is_some();
        regions.any(|region| region.name == self.primary && sends(region))
    }

    fn commit(&mut self, edits: &[Edit], lineage: &Lineage, at: Instant) -> Result<WriteId, MemoryError> {
        self.make_room()?;
        let position = Position(self.log.next());
        let write = WriteId { store: self.name, shard: Shard::ONLY, epoch: self.epoch, position };
        let primary = self.region(self.primary)?;
        let mut changes = Vec::with_capacity(edits.len());
        for edit in edits {
            let change = edit.applied(primary, lineage, write);
            primary.change(&change);
            changes.push(change);
        }
        primary.applied = position.0;
        self.log.push(Entry { write, at, changes });
        Ok(write)
    }

    /// Forgets what every region has applied and every tail has read. A full log loses its oldest
    /// entry to a tail, but never to a region.
    fn make_room(&mut self) -> Result<(), MemoryError> {
        let attached = self.regions.iter().filter(|region| region.is_attached());
        let Some(last) = attached.min_by_key(|region| region.applied) else { return Ok(()) };
        let (region, applied) = (last.name, last.applied);
        let read = self.tails.iter().map(|(_, next)| next.saturating_sub(1)).min();
        self.log.trim(applied.min(read.unwrap_or(u64::MAX)));
        if self.log.len() < self.capacity {
            return Ok(());
        }
        if applied < self.log.first() {
            return Err(MemoryError::LogFull { store: self.name, region, capacity: self.capacity });
        }
        self.log.trim(self.log.first());
        Ok(())
    }
}

impl Edit {
    /// What it makes of the region's data.
    fn applied(&self, region: &Region, lineage: &Lineage, write: WriteId) -> Applied {
        let stored = |value: Arc<[u8]>, lineage: Lineage| Some(Stored { value, lineage, write });
        let (key, stored) = match self {
            Edit::Put(key, value) => (key, stored(Arc::clone(value), lineage.clone())),
            Edit::Append(key, suffix) => {
                let held = region.data.get(key);
                let mut joined = lineage.clone();
                let mut value = Vec::new();
                if let Some(held) = held {
                    // The earlier part stays readable, and so do its writers' dependencies.
                    joined.join(&held.lineage);
                    joined.add(held.write);
                    value.extend_from_slice(&held.value);
                }
                value.extend_from_slice(suffix);
                (key, stored(value.into(), joined))
            }
            Edit::Delete(key) => (key, None),
        };
        Applied { key: Arc::clone(key), stored, lineage: lineage.clone() }
    }
}
