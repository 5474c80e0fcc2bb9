//! The positions of operations, learnt beside the request.

use std::sync::Arc;

use antipode_lineage::{Epoch, Lineage, LineageScope, Shard, WriteId};
use mongodb::bson::Timestamp;
use std::time::Duration;

use crate::position::position;
use crate::server::{Sample, Server};

/// What a write's acknowledgement says of its future.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Acknowledged {
    /// A majority has it (`w: "majority"`): no election cuts it off.
    ByMajority,
    /// Fewer may have it: an election can cut it off.
    ByFewer,
}

/// One operation at one server. Begin it before the operation is sent.
///
/// The driver tells when an operation happened (`operationTime`), but not in which term. So the server
/// is asked once more after the operation, beside the request: if it is still in the term that it was
/// in before, the operation was in it as well.
#[derive(Debug, Clone)]
pub(crate) struct Capture {
    server: Arc<Server>,
    /// The term that the server was last seen in before the operation.
    before: Option<Epoch>,
}

impl Capture {
    /// Without a round trip, unless the server was never asked anything.
    pub(crate) async fn begin(server: &Arc<Server>) -> Self {
        let mut before = server.last_epoch();
        if before.is_none() {
            // If it fails, so will the operation, most likely.
            let _ = server.sample().await;
            before = server.last_epoch();
        }
        Self { server: Arc::clone(server), before }
    }

    /// What stands for the operation as long as its place is not known: also for one that failed with
    /// an unknown outcome, or was dropped half-way.
    pub(crate) fn fallback(&self) -> WriteId {
        WriteId::unplaced_in(self.server.store, Shard::ONLY, self.before.unwrap_or(Epoch::UNKNOWN))
    }

    /// Adds an acknowledged write to the scope. `time` is its session's `operation_time`.
    pub(crate) fn defer_write(
        self,
        scope: &LineageScope,
        time: Option<Timestamp>,
        acknowledged: Acknowledged,
        limit: Duration,
    ) {
        if acknowledged == Acknowledged::ByFewer {
            scope.mark_weak();
        }
        scope.defer(self.fallback(), limit, async move {
            Some(Lineage::from(self.write(time, acknowledged).await?))
        });
    }

    /// Adds what a read may have seen to the scope: everything that the server has applied by now.
    pub(crate) fn defer_read(self, scope: &LineageScope, limit: Duration) {
        scope.defer(self.fallback(), limit, async move { Some(Lineage::from(self.read().await?)) });
    }

    /// The place of an acknowledged write. `None` if the server cannot be asked.
    pub(crate) async fn write(&self, time: Option<Timestamp>, acknowledged: Acknowledged) -> Option<WriteId> {
        let after = self.server.sample_shared().await?;
        Some(place(self.fallback(), self.before, time, acknowledged, after))
    }

    /// A place at or after the one read. `None` if the server cannot be asked.
    pub(crate) async fn read(&self) -> Option<WriteId> {
        let Sample { set, applied, .. } = self.server.sample_shared().await?;
        let epoch = Epoch { history: set, term: applied.term };
        Some(WriteId { epoch, position: applied.position, ..self.fallback() })
    }
}

/// The place of a write between two looks at its server.
fn place(
    fallback: WriteId,
    before: Option<Epoch>,
    time: Option<Timestamp>,
    acknowledged: Acknowledged,
    after: Sample,
) -> WriteId {
    let Sample { set, applied, .. } = after;
    let epoch = Epoch { history: set, term: applied.term };
    let time = time.map(position);
    if time.is_some_and(|time| time > applied.position) {
        // Not the server that took the write, or not all of it.
        return fallback;
    }
    match (acknowledged, time) {
        (_, Some(position)) if before == Some(epoch) => WriteId { epoch, position, ..fallback },
        // Whatever elections there were, what the server has now includes it.
        (Acknowledged::ByMajority, _) => WriteId { epoch, position: applied.position, ..fallback },
        // An election meanwhile may have cut it off, and its time may be another write's now.
        (Acknowledged::ByFewer, _) if before == Some(epoch) => {
            WriteId { epoch, position: applied.position, ..fallback }
        }
        (Acknowledged::ByFewer, _) => fallback,
    }
}

#[cfg(test)]
mod tests {
    use antipode_lineage::{Position, StoreName};

    use super::*;
    use crate::position::{OpTime, timestamp};

    const SET: u64 = 7;

    fn epoch(term: u64) -> Epoch {
        Epoch { history: SET, term }
    }

    /// A write at 100, that the server was asked after in this term and at this place.
    fn placed(before: Option<u64>, acknowledged: Acknowledged, term: u64, at: u64) -> WriteId {
        let before = before.map(epoch);
        let store = StoreName::parse("posts").unwrap();
        let fallback = WriteId::unplaced_in(store, Shard::ONLY, before.unwrap_or(Epoch::UNKNOWN));
        let after = Sample::at(SET, OpTime { term, position: Position(at) });
        place(fallback, before, Some(timestamp(Position(100))), acknowledged, after)
    }

    #[test]
    fn a_write_between_two_looks_in_one_term_is_in_that_term() {
        for acknowledged in [Acknowledged::ByMajority, Acknowledged::ByFewer] {
            let write = placed(Some(1), acknowledged, 1, 150);
            assert_eq!((write.epoch, write.position), (epoch(1), Position(100)));
        }
    }

    #[test]
    fn after_an_election_only_what_a_majority_has_is_placed() {
        for before in [Some(1), None] {
            let write = placed(before, Acknowledged::ByMajority, 2, 150);
            assert_eq!((write.epoch, write.position), (epoch(2), Position(150)));
            let write = placed(before, Acknowledged::ByFewer, 2, 150);
            assert!(write.is_unplaced(), "another write of term 2 may stand at 100: {write}");
            assert_eq!(write.epoch, before.map_or(Epoch::UNKNOWN, epoch));
        }
    }

    #[test]
    fn a_server_that_is_behind_the_write_places_nothing() {
        for acknowledged in [Acknowledged::ByMajority, Acknowledged::ByFewer] {
            assert!(placed(Some(1), acknowledged, 1, 99).is_unplaced());
            assert!(placed(Some(1), acknowledged, 2, 99).is_unplaced());
        }
    }
}
