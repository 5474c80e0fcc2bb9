//! How far a replica has come, and what that says about a write.

use std::fmt;
use std::sync::Arc;

use antipode_lineage::{Epoch, Position, Shard, WriteId};
use smallvec::SmallVec;

/// What is known of one write at one replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Verdict {
    /// The replica has applied the write.
    Visible,
    /// The replica has not applied the write yet.
    Pending,
    /// A failover cut the write off: the replica's history proves that it is not part of it.
    Lost,
    /// The position lies ahead of the primary itself: forged, or of another deployment.
    Unreachable,
    /// The write belongs to a history that neither the replica nor the primary knows.
    Indeterminate,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Verdict::Visible => "visible",
            Verdict::Pending => "pending",
            Verdict::Lost => "lost",
            Verdict::Unreachable => "unreachable",
            Verdict::Indeterminate => "indeterminate",
        })
    }
}

/// An epoch that a log has left behind, and the last position in it that the log still contains:
/// a line of a Postgres history file, Redis's `master_replid2` with `second_repl_offset - 1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ancestor {
    /// The epoch left behind.
    pub epoch: Epoch,
    /// The greatest position of it that is part of the present history.
    pub end: Position,
}

/// How far a replica has applied one shard's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frontier {
    /// The history that the replica is in now.
    pub epoch: Epoch,
    /// The replica has applied everything up to and including this position.
    pub position: Position,
    /// The epochs that the present one grew out of. Positions go on counting from one to the next.
    pub ancestry: Arc<[Ancestor]>,
}

impl Frontier {
    /// A frontier in a log that never changed its epoch, or whose past is not known.
    #[must_use]
    pub fn new(epoch: Epoch, position: Position) -> Self {
        Self { epoch, position, ancestry: Arc::default() }
    }

    /// The same frontier with the epochs it grew out of.
    #[must_use]
    pub fn with_ancestry(self, ancestry: impl Into<Arc<[Ancestor]>>) -> Self {
        Self { ancestry: ancestry.into(), ..self }
    }

    /// What this frontier alone says about a write: the epoch first, then the position.
    ///
    /// `Visible`, `Pending`, `Lost`, or `Indeterminate` for an epoch that this history does not
    /// know (it may be one that the replica has yet to hear of: the primary is asked then).
    #[must_use]
    pub fn verdict(&self, epoch: Epoch, position: Position) -> Verdict {
        if epoch != self.epoch {
            match self.ancestry.iter().find(|ancestor| ancestor.epoch == epoch) {
                Some(ancestor) if position > ancestor.end => return Verdict::Lost,
                Some(_) => {}
                None => return Verdict::Indeterminate,
            }
        }
        if self.position >= position { Verdict::Visible } else { Verdict::Pending }
    }
}

/// The frontiers of a replica's shards, sorted by shard.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frontiers(SmallVec<[(Shard, Frontier); 1]>);

impl Frontiers {
    /// The frontier of a shard.
    #[must_use]
    pub fn get(&self, shard: Shard) -> Option<&Frontier> {
        match self.0.as_slice() {
            [(only, frontier)] => (*only == shard).then_some(frontier),
            many => {
                let at = many.binary_search_by_key(&shard, |(held, _)| *held).ok()?;
                many.get(at).map(|(_, frontier)| frontier)
            }
        }
    }

    /// Every shard with its frontier.
    pub fn iter(&self) -> impl Iterator<Item = (Shard, &Frontier)> {
        self.0.iter().map(|(shard, frontier)| (*shard, frontier))
    }

    /// How one write stands at these frontiers.
    pub(crate) fn verdict(&self, write: &WriteId) -> Verdict {
        let frontier = self.get(write.shard);
        frontier.map_or(Verdict::Indeterminate, |frontier| frontier.verdict(write.epoch, write.position))
    }

    /// Takes over the newer sample's shards, and keeps the others.
    pub(crate) fn update(&mut self, newer: Frontiers) {
        for (shard, frontier) in newer.0 {
            match self.0.binary_search_by_key(&shard, |(held, _)| *held) {
                Ok(at) => {
                    if let Some((_, held)) = self.0.get_mut(at) {
                        *held = frontier;
                    }
                }
                Err(at) => self.0.insert(at, (shard, frontier)),
            }
        }
    }
}

impl From<Frontier> for Frontiers {
    /// The frontier of a store with a single log.
    fn from(frontier: Frontier) -> Self {
        Self(SmallVec::from_buf([(Shard::ONLY, frontier)]))
    }
}

impl FromIterator<(Shard, Frontier)> for Frontiers {
    fn from_iter<I: IntoIterator<Item = (Shard, Frontier)>>(shards: I) -> Self {
        let mut frontiers = Self::default();
        for (shard, frontier) in shards {
            frontiers.update(Self(SmallVec::from_buf([(shard, frontier)])));
        }
        frontiers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: Epoch = Epoch { history: 1, term: 1 };
    const NEW: Epoch = Epoch { history: 1, term: 2 };

    fn promoted(position: u64) -> Frontier {
        let ancestry = [Ancestor { epoch: OLD, end: Position(100) }];
        Frontier::new(NEW, Position(position)).with_ancestry(ancestry)
    }

    #[test]
    fn positions_have_fenceposts() {
        let frontier = Frontier::new(OLD, Position(100));
        let verdict = |position| frontier.verdict(OLD, Position(position));
        assert_eq!([99, 100, 101].map(verdict), [Verdict::Visible, Verdict::Visible, Verdict::Pending]);
    }

    #[test]
    fn an_old_epoch_counts_up_to_its_end() {
        let verdict = |at, position| promoted(at).verdict(OLD, Position(position));
        assert_eq!(verdict(500, 100), Verdict::Visible);
        assert_eq!(verdict(500, 101), Verdict::Lost, "a larger position of the new epoch hides nothing");
        assert_eq!(verdict(90, 95), Verdict::Pending, "the new epoch is announced before it is reached");
    }

    #[test]
    fn an_unknown_epoch_is_not_guessed() {
        assert_eq!(Frontier::new(OLD, Position(500)).verdict(NEW, Position(1)), Verdict::Indeterminate);
    }

    #[test]
    fn frontiers_are_found_by_shard() {
        let at = |position| Frontier::new(OLD, Position(position));
        let mut all: Frontiers =
            [(Shard(9), at(9)), (Shard(2), at(2)), (Shard(2), at(3))].into_iter().collect();
        assert_eq!(all.get(Shard(2)), Some(&at(3)));
        all.update([(Shard(4), at(4))].into_iter().collect());
        assert_eq!(all.iter().map(|(shard, _)| shard.0).collect::<Vec<_>>(), [2, 4, 9]);
        assert_eq!(Frontiers::from(at(1)).get(Shard(1)), None);
    }
}
