//! How safely a write was acknowledged.

use mongodb::options::{Acknowledgment, WriteConcern};

use crate::capture::Acknowledged;

/// Whom a write concern waits for. Only a journaled majority keeps a write through every election.
pub(crate) fn acknowledged(concern: &WriteConcern) -> Acknowledged {
    let by_majority = matches!(concern.w, Some(Acknowledgment::Majority));
    if by_majority && concern.journal != Some(false) {
        Acknowledged::ByMajority
    } else {
        Acknowledged::ByFewer
    }
}

/// The write concern of the user, with a majority where it does not say how many.
pub(crate) fn by_majority(concern: Option<WriteConcern>) -> WriteConcern {
    let mut concern = concern.unwrap_or_default();
    concern.w.get_or_insert(Acknowledgment::Majority);
    concern
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn concern(w: Option<Acknowledgment>, journal: Option<bool>) -> WriteConcern {
        let mut concern = WriteConcern::default();
        (concern.w, concern.journal) = (w, journal);
        concern
    }

    #[test]
    fn only_a_journaled_majority_is_durable() {
        let majority = Some(Acknowledgment::Majority);
        for (w, journal, expected) in [
            (majority.clone(), None, Acknowledged::ByMajority),
            (majority.clone(), Some(true), Acknowledged::ByMajority),
            (majority, Some(false), Acknowledged::ByFewer),
            (Some(Acknowledgment::Nodes(1)), Some(true), Acknowledged::ByFewer),
            (Some(Acknowledgment::Nodes(3)), None, Acknowledged::ByFewer),
            (Some(Acknowledgment::Custom("dc".into())), None, Acknowledged::ByFewer),
            (None, None, Acknowledged::ByFewer),
        ] {
            assert_eq!(acknowledged(&concern(w.clone(), journal)), expected, "{w:?} {journal:?}");
        }
    }

    #[test]
    fn what_the_user_says_stays() {
        let one = concern(Some(Acknowledgment::Nodes(1)), None);
        assert_eq!(by_majority(Some(one.clone())), one);
        let mut limited = concern(None, Some(true));
        limited.w_timeout = Some(Duration::from_secs(1));
        let majority = by_majority(Some(limited.clone()));
        assert_eq!(majority.w_timeout, limited.w_timeout);
        assert_eq!(acknowledged(&majority), Acknowledged::ByMajority);
        assert_eq!(acknowledged(&by_majority(None)), Acknowledged::ByMajority);
    }
}
