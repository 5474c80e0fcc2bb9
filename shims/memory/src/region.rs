//! One region: its copy of the data, and how the log reaches it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use antipode_barrier::{Ancestor, Frontier};
use antipode_lineage::{Epoch, Position, ReplicaName};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::Instant;

use crate::log::{Applied, Entry, Log, Stored};

/// How long an entry takes from the primary to a region: a base, and up to so much more, drawn for
/// each entry from the store's seed. Entries arrive in order: a late one holds up those behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lag {
    base: Duration,
    jitter: Duration,
}

impl Lag {
    /// At once.
    pub const NONE: Lag = Lag { base: Duration::ZERO, jitter: Duration::ZERO };

    /// Always this long.
    #[must_use]
    pub fn of(base: Duration) -> Self {
        Self { base, jitter: Duration::ZERO }
    }

    /// The same with up to `jitter` more, evenly distributed.
    #[must_use]
    pub fn jitter(self, jitter: Duration) -> Self {
        Self { jitter, ..self }
    }

    fn draw(self, rng: &mut StdRng) -> Duration {
        let jitter = u64::try_from(self.jitter.as_nanos()).unwrap_or(u64::MAX);
        self.base + Duration::from_nanos(rng.random_range(0..=jitter))
    }
}

/// What a region does when asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    Running,
    /// Answers nothing, applies nothing.
    Paused,
    /// Refuses everything; the data is kept.
    Stopped,
    /// Refuses everything and follows nobody, until it rejoins.
    Detached,
}

#[derive(Debug)]
pub(crate) struct Region {
    pub(crate) name: ReplicaName,
    pub(crate) data: HashMap<Arc<str>, Stored>,
    pub(crate) applied: u64,
    /// The history as far as this region has heard of it.
    pub(crate) epoch: Epoch,
    pub(crate) ancestry: Arc<[Ancestor]>,
    pub(crate) condition: Condition,
    /// Since when the link to the primary is whole; `None` while it is cut.
    pub(crate) linked: Option<Instant>,
    pub(crate) lag: Lag,
    rng: StdRng,
    /// The delay drawn for the entry to be applied next.
    drawn: Option<Duration>,
}

impl Region {
    pub(crate) fn new(name: ReplicaName, lag: Lag, epoch: Epoch, seed: u64) -> Self {
        Self {
            name,
            data: HashMap::new(),
            applied: 0,
            epoch,
            ancestry: Arc::default(),
            condition: Condition::Running,
            linked: Some(Instant::now()),
            lag,
            rng: StdRng::seed_from_u64(seed),
            drawn: None,
        }
    }

    pub(crate) fn frontier(&self) -> Frontier {
        Frontier::new(self.epoch, Position(self.applied)).with_ancestry(Arc::clone(&self.ancestry))
    }

    pub(crate) fn is_attached(&self) -> bool {
        self.condition != Condition::Detached
    }

    /// Applies every entry that has arrived by now.
    pub(crate) fn catch_up(&mut self, log: &Log, now: Instant) {
        while let Some(due) = self.next_due(log)
            && due <= now
            && let Some(entry) = log.get(self.applied + 1)
        {
            self.apply(entry);
        }
    }

    /// When the next entry arrives, if one is on its way.
    pub(crate) fn next_due(&mut self, log: &Log) -> Option<Instant> {
        let linked = self.linked.filter(|_| self.condition == Condition::Running)?;
        let entry = log.get(self.applied + 1)?;
        let delay = *self.drawn.get_or_insert_with(|| self.lag.draw(&mut self.rng));
        Some(linked.max(entry.at) + delay)
    }

    /// Applies every entry, whenever it would have arrived.
    pub(crate) fn deliver_all(&mut self, log: &Log) {
        while let Some(entry) = log.get(self.applied + 1) {
            self.apply(entry);
        }
    }

    fn apply(&mut self, entry: &Entry) {
        entry.changes.iter().for_each(|change| self.change(change));
        self.applied = entry.write.position.0;
        self.drawn = None;
    }

    pub(crate) fn change(&mut self, change: &Applied) {
        match &change.stored {
            Some(stored) => self.data.insert(Arc::clone(&change.key), stored.clone()),
            None => self.data.remove(&change.key),
        };
    }

    /// Draws the next delay anew.
    pub(crate) fn set_lag(&mut self, lag: Lag) {
        self.lag = lag;
        self.drawn = None;
    }

    /// Throws its own data away for a whole copy of another region's.
    pub(crate) fn adopt(&mut self, data: HashMap<Arc<str>, Stored>, applied: u64) {
        self.data = data;
        self.applied = applied;
        self.drawn = None;
    }
}
