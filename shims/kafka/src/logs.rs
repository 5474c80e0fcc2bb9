//! What is known of the partitions' histories.

use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use antipode_barrier::{Ancestor, Frontier};
use antipode_lineage::{Epoch, Position, Shard};
use tokio::time::{Duration, Instant};

/// How many leader epochs back a history is known, of a topic and of each topic of the name before it.
pub(crate) const EPOCHS_BACK: u64 = 64;

/// The topics of one name, one after the other, that are remembered.
const TOPICS_BACK: usize = 8;

/// The logs of a store's partitions, as their leaders described them to this process.
#[derive(Debug, Default)]
pub(crate) struct Logs(Mutex<HashMap<Shard, Log>>);

/// One partition's log.
#[derive(Debug, Clone)]
struct Log {
    epoch: Epoch,
    /// Where earlier leader epochs of the topic ended, newest first; then the topics that were deleted.
    ancestry: Arc<[Ancestor]>,
    /// The topics of this name that were deleted, with the last epoch seen of each.
    former: Vec<Epoch>,
    /// All below is committed, and part of the history above.
    end: u64,
    /// When the last look at it began.
    looked: Instant,
    /// The epochs that it was seen in, and since when, newest first.
    seen: Vec<(Epoch, Instant)>,
}

/// What is known of the place of a record that was acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// It was written in this epoch.
    In(Epoch),
    /// In this one or a later one: the leader changed meanwhile, and the log does not tell whether the
    /// record is still part of it.
    Since(Epoch),
    /// The log had not been looked at before.
    Unknown,
}

/// How many changes of epoch may lie between a record's sending and its acknowledgement.
const SEEN_BACK: usize = 8;

/// An answer of a leader that had been deposed when it was looked at.
#[derive(Debug)]
pub(crate) struct Stale;

impl Logs {
    /// Whether the log's history up to this epoch is known.
    pub(crate) fn knows(&self, shard: Shard, epoch: Epoch) -> bool {
        self.lock().get(&shard).is_some_and(|log| log.epoch == epoch)
    }

    /// The epoch that the log was last seen in.
    pub(crate) fn epoch(&self, shard: Shard) -> Option<Epoch> {
        self.lock().get(&shard).map(|log| log.epoch)
    }

    /// Whether the last look at the log began at this time or later.
    pub(crate) fn is_looked_at_since(&self, shard: Shard, since: Instant) -> bool {
        self.lock().get(&shard).is_some_and(|log| log.looked >= since)
    }

    /// Whether every log was looked at within this time; not if there is none.
    pub(crate) fn are_fresh(&self, within: Duration) -> bool {
        let logs = self.lock();
        !logs.is_empty() && logs.values().all(|log| log.looked.elapsed() < within)
    }

    /// Takes in what a leader said; `ends` are those of the topic's earlier epochs if its epoch is new.
    pub(crate) fn observe(
        &self,
        shard: Shard,
        epoch: Epoch,
        looked: Instant,
        end: u64,
        ends: Option<Vec<Ancestor>>,
    ) -> Result<Frontier, Stale> {
        let mut logs = self.lock();
        if ends.is_none() && logs.get(&shard).is_none_or(|log| log.epoch != epoch) {
            return Err(Stale);
        }
        let now = Instant::now();
        let (former, mut seen) = match logs.get_mut(&shard) {
            Some(log) if log.epoch == epoch => {
                (log.end, log.looked) = (log.end.max(end), log.looked.max(looked));
                return Ok(Frontier::new(epoch, Position(end)).with_ancestry(Arc::clone(&log.ancestry)));
            }
            Some(log) if log.is_past(epoch) => return Err(Stale),
            Some(log) => (log.former_after(epoch), mem::take(&mut log.seen)),
            None => Default::default(),
        };
        let gone = former.iter().flat_map(|last| {
            let terms = last.term.saturating_sub(EPOCHS_BACK)..=last.term;
            terms.map(|term| Ancestor { epoch: Epoch { term, ..*last }, end: Position(0) })
        });
        let ancestry: Arc<[Ancestor]> = ends.into_iter().flatten().chain(gone).collect();
        let frontier = Frontier::new(epoch, Position(end)).with_ancestry(Arc::clone(&ancestry));
        seen.insert(0, (epoch, now));
        seen.truncate(SEEN_BACK);
        logs.insert(shard, Log { epoch, ancestry, former, end, looked, seen });
        Ok(frontier)
    }

    /// The epoch that the record at this offset was written in, by the log as it was last seen.
    pub(crate) fn epoch_of(&self, shard: Shard, offset: u64) -> Option<Epoch> {
        let logs = self.lock();
        let log = logs.get(&shard).filter(|log| log.end > offset)?;
        let earlier = log.ends().filter(|ancestor| ancestor.end.0 > offset);
        Some(earlier.map(|ancestor| ancestor.epoch).min().unwrap_or(log.epoch))
    }

    /// Where a record stands that was sent at this time, and acknowledged at this offset before the last
    /// look at the log began. If the log was in the same epoch before and after, it was so in between.
    pub(crate) fn place_of(&self, shard: Shard, sent: Instant, offset: u64) -> Place {
        let logs = self.lock();
        let Some(log) = logs.get(&shard) else { return Place::Unknown };
        let Some((before, _)) = log.seen.iter().find(|(_, since)| *since <= sent) else {
            return Place::Unknown;
        };
        let end = log.ends().find(|ancestor| ancestor.epoch == *before).map(|ancestor| ancestor.end.0);
        if log.epoch == *before || end.is_some_and(|end| end > offset) {
            Place::In(*before)
        } else {
            Place::Since(*before)
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Shard, Log>> {
        // Nothing panics while the lock is held; a poisoned state is still a whole one.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log {
    /// The ends of the earlier epochs of the present topic.
    fn ends(&self) -> impl Iterator<Item = &Ancestor> {
        self.ancestry.iter().filter(|ancestor| ancestor.epoch.history == self.epoch.history)
    }

    fn is_past(&self, epoch: Epoch) -> bool {
        let is_gone = self.former.iter().any(|former| former.history == epoch.history);
        is_gone || self.epoch.history == epoch.history && self.epoch.term > epoch.term
    }

    fn former_after(&self, epoch: Epoch) -> Vec<Epoch> {
        let mut former = self.former.clone();
        if self.epoch.history != epoch.history {
            former.insert(0, self.epoch);
            former.truncate(TOPICS_BACK);
        }
        former
    }
}

#[cfg(test)]
mod tests {
    use antipode_barrier::Verdict;

    use super::*;

    const SHARD: Shard = Shard(1);

    const fn epoch(history: u64, term: u64) -> Epoch {
        Epoch { history, term }
    }

    fn ends<const N: usize>(ends: [(u64, u64); N]) -> Option<Vec<Ancestor>> {
        let end = |(term, end)| Ancestor { epoch: epoch(1, term), end: Position(end) };
        Some(ends.into_iter().map(end).collect())
    }

    fn look<const N: usize>(
        logs: &Logs,
        at: Epoch,
        end: u64,
        before: [(u64, u64); N],
    ) -> Result<Frontier, Stale> {
        logs.observe(SHARD, at, Instant::now(), end, ends(before))
    }

    #[tokio::test]
    async fn a_deleted_topics_records_are_lost_and_a_deposed_leader_is_not_heard() {
        let logs = Logs::default();
        look(&logs, epoch(1, 3), 10, []).unwrap();
        let frontier = look(&logs, epoch(2, 0), 50, []).unwrap();
        assert_eq!(frontier.verdict(epoch(1, 3), Position(4)), Verdict::Lost);
        assert_eq!(frontier.verdict(epoch(1, 2), Position(1)), Verdict::Lost);
        assert_eq!(frontier.verdict(epoch(9, 0), Position(1)), Verdict::Indeterminate, "never seen");
        assert!(look(&logs, epoch(1, 4), 99, []).is_err(), "topics do not come back");
        look(&logs, epoch(2, 1), 60, []).unwrap();
        assert!(look(&logs, epoch(2, 0), 99, []).is_err());
        assert_eq!(logs.epoch(SHARD), Some(epoch(2, 1)));
        assert!(logs.observe(SHARD, epoch(2, 2), Instant::now(), 61, None).is_err(), "of unknown origin");
    }

    #[tokio::test]
    async fn a_record_belongs_to_the_epoch_that_its_offset_lies_in() {
        let logs = Logs::default();
        look(&logs, epoch(1, 9), 100, [(8, 50), (7, 50), (6, 20)]).unwrap();
        let of = |offset| logs.epoch_of(SHARD, offset).map(|epoch| epoch.term);
        assert_eq!([19, 20, 49, 50, 99, 100].map(of), [Some(6), Some(7), Some(7), Some(9), Some(9), None]);
    }

    /// Whether what was acknowledged then is what stands there now cannot be told from the offset.
    #[tokio::test(start_paused = true)]
    async fn a_record_past_the_end_of_the_epoch_it_was_sent_in_has_no_place() {
        let logs = Logs::default();
        let early = Instant::now();
        let later = || tokio::time::advance(Duration::from_secs(1));
        later().await;
        look(&logs, epoch(1, 6), 10, []).unwrap();
        let sent = Instant::now();
        let place = |sent, offset| logs.place_of(SHARD, sent, offset);
        assert_eq!(place(sent, 10), Place::In(epoch(1, 6)));
        assert_eq!(place(early, 10), Place::Unknown);
        later().await;
        look(&logs, epoch(1, 7), 100, [(6, 20)]).unwrap();
        assert_eq!(place(sent, 19), Place::In(epoch(1, 6)));
        assert_eq!(place(sent, 20), Place::Since(epoch(1, 6)));
        assert_eq!(place(Instant::now(), 20), Place::In(epoch(1, 7)));
        later().await;
        look(&logs, epoch(2, 0), 100, []).unwrap();
        assert_eq!(place(sent, 19), Place::Since(epoch(1, 6)), "the topic is another");
    }
}
