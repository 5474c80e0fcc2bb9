//! Places that a region must have reached before anything is said to be visible there.
//!
//! A write stands in the log of the shard that owned its key then. When the key's slot moves, its
//! value goes into the log of the new owner, and out of the old one. So "the old log is applied" says
//! nothing of the value any more. When a node hears that a slot has moved, the new owner already has
//! all its keys: whoever has applied the new owner's log up to where it is *then* has them, too. That
//! place is a floor.

use antipode_barrier::{Frontier, Verdict};
use antipode_lineage::{Epoch, Position};

/// The floors that are not reached yet.
#[derive(Debug, Default)]
pub(super) struct Floors(Vec<(Epoch, Position)>);

impl Floors {
    /// Adds the place of a new owner.
    pub(super) fn raise(&mut self, epoch: Epoch, position: Position) {
        self.0.retain(|(held, _)| *held != epoch);
        self.0.push((epoch, position));
    }

    /// Forgets those that one of these frontiers has reached. A place that a failover has cut off is
    /// reached by nobody, and with it went whatever was moved there.
    pub(super) fn settle<'a>(&mut self, frontiers: impl Iterator<Item = &'a Frontier> + Clone) {
        self.0.retain(|(epoch, position)| {
            let mut verdicts = frontiers.clone().map(|frontier| frontier.verdict(*epoch, *position));
            !verdicts.any(|verdict| matches!(verdict, Verdict::Visible | Verdict::Lost))
        });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What can be vouched for at a frontier: as long as a floor is not reached, nothing. Which
    /// history it is in, and so what is lost, is known all the same.
    pub(super) fn cap(&self, frontier: Frontier) -> Frontier {
        if self.is_empty() { frontier } else { Frontier { position: Position(0), ..frontier } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: Epoch = Epoch { history: 1, term: 0 };
    const OTHER: Epoch = Epoch { history: 2, term: 0 };

    #[test]
    fn nothing_is_vouched_for_below_a_floor() {
        let mut floors = Floors::default();
        let old = Frontier::new(OTHER, Position(500));
        assert_eq!(floors.cap(old.clone()).position, Position(500));
        floors.raise(EPOCH, Position(7));
        floors.raise(EPOCH, Position(9));
        for (position, vouched) in [(8, 0), (9, 500)] {
            floors.settle([old.clone(), Frontier::new(EPOCH, Position(position))].iter());
            assert_eq!(floors.cap(old.clone()).position, Position(vouched), "{position}");
        }
    }
}
