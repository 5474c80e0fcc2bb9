//! What is known of a replica: the last answer about each of its shards.

use std::time::Duration;

use antipode_lineage::{Shard, WriteId};
use smallvec::SmallVec;
use tokio::time::Instant;

use crate::wanted::Wanted;
use crate::{Frontier, Frontiers, Verdict};

/// The frontier of each shard that was answered for, and when that probe began. Sorted by shard.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known(SmallVec<[(Shard, Frontier, Instant); 1]>);

impl Known {
    /// Takes in an answer to a probe of the shards asked for, begun then. One that it leaves out is not
    /// known there any more; what was not asked for stays as old as it is. Says whether a shard came,
    /// went, or is in another history, so that every verdict has to be made anew.
    pub(crate) fn learn(&mut self, asked: &Wanted, begun: Instant, answer: &Frontiers) -> bool {
        let held = self.0.len();
        self.0.retain(|(shard, _, _)| answer.get(*shard).is_some() || !asked.contains(*shard));
        let mut turned = self.0.len() != held;
        for (shard, new) in answer.iter() {
            match self.place(shard) {
                Ok(at) => {
                    if let Some((_, old, since)) = self.0.get_mut(at) {
                        turned |= old.epoch != new.epoch || old.ancestry != new.ancestry;
                        (*old, *since) = (new.clone(), begun);
                    }
                }
                Err(at) => {
                    turned = true;
                    self.0.insert(at, (shard, new.clone(), begun));
                }
            }
        }
        turned
    }

    /// How one write stands, by the last answer about its shard, however old.
    pub(crate) fn verdict(&self, write: &WriteId) -> Verdict {
        self.get(write.shard).map_or(Verdict::Indeterminate, |(frontier, _)| judge(frontier, write))
    }

    /// If all of `writes` are visible by answers that are no older than `ttl`: the age of the oldest.
    pub(crate) fn covers(&self, writes: &[WriteId], now: Instant, ttl: Duration) -> Option<Duration> {
        writes.iter().try_fold(Duration::ZERO, |oldest, write| {
            let (frontier, begun) = self.get(write.shard)?;
            let age = now.duration_since(begun);
            (age <= ttl && judge(frontier, write) == Verdict::Visible).then_some(oldest.max(age))
        })
    }

    /// Every shard with its frontier.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Shard, &Frontier)> {
        self.0.iter().map(|(shard, frontier, _)| (*shard, frontier))
    }

    fn get(&self, shard: Shard) -> Option<(&Frontier, Instant)> {
        let (held, frontier, begun) = match self.0.as_slice() {
            [only] => only,
            many => many.get(self.place(shard).ok()?)?,
        };
        (*held == shard).then_some((frontier, *begun))
    }

    fn place(&self, shard: Shard) -> Result<usize, usize> {
        self.0.binary_search_by_key(&shard, |(held, _, _)| *held)
    }
}

fn judge(frontier: &Frontier, write: &WriteId) -> Verdict {
    frontier.verdict(write.epoch, write.position)
}
