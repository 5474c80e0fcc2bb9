//! Which history grew out of which, and where.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use antipode_barrier::{Ancestor, Frontier};
use antipode_lineage::{Epoch, Position};

use crate::replication::{Replication, Role};

/// The most histories remembered: one a failover, of any shard of a cluster.
const KEPT: usize = 256;

/// Where each history that this process saw a primary in left the one before.
///
/// Only a primary knows that. A replica's `second_repl_offset` says how far *it* had come when it
/// heard of the new history: a write beyond may still reach it, so it proves nothing lost.
#[derive(Debug, Default)]
pub(crate) struct Histories {
    known: Mutex<VecDeque<(Epoch, Ancestor)>>,
}

impl Histories {
    /// The server's frontier with all that is known of its past.
    pub(crate) fn frontier(&self, replication: &Replication) -> Frontier {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let epoch = replication.epoch();
        if let (Role::Primary, Some(left)) = (replication.role, replication.left)
            && !known.contains(&(epoch, left))
        {
            known.retain(|(held, _)| *held != epoch);
            known.push_back((epoch, left));
            if known.len() > KEPT {
                known.pop_front();
            }
        }
        replication.frontier().with_ancestry(ancestry(&known, epoch))
    }
}

/// The line of ancestors, the latest first. What an ancestor has of its own ancestors beyond its own
/// end was left behind with it.
fn ancestry(known: &VecDeque<(Epoch, Ancestor)>, epoch: Epoch) -> Vec<Ancestor> {
    let mut line: Vec<Ancestor> = Vec::new();
    let (mut of, mut least) = (epoch, Position(u64::MAX));
    while let Some((_, ancestor)) = known.iter().find(|(held, _)| *held == of) {
        if line.iter().any(|seen| seen.epoch == ancestor.epoch) || ancestor.epoch == epoch {
            break;
        }
        least = least.min(ancestor.end);
        line.push(Ancestor { epoch: ancestor.epoch, end: least });
        of = ancestor.epoch;
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use antipode_barrier::Verdict;

    fn info(role: &str, replid: u64, left: u64, second: u64, offset: u64) -> Replication {
        let info = format!(
            "role:{role}\r\nmaster_replid:{replid:016x}000000000000000000000000\r\n\
             master_replid2:{left:016x}000000000000000000000000\r\nsecond_repl_offset:{second}\r\n\
             master_repl_offset:{offset}\r\nslave_repl_offset:{offset}\r\nrepl_backlog_active:1\r\n"
        );
        Replication::parse(&info).unwrap()
    }

    fn verdict(frontier: &Frontier, history: u64, position: u64) -> Verdict {
        frontier.verdict(Epoch { history, term: 0 }, Position(position))
    }

    #[test]
    fn a_replica_that_lagged_behind_the_promotion_does_not_call_writes_lost() {
        let histories = Histories::default();
        // Promoted at 120; the other replica had come to 100 when it heard of it.
        let replica = info("slave", 2, 1, 101, 115);
        assert_eq!(verdict(&histories.frontier(&replica), 1, 110), Verdict::Indeterminate);
        let primary = info("master", 2, 1, 121, 150);
        assert_eq!(verdict(&histories.frontier(&primary), 1, 121), Verdict::Lost);
        let replica = histories.frontier(&replica);
        let verdicts = [110, 116, 120, 121].map(|position| verdict(&replica, 1, position));
        assert_eq!(verdicts, [Verdict::Visible, Verdict::Pending, Verdict::Pending, Verdict::Lost]);
    }

    #[test]
    fn two_failovers_are_followed_back() {
        let histories = Histories::default();
        histories.frontier(&info("master", 2, 1, 101, 150));
        let frontier = histories.frontier(&info("master", 3, 2, 131, 200));
        assert_eq!(verdict(&frontier, 1, 100), Verdict::Visible);
        assert_eq!(verdict(&frontier, 1, 101), Verdict::Lost);
        assert_eq!(verdict(&frontier, 2, 131), Verdict::Lost);
        assert_eq!(verdict(&frontier, 9, 1), Verdict::Indeterminate);
        // A later cut cuts the older histories too.
        let frontier = histories.frontier(&info("master", 4, 3, 51, 200));
        assert_eq!(verdict(&frontier, 1, 51), Verdict::Lost);
    }

    #[test]
    fn what_is_remembered_is_bounded_and_ends() {
        let histories = Histories::default();
        for at in 1..KEPT as u64 + 100 {
            histories.frontier(&info("master", at + 1, at, 10, 20));
        }
        assert_eq!(histories.known.lock().unwrap().len(), KEPT);
        histories.frontier(&info("master", 99, 100, 10, 20));
        assert!(histories.frontier(&info("master", 100, 99, 10, 20)).ancestry.len() <= KEPT);
    }
}
