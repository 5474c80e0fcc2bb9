//! How far someone who reads a store's topics has come.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use antipode_barrier::{BoxFuture, Frontier, Frontiers, ProbeError, Replica, Shards};
use antipode_lineage::{Epoch, Position, ReplicaName, Shard};

use crate::cluster::{Cluster, End};
use crate::error::Error;

/// What "visible" means for a store's records. A record is visible at offset + 1: control records, such as
/// the marks at the end of a transaction, take offsets of their own.
///
/// Nobody is handed those marks. While one is the last thing in a partition, a barrier on everything or on
/// an unplaced write waits for the next record with `Delivered` and `Processed`, up to its deadline.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Visible {
    /// Any consumer that asks the partition's leader gets it: its offset is below the high watermark, or
    /// below the last stable offset if the configuration's `isolation.level` is `read_committed` (the
    /// default). A consumer that fetches from a follower (`client.rack`) may have to wait for it still.
    #[default]
    Available,
    /// A consumer that this process made with [`KafkaStore::consumer`](crate::KafkaStore::consumer) has
    /// handed it, or a later one of its partition, to its user.
    Delivered,
    /// A consumer group has committed past it. What the group's members write elsewhere is a matter of
    /// those stores.
    Processed {
        /// The `group.id`.
        group: String,
    },
}

/// The records handed out by the consumers of this process.
#[derive(Debug, Default)]
pub(crate) struct Delivered(Mutex<HashMap<Shard, Progress>>);

#[derive(Debug, Clone, Copy)]
struct Progress {
    position: Position,
    /// The log's epoch when this was last looked at.
    epoch: Option<Epoch>,
}

impl Delivered {
    /// A record was handed out.
    pub(crate) fn advance(&self, shard: Shard, offset: u64) {
        let position = Position(offset + 1);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let progress = all.entry(shard).or_insert(Progress { position, epoch: None });
        if position < progress.position {
            // The consumer was set back, maybe onto another log.
            progress.epoch = None;
        }
        progress.position = position;
    }

    /// How far it is in the log that the leader described.
    fn within(&self, shard: Shard, log: &Frontier) -> Position {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(progress) = all.get_mut(&shard) else { return Position(0) };
        progress.position = part_of(log, progress.position, progress.epoch);
        progress.epoch = Some(log.epoch);
        progress.position
    }
}

/// What of a position reached in an earlier epoch is still part of the log: the rest was cut off.
fn part_of(log: &Frontier, position: Position, reached_in: Option<Epoch>) -> Position {
    let limit = match reached_in {
        None => log.position,
        Some(epoch) if epoch == log.epoch => log.position,
        Some(epoch) => {
            let ancestor = log.ancestry.iter().find(|ancestor| ancestor.epoch == epoch);
            ancestor.map_or(Position(0), |ancestor| ancestor.end)
        }
    };
    position.min(limit)
}

/// Whose progress is looked at.
#[derive(Debug)]
pub(crate) enum View {
    Log(End),
    Delivered(Arc<Delivered>),
    Group(String),
}

/// The log itself, or someone who reads it.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) name: ReplicaName,
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) view: View,
}

impl Reader {
    pub(crate) async fn frontiers(&self, shards: Shards<'_>) -> Result<Frontiers, Error> {
        let reached = |logs: Frontiers, reached: &dyn Fn(Shard, &Frontier) -> Position| {
            let at = |(shard, log): (Shard, &Frontier)| {
                (shard, Frontier { position: reached(shard, log), ..log.clone() })
            };
            logs.iter().map(at).collect()
        };
        match &self.view {
            View::Log(end) => self.cluster.frontiers(shards, *end).await,
            View::Delivered(delivered) => {
                let logs = self.cluster.frontiers(shards, End::HighWatermark).await?;
                Ok(reached(logs, &|shard, log| delivered.within(shard, log)))
            }
            View::Group(group) => {
                // Asked first: what was committed before the log was described is part of its history.
                let committed = self.cluster.committed(group, shards).await?;
                let logs = self.cluster.frontiers(shards, End::HighWatermark).await?;
                Ok(reached(logs, &|shard, log| match committed.get(&shard) {
                    Some((position, term)) => {
                        let epoch = term.map(|term| Epoch { term, ..log.epoch });
                        part_of(log, *position, epoch)
                    }
                    None => Position(0),
                }))
            }
        }
    }
}

impl Replica for Reader {
    fn name(&self) -> ReplicaName {
        self.name
    }

    fn probe<'a>(&'a self, shards: Shards<'a>) -> BoxFuture<'a, Result<Frontiers, ProbeError>> {
        Box::pin(async move { self.frontiers(shards).await.map_err(ProbeError::new) })
    }
}

#[cfg(test)]
mod tests {
    use antipode_barrier::Ancestor;

    use super::*;

    const SHARD: Shard = Shard(1);
    const OLD: Epoch = Epoch { history: 1, term: 1 };
    const NEW: Epoch = Epoch { history: 1, term: 2 };
    const OTHER: Epoch = Epoch { history: 2, term: 0 };

    /// The consumer had come to 110; then all past 100 was cut off, and other records took the offsets.
    #[test]
    fn what_was_delivered_of_a_part_cut_off_does_not_count() {
        let delivered = Delivered::default();
        assert_eq!(delivered.within(SHARD, &Frontier::new(OLD, Position(110))), Position(0));
        delivered.advance(SHARD, 109);
        assert_eq!(delivered.within(SHARD, &Frontier::new(OLD, Position(110))), Position(110));
        let ancestry = [Ancestor { epoch: OLD, end: Position(100) }];
        let cut = Frontier::new(NEW, Position(300)).with_ancestry(ancestry);
        assert_eq!(delivered.within(SHARD, &cut), Position(100));
        assert_eq!(delivered.within(SHARD, &Frontier::new(OTHER, Position(300))), Position(0));
    }

    #[test]
    fn a_consumer_that_was_set_back_counts_from_there() {
        let delivered = Delivered::default();
        delivered.advance(SHARD, 109);
        delivered.within(SHARD, &Frontier::new(OLD, Position(110)));
        delivered.advance(SHARD, 4);
        assert_eq!(delivered.within(SHARD, &Frontier::new(OTHER, Position(50))), Position(5));
    }

    #[test]
    fn nobody_is_past_the_end_of_the_log() {
        assert_eq!(part_of(&Frontier::new(NEW, Position(7)), Position(9), None), Position(7));
        assert_eq!(part_of(&Frontier::new(NEW, Position(7)), Position(9), Some(NEW)), Position(7));
    }
}
