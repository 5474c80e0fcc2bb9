//! The replication log: every committed entry in order, until nobody needs it any more.

use std::collections::VecDeque;
use std::sync::Arc;

use antipode_lineage::{Lineage, WriteId};
use tokio::time::Instant;

/// A value as stored, with the lineage beside it.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) value: Arc<[u8]>,
    pub(crate) lineage: Lineage,
    /// The write that made it what it is.
    pub(crate) write: WriteId,
}

/// What a committed entry did to one key.
#[derive(Debug, Clone)]
pub(crate) struct Applied {
    pub(crate) key: Arc<str>,
    /// The whole value afterwards; `None` once deleted.
    pub(crate) stored: Option<Stored>,
    /// What the writer depended on.
    pub(crate) lineage: Lineage,
}

/// A committed write or transaction.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) write: WriteId,
    pub(crate) at: Instant,
    pub(crate) changes: Vec<Applied>,
}

/// Entries in order of position. The first position is 1.
#[derive(Debug)]
pub(crate) struct Log {
    /// The position of the first entry kept.
    first: u64,
    entries: VecDeque<Arc<Entry>>,
}

impl Log {
    pub(crate) fn new() -> Self {
        Self { first: 1, entries: VecDeque::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The position of the first entry kept, or of the next one.
    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    /// The position that the next entry gets.
    pub(crate) fn next(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    pub(crate) fn get(&self, position: u64) -> Option<&Arc<Entry>> {
        let at = usize::try_from(position.checked_sub(self.first)?).ok()?;
        self.entries.get(at)
    }

    /// Appends the entry, which has the position [`next`](Log::next).
    pub(crate) fn push(&mut self, entry: Entry) {
        self.entries.push_back(Arc::new(entry));
    }

    /// Forgets the entries up to and including this position.
    pub(crate) fn trim(&mut self, through: u64) {
        while self.first <= through && self.entries.pop_front().is_some() {
            self.first += 1;
        }
    }

    /// Cuts off the entries after this position.
    pub(crate) fn truncate(&mut self, end: u64) {
        while self.next() > end + 1 && self.entries.pop_back().is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use antipode_lineage::StoreName;

    use super::*;

    #[test]
    fn positions_outlive_trimming_and_cutting() {
        let mut log = Log::new();
        let write = WriteId::unplaced(StoreName::parse("posts").unwrap());
        let entry = || Entry { write, at: Instant::now(), changes: Vec::new() };
        (0..5).for_each(|_| log.push(entry()));
        log.trim(2);
        log.truncate(4);
        assert_eq!((log.first(), log.len(), log.next()), (3, 2, 5));
        assert!(log.get(2).is_none() && log.get(3).is_some() && log.get(5).is_none());
        log.truncate(0);
        assert_eq!((log.first(), log.next()), (3, 3), "what is trimmed stays counted");
    }
}
