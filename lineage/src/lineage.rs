//! The lineage: a join-semilattice of write identifiers.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::branch::Branches;
use crate::{Branch, StoreName, WriteId};

/// The most entries a lineage holds. Past it the lineage [overflows](Lineage::has_overflowed).
pub const MAX_ENTRIES: usize = 256;

/// Few lineages have more entries.
pub(crate) const USUAL_ENTRIES: usize = 8;

/// The writes that a request depends on: per store, shard and epoch the greatest position.
///
/// Its size is bounded by the shards touched, not by the writes. [`join`](Lineage::join) is
/// commutative, associative and idempotent, so lineages may meet in any order and any number of
/// times. A clone shares the entries.
///
/// A lineage with more than [`MAX_ENTRIES`] shards overflows: it forgets the entries and stands for
/// "every write so far, in every store", the greatest element of the lattice. Nothing is ever
/// silently less.
///
/// Beside the writes it holds the [branches](Branch) that were started and may still run. Only a
/// whole-lineage barrier looks at them.
///
/// ```
/// use antipode_lineage::{Epoch, Lineage, Position, Shard, StoreName, WriteId};
///
/// let posts = StoreName::parse("posts")?;
/// let at = |lsn| WriteId {
///     store: posts,
///     shard: Shard::ONLY,
///     epoch: Epoch { history: 7, term: 1 },
///     position: Position(lsn),
/// };
/// let mut lineage = Lineage::from_iter([at(10), at(30)]);
/// lineage.join(&Lineage::from_iter([at(20)]));
/// assert_eq!(lineage.writes(), [at(30)]);
/// # Ok::<(), antipode_lineage::InvalidName>(())
/// ```
#[derive(Clone, Default, Eq, Hash)]
#[allow(clippy::derived_hash_with_manual_eq)] // Equal entries hash alike, shared or not.
pub struct Lineage {
    /// Sorted by key, one entry a key. `None` if there are none, so that equal sets are equal values and
    /// the empty one costs nothing.
    writes: Option<Arc<[WriteId]>>,
    /// Forgotten once overflowed.
    branches: Branches,
    overflowed: bool,
    weak: bool,
}

impl Lineage {
    /// The lineage that depends on nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The lineage that depends on every write so far in every store, and on branches that nobody
    /// can name.
    #[must_use]
    pub fn everything() -> Self {
        Self { overflowed: true, branches: Branches::Forgotten, ..Self::default() }
    }

    /// The entries, sorted by store, shard and epoch.
    #[must_use]
    pub fn writes(&self) -> &[WriteId] {
        self.writes.as_deref().unwrap_or_default()
    }

    /// The entries of one store.
    #[must_use]
    pub fn of_store(&self, store: StoreName) -> &[WriteId] {
        let start = self.writes().partition_point(|write| write.store < store);
        let rest = self.writes().get(start..).unwrap_or_default();
        let len = rest.partition_point(|write| write.store == store);
        rest.get(..len).unwrap_or_default()
    }

    /// The branches that were started and may still run, sorted.
    #[must_use]
    pub fn branches(&self) -> &[Branch] {
        self.branches.as_slice()
    }

    /// Whether branches were started and it is no longer known which: there were more than
    /// [`MAX_BRANCHES`](crate::MAX_BRANCHES), they did not fit the wire, or the lineage has
    /// [overflowed](Lineage::has_overflowed). Nobody can wait for them.
    #[must_use]
    pub fn has_forgotten_branches(&self) -> bool {
        self.branches == Branches::Forgotten
    }

    /// Whether nothing is depended on.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.writes.is_none() && self.branches == Branches::None && !self.overflowed
    }

    /// Whether the lineage stands for "every write so far": it had more than [`MAX_ENTRIES`]
    /// entries or did not fit the wire.
    #[must_use]
    pub fn has_overflowed(&self) -> bool {
        self.overflowed
    }

    /// Whether someone went on past a failed barrier, or wrote with less than the store's durable
    /// acknowledgement: what the lineage promises is then best effort.
    #[must_use]
    pub fn is_weak(&self) -> bool {
        self.weak
    }

    /// Marks the lineage as [weak](Lineage::is_weak). The mark survives every join.
    pub fn mark_weak(&mut self) {
        self.weak = true;
    }

    /// Adds a write; of one store, shard and epoch the greatest position stays.
    pub fn add(&mut self, write: WriteId) {
        self.extend([write]);
    }

    /// Adds a branch that is about to start.
    pub fn add_branch(&mut self, branch: Branch) {
        self.branches.add(branch);
    }

    /// Takes a branch out: it has ended, and its final lineage was joined.
    pub fn remove_branch(&mut self, branch: &Branch) {
        self.branches.remove(branch);
    }

    /// Forgets which branches are open, but not that there were some.
    pub fn forget_branches(&mut self) {
        self.branches = Branches::Forgotten;
    }

    /// Keeps the writes for which `keep` holds, and everything that is not a write.
    pub fn retain(&mut self, mut keep: impl FnMut(&WriteId) -> bool) {
        let kept: SmallVec<[WriteId; USUAL_ENTRIES]> =
            self.writes().iter().filter(|write| keep(write)).copied().collect();
        self.set(&kept);
    }

    /// Joins another lineage into this one: afterwards this depends on what either depended on.
    pub fn join(&mut self, other: &Lineage) {
        self.weak |= other.weak;
        self.branches.join(&other.branches);
        if other.overflowed {
            self.overflow();
        } else if self.writes.is_none() && !self.overflowed {
            self.writes.clone_from(&other.writes);
        } else if !self.covers_writes(other) {
            self.extend(other.writes().iter().copied());
        }
    }

    /// Whether this depends on all that `other` depends on (`other ≤ self`).
    #[must_use]
    pub fn covers(&self, other: &Lineage) -> bool {
        if other.weak && !self.weak || !self.branches.covers(&other.branches) {
            return false;
        }
        self.overflowed || !other.overflowed && self.covers_writes(other)
    }

    /// Whether the write, or one after it in the same history, is among the entries.
    #[must_use]
    pub fn covers_write(&self, write: &WriteId) -> bool {
        self.overflowed
            || self
                .writes()
                .binary_search_by_key(&write.key(), WriteId::key)
                .ok()
                .and_then(|at| self.writes().get(at))
                .is_some_and(|held| held.position >= write.position)
    }

    /// A lineage of these, which are sorted by key, one entry a key, and no more than [`MAX_ENTRIES`].
    pub(crate) fn of_sorted(writes: &[WriteId]) -> Self {
        let mut lineage = Self::new();
        lineage.set(writes);
        lineage
    }

    /// Of two lineages that have not overflowed.
    fn covers_writes(&self, other: &Lineage) -> bool {
        self.shares_writes(other) || other.writes().iter().all(|write| self.covers_write(write))
    }

    /// Whether both hold the same entries in memory: what most comparisons find.
    fn shares_writes(&self, other: &Lineage) -> bool {
        matches!((&self.writes, &other.writes), (Some(one), Some(other)) if Arc::ptr_eq(one, other))
    }

    fn set(&mut self, sorted: &[WriteId]) {
        self.writes = (!sorted.is_empty()).then(|| sorted.into());
    }

    fn overflow(&mut self) {
        self.overflowed = true;
        self.writes = None;
        self.branches = Branches::Forgotten;
    }
}

// === impl Lineage: the standard traits ===

impl PartialEq for Lineage {
    fn eq(&self, other: &Self) -> bool {
        (self.overflowed, self.weak) == (other.overflowed, other.weak)
            && self.branches == other.branches
            && (self.shares_writes(other) || self.writes() == other.writes())
    }
}

impl PartialOrd for Lineage {
    /// The order of the lattice: `a <= b` if `b` covers `a`.
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match (self.covers(other), other.covers(self)) {
            (true, true) => Some(Ordering::Equal),
            (true, false) => Some(Ordering::Greater),
            (false, true) => Some(Ordering::Less),
            (false, false) => None,
        }
    }
}

impl From<WriteId> for Lineage {
    fn from(write: WriteId) -> Self {
        Self::from_iter([write])
    }
}

impl FromIterator<WriteId> for Lineage {
    fn from_iter<I: IntoIterator<Item = WriteId>>(writes: I) -> Self {
        let mut lineage = Self::new();
        lineage.extend(writes);
        lineage
    }
}

impl Extend<WriteId> for Lineage {
    fn extend<I: IntoIterator<Item = WriteId>>(&mut self, writes: I) {
        if self.overflowed {
            return;
        }
        // All at once, as others may share the entries.
        let mut all: SmallVec<[WriteId; USUAL_ENTRIES]> = self.writes().into();
        let mut changed = false;
        for write in writes {
            match all.binary_search_by_key(&write.key(), WriteId::key) {
                Ok(at) => {
                    if let Some(held) = all.get_mut(at).filter(|held| held.position < write.position) {
                        held.position = write.position;
                        changed = true;
                    }
                }
                Err(_) if all.len() == MAX_ENTRIES => return self.overflow(),
                Err(at) => {
                    all.insert(at, write);
                    changed = true;
                }
            }
        }
        if changed {
            self.set(&all);
        }
    }
}

impl fmt::Debug for Lineage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lineage({self})")
    }
}

impl fmt::Display for Lineage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words: Vec<String> = self.writes().iter().map(WriteId::to_string).collect();
        words.extend(self.branches().iter().map(Branch::to_string));
        words.extend(self.has_forgotten_branches().then(|| "forgotten-branches".to_owned()));
        words.extend(self.overflowed.then(|| "everything".to_owned()));
        words.extend(self.weak.then(|| "weak".to_owned()));
        f.write_str(&words.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Epoch, Position, Shard};

    fn write(store: &str, shard: u64, term: u64, position: u64) -> WriteId {
        WriteId {
            store: store.parse().unwrap(),
            shard: Shard(shard),
            epoch: Epoch { history: 1, term },
            position: Position(position),
        }
    }

    #[test]
    fn epochs_of_one_shard_are_kept_apart() {
        let lineage = Lineage::from_iter([write("a", 0, 1, 90), write("a", 0, 2, 10)]);
        assert_eq!(lineage.writes().len(), 2);
        assert!(!lineage.covers_write(&write("a", 0, 2, 11)));
    }

    #[test]
    fn entries_of_a_store_are_found_between_others() {
        let lineage = Lineage::from_iter([
            write("b", 1, 1, 1),
            write("a", 0, 1, 1),
            write("b", 0, 1, 1),
            write("c", 0, 1, 1),
        ]);
        assert_eq!(lineage.of_store("b".parse().unwrap()), [write("b", 0, 1, 1), write("b", 1, 1, 1)]);
        assert!(lineage.of_store("bb".parse().unwrap()).is_empty());
    }

    #[test]
    fn too_many_branches_are_forgotten_and_the_writes_are_not() {
        let mut lineage = Lineage::from(write("a", 0, 1, 1));
        let branch = |id| Branch {
            ledger: "a".parse().unwrap(),
            name: "refund".parse().unwrap(),
            id: crate::BranchId(id),
        };
        (0..crate::MAX_BRANCHES as u128).for_each(|id| lineage.add_branch(branch(id)));
        lineage.add_branch(branch(0));
        assert_eq!(lineage.branches().len(), crate::MAX_BRANCHES);
        lineage.add_branch(branch(u128::MAX));
        assert!(lineage.has_forgotten_branches() && !lineage.has_overflowed());
        assert_eq!(lineage.writes(), [write("a", 0, 1, 1)]);
        assert!(!Lineage::from(write("a", 0, 1, 1)).covers(&lineage));
    }

    #[test]
    fn what_is_retained_keeps_marks_and_branches() {
        let branch =
            Branch { ledger: "a".parse().unwrap(), name: "b".parse().unwrap(), id: crate::BranchId(1) };
        let mut lineage = Lineage::from_iter([write("a", 0, 1, 1), write("b", 0, 1, 1)]);
        lineage.mark_weak();
        lineage.add_branch(branch);
        lineage.retain(|write| write.store.as_str() == "b");
        assert_eq!(lineage.writes(), [write("b", 0, 1, 1)]);
        assert!(lineage.is_weak() && lineage.branches() == [branch]);
    }

    #[test]
    fn too_many_shards_become_everything() {
        let mut lineage: Lineage = (0..MAX_ENTRIES as u64).map(|shard| write("a", shard, 1, 1)).collect();
        assert!(!lineage.has_overflowed());
        lineage.add(write("a", 0, 1, 2));
        assert!(!lineage.has_overflowed(), "a known shard needs no room");
        lineage.add(write("b", 0, 1, 1));
        assert!(lineage.has_overflowed() && !lineage.is_empty());
        assert!(lineage.covers(&Lineage::from(write("z", 9, 9, 9))));
    }
}
