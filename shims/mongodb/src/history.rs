//! Which terms a set's log went through, and where each of them ended.
//!
//! Only what a majority has counts: an elected primary may itself be rolled back before that, and
//! then the log goes on from what it left out. Once a majority has an entry of a term, every later
//! primary has the log up to there, so where the earlier terms ended never changes any more.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use antipode_barrier::{Ancestor, Frontier};
use antipode_lineage::Epoch;

use crate::position::OpTime;

/// The most terms remembered of a set, its present one aside.
pub(crate) const KEPT: usize = 16;

/// The most sets remembered: another one is only seen when one is made anew at the same address.
const SETS: usize = 4;

/// The settled terms of the sets that this process has seen, shared by the servers of a store.
#[derive(Debug, Default)]
pub(crate) struct History {
    lines: Mutex<VecDeque<Line>>,
}

#[derive(Debug, Clone)]
struct Line {
    set: u64,
    term: u64,
    /// The latest first.
    ancestry: Arc<[Ancestor]>,
}

/// Where a server stands with regard to the settled log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    /// In it: what it has applied will stay.
    Within(Frontier),
    /// It has applied what is not in it, and will roll that back.
    Astray,
    /// In a term that this process does not know yet. The latest it does know, if any.
    Unknown(Option<u64>),
}

impl History {
    pub(crate) fn standing(&self, set: u64, applied: OpTime) -> Standing {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(line) = lines.iter().find(|line| line.set == set) else { return Standing::Unknown(None) };
        if applied.term > line.term {
            return Standing::Unknown(Some(line.term));
        }
        let of = Epoch { history: set, term: applied.term };
        let ended = line.ancestry.iter().find(|ancestor| ancestor.epoch == of);
        if applied.term < line.term && ended.is_none_or(|ended| applied.position > ended.end) {
            return Standing::Astray;
        }
        // It need not have heard of the term: the log that it is in will come to it.
        let epoch = Epoch { history: set, term: line.term };
        Standing::Within(Frontier::new(epoch, applied.position).with_ancestry(Arc::clone(&line.ancestry)))
    }

    /// Remembers a settled term, with the last entries of the terms before, the latest first.
    pub(crate) fn learn(&self, set: u64, term: u64, ends: &[OpTime]) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let at = lines.iter().position(|line| line.set == set);
        let known = at.and_then(|at| lines.remove(at));
        if let Some(known) = &known
            && known.term >= term
        {
            // Another server was faster.
            lines.push_front(known.clone());
            return;
        }
        let mut ancestry = ancestry(set, term, ends);
        let oldest = ancestry.last().map_or(term, |ancestor| ancestor.epoch.term);
        let older = known.iter().flat_map(|known| known.ancestry.iter());
        ancestry.extend(older.filter(|ancestor| ancestor.epoch.term < oldest).copied());
        ancestry.truncate(KEPT);
        lines.push_front(Line { set, term, ancestry: ancestry.into() });
        lines.truncate(SETS);
    }
}

/// A term between two that is not in the log was elected, but nothing of it was kept.
fn ancestry(set: u64, term: u64, ends: &[OpTime]) -> Vec<Ancestor> {
    let mut ancestry = Vec::with_capacity(KEPT);
    let mut next = term;
    for end in ends {
        let left = KEPT.saturating_sub(ancestry.len());
        let terms = (end.term..next).rev().take(left);
        ancestry
            .extend(terms.map(|term| Ancestor { epoch: Epoch { history: set, term }, end: end.position }));
        next = end.term;
    }
    ancestry
}

#[cfg(test)]
mod tests {
    use antipode_barrier::Verdict;
    use antipode_lineage::Position;

    use super::*;

    const SET: u64 = 7;

    fn at(term: u64, position: u64) -> OpTime {
        OpTime { term, position: Position(position) }
    }

    /// Term 1 ended at 100, term 2 kept nothing, term 3 ended at 200; now it is term 4.
    fn history() -> History {
        let history = History::default();
        history.learn(SET, 4, &[at(3, 200), at(1, 100)]);
        history
    }

    fn verdict(history: &History, server: OpTime, write: OpTime) -> Option<Verdict> {
        match history.standing(SET, server) {
            Standing::Within(frontier) => {
                Some(frontier.verdict(Epoch { history: SET, term: write.term }, write.position))
            }
            _ => None,
        }
    }

    #[test]
    fn a_term_counts_up_to_its_end() {
        let of = |write| verdict(&history(), at(4, 300), write);
        assert_eq!(of(at(4, 300)), Some(Verdict::Visible));
        assert_eq!(of(at(4, 301)), Some(Verdict::Pending));
        assert_eq!(of(at(3, 200)), Some(Verdict::Visible));
        assert_eq!(of(at(3, 201)), Some(Verdict::Lost));
        assert_eq!(of(at(1, 100)), Some(Verdict::Visible));
        assert_eq!(of(at(1, 101)), Some(Verdict::Lost));
        assert_eq!(of(at(2, 101)), Some(Verdict::Lost), "nothing of that term was kept");
        assert_eq!(of(at(5, 1)), Some(Verdict::Indeterminate), "nobody knows of that term");
        assert_eq!(of(at(0, 1)), Some(Verdict::Indeterminate));
    }

    #[test]
    fn a_server_that_lags_behind_the_election_has_yet_to_come_to_it() {
        let of = |write| verdict(&history(), at(1, 90), write);
        assert_eq!(of(at(1, 90)), Some(Verdict::Visible));
        assert_eq!(of(at(1, 95)), Some(Verdict::Pending));
        assert_eq!(of(at(1, 101)), Some(Verdict::Lost), "it will never come");
        assert_eq!(of(at(4, 201)), Some(Verdict::Pending));
    }

    #[test]
    fn a_server_with_writes_of_its_own_is_astray() {
        assert_eq!(history().standing(SET, at(1, 101)), Standing::Astray);
        assert_eq!(history().standing(SET, at(2, 101)), Standing::Astray);
        assert_eq!(history().standing(SET, at(0, 1)), Standing::Astray, "too long ago to know");
        assert_eq!(history().standing(SET, at(5, 500)), Standing::Unknown(Some(4)));
        assert_eq!(history().standing(8, at(1, 1)), Standing::Unknown(None));
    }

    #[test]
    fn a_later_election_is_added_to_what_is_known() {
        let history = history();
        history.learn(SET, 6, &[at(4, 310)]);
        history.learn(SET, 5, &[at(4, 305)]);
        let of = |write| verdict(&history, at(6, 400), write);
        assert_eq!(of(at(4, 310)), Some(Verdict::Visible));
        assert_eq!(of(at(4, 311)), Some(Verdict::Lost));
        assert_eq!(of(at(5, 311)), Some(Verdict::Lost));
        assert_eq!(of(at(1, 101)), Some(Verdict::Lost));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let history = History::default();
        for term in 1..100 {
            history.learn(SET, term + 1, &[at(term, term * 10)]);
            history.learn(SET + term, 1, &[]);
        }
        assert!(history.lines.lock().unwrap().len() <= SETS);
        history.learn(SET, 1_000_000, &[at(1, 1)]);
        let Standing::Within(frontier) = history.standing(SET, at(1_000_000, 5)) else { panic!("known") };
        assert_eq!(frontier.ancestry.len(), KEPT);
    }
}
