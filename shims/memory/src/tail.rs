//! The log as a region applies it: a topic whose messages carry lineage.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use antipode_lineage::{Lineage, LineageScope, ReplicaName, WriteId};

use crate::MemoryError;
use crate::cluster::{Cluster, Turn};

/// An ordered stream of what a region applies. Made by [`MemoryStore::tail`](crate::MemoryStore::tail).
///
/// With a key per message this is an embedded notifier: the consumer in another region gets each
/// message once the region has it, with its writer's lineage.
///
/// The log is kept for a tail up to the store's capacity.
pub struct Tail {
    cluster: Arc<Cluster>,
    region: ReplicaName,
    number: u64,
    /// What was taken out of the log and not handed out yet.
    taken: VecDeque<Notice>,
}

/// A change of one key, as a region applied it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Notice {
    /// The write. The changes of one transaction share it.
    pub write: WriteId,
    /// The key.
    pub key: Arc<str>,
    /// The whole value afterwards; `None` once deleted.
    pub value: Option<Arc<[u8]>>,
    /// What the value's writers depended on, and the write itself.
    pub lineage: Lineage,
}

impl Notice {
    /// A scope to handle this notice in: it depends on what the notice's writer depended on.
    #[must_use]
    pub fn scope(&self) -> LineageScope {
        LineageScope::from(self.lineage.clone())
    }
}

impl Tail {
    pub(crate) fn new(cluster: Arc<Cluster>, region: &str) -> Result<Self, MemoryError> {
        let (region, number) = cluster.ask(|state, _| {
            let name = state.find(region)?;
            let next = state.region(name)?.applied + 1;
            let number = state.tails.last().map_or(0, |(number, _)| number + 1);
            state.tails.push((number, next));
            Ok::<_, MemoryError>((name, number))
        })?;
        Ok(Self { cluster, region, number, taken: VecDeque::new() })
    }

    /// Waits until the region has applied another change. Dropping the call loses nothing.
    ///
    /// # Errors
    /// [`MemoryError::RegionDown`]; [`MemoryError::TailLagged`] once if the log went on without this
    /// tail. The next call goes on after either.
    pub async fn next(&mut self) -> Result<Notice, MemoryError> {
        loop {
            if let Some(notice) = self.taken.pop_front() {
                return Ok(notice);
            }
            self.taken = self.take().await?;
        }
    }

    async fn take(&self) -> Result<VecDeque<Notice>, MemoryError> {
        let taken = self.cluster.until(|state| {
            if !state.answers(self.region)? {
                return Ok(Turn::Again(None));
            }
            let (store, first) = (state.name, state.log.first());
            let applied = state.region(self.region)?.applied;
            let due = state.next_due(self.region);
            let slot = state.tails.iter_mut().find(|(number, _)| *number == self.number);
            let Some((_, next)) = slot else { return Ok(Turn::Again(due)) };
            if *next < first {
                let missed = first - *next;
                *next = first;
                return Err(MemoryError::TailLagged { store, missed });
            }
            match state.log.get(*next).filter(|_| *next <= applied) {
                Some(entry) => {
                    *next += 1;
                    let write = entry.write;
                    let notices = entry.changes.iter().map(|change| {
                        let stored = change.stored.as_ref();
                        let mut lineage = stored.map_or(&change.lineage, |stored| &stored.lineage).clone();
                        lineage.add(write);
                        let value = stored.map(|stored| Arc::clone(&stored.value));
                        Notice { write, key: Arc::clone(&change.key), value, lineage }
                    });
                    Ok(Turn::Done(notices.collect()))
                }
                None => Ok(Turn::Again(due)),
            }
        });
        taken.await
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.cluster.change(|state, _| state.tails.retain(|(number, _)| *number != self.number));
    }
}

impl fmt::Debug for Tail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tail").field("store", &self.cluster.name()).field("region", &self.region).finish()
    }
}
