//! What the replicas' and the primary's word mean together.

use crate::standing::Status;
use crate::{OnTimeout, Verdict};

/// What is known of the writes at the primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PrimaryView {
    /// Not asked yet.
    Unasked,
    /// It said so, of the least settled of the writes.
    Said(Verdict),
    /// There is none, or it did not answer.
    Silent,
}

/// What a store's wait does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Ends: the replica with this index shows everything.
    Visible(usize),
    /// Goes on.
    Wait,
    /// Asks the primary and goes on.
    AskPrimary,
    /// Ends: waiting cannot change it.
    Final(Verdict),
}

/// The first replica that shows everything ends the wait. Else the primary decides whether there is
/// anything to wait for: a position ahead of it is unreachable, a history it does not know is
/// indeterminate. Without its word, only what every replica denies is final.
pub(crate) fn decide(replicas: &[Status], primary: PrimaryView, on_timeout: OnTimeout) -> Decision {
    if let Some(fresh) = replicas.iter().position(|status| *status == Status::Visible) {
        return Decision::Visible(fresh);
    }
    let all = |wanted: &[Status]| replicas.iter().all(|status| wanted.contains(status));
    if all(&[Status::Lost]) {
        return Decision::Final(Verdict::Lost);
    }
    match primary {
        PrimaryView::Unasked if on_timeout != OnTimeout::Primary && all(&[Status::Joining]) => Decision::Wait,
        PrimaryView::Unasked => Decision::AskPrimary,
        PrimaryView::Said(Verdict::Visible) => Decision::Wait,
        PrimaryView::Said(Verdict::Pending) => Decision::Final(Verdict::Unreachable),
        PrimaryView::Said(verdict) => Decision::Final(verdict),
        PrimaryView::Silent if all(&[Status::Lost, Status::Stranger]) => {
            let lost = replicas.contains(&Status::Lost);
            Decision::Final(if lost { Verdict::Lost } else { Verdict::Indeterminate })
        }
        PrimaryView::Silent => Decision::Wait,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Status::{Down, Joining, Lost, Pending, Stranger, Visible};

    fn fail(replicas: &[Status], primary: PrimaryView) -> Decision {
        decide(replicas, primary, OnTimeout::Fail)
    }

    #[test]
    fn any_fresh_replica_ends_the_wait() {
        for primary in [PrimaryView::Unasked, PrimaryView::Silent, PrimaryView::Said(Verdict::Pending)] {
            assert_eq!(fail(&[Lost, Visible, Pending], primary), Decision::Visible(1));
        }
    }

    #[test]
    fn the_primary_is_asked_once_a_replica_does_not_show_it() {
        assert_eq!(fail(&[Joining, Joining], PrimaryView::Unasked), Decision::Wait);
        for status in [Pending, Stranger, Down] {
            assert_eq!(fail(&[Joining, status], PrimaryView::Unasked), Decision::AskPrimary, "{status:?}");
        }
        let early = decide(&[Joining], PrimaryView::Unasked, OnTimeout::Primary);
        assert_eq!(early, Decision::AskPrimary, "who may end at the primary asks it in time");
    }

    #[test]
    fn the_primary_decides_whether_there_is_something_to_wait_for() {
        let said = |verdict| fail(&[Pending, Stranger], PrimaryView::Said(verdict));
        assert_eq!(said(Verdict::Visible), Decision::Wait);
        assert_eq!(said(Verdict::Pending), Decision::Final(Verdict::Unreachable));
        assert_eq!(said(Verdict::Lost), Decision::Final(Verdict::Lost));
        assert_eq!(said(Verdict::Indeterminate), Decision::Final(Verdict::Indeterminate));
    }

    #[test]
    fn without_the_primary_only_what_all_deny_is_final() {
        let silent = |replicas: &[Status]| fail(replicas, PrimaryView::Silent);
        assert_eq!(silent(&[Lost, Lost]), Decision::Final(Verdict::Lost));
        assert_eq!(silent(&[Lost, Stranger]), Decision::Final(Verdict::Lost));
        assert_eq!(silent(&[Stranger]), Decision::Final(Verdict::Indeterminate));
        for open in [Pending, Joining, Down] {
            assert_eq!(silent(&[Stranger, open]), Decision::Wait, "{open:?}");
        }
    }
}
