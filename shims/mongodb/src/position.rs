//! Places in the log of a replica set.

use antipode_lineage::Position;
use mongodb::bson::{Document, Timestamp};

/// A place in the log: in which term, and where. In one history, terms and positions rise together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OpTime {
    pub(crate) term: u64,
    pub(crate) position: Position,
}

impl OpTime {
    /// `{ts, t}`. None of a server that has no log, or none yet (`t` is -1).
    pub(crate) fn parse(document: &Document) -> Option<Self> {
        let term = u64::try_from(document.get_i64("t").ok()?).ok()?;
        Some(Self { term, position: position(document.get_timestamp("ts").ok()?) })
    }
}

/// Seconds in the upper half, the increment in the lower: as the server compares them.
pub(crate) fn position(timestamp: Timestamp) -> Position {
    Position(u64::from(timestamp.time) << 32 | u64::from(timestamp.increment))
}

/// The other way round.
pub(crate) fn timestamp(Position(position): Position) -> Timestamp {
    let [time, increment] =
        [position >> 32, position & u64::from(u32::MAX)].map(|half| u32::try_from(half).unwrap_or(u32::MAX));
    Timestamp { time, increment }
}

#[cfg(test)]
mod tests {
    use mongodb::bson::doc;

    use super::*;

    #[test]
    fn timestamps_and_positions_are_in_the_same_order() {
        let of = |time, increment| Timestamp { time, increment };
        let rising = [of(0, 1), of(0, u32::MAX), of(1, 0), of(1, 1), of(u32::MAX, u32::MAX)];
        let positions = rising.map(position);
        assert!(positions.is_sorted() && positions.len() == 5);
        assert_eq!(positions.map(timestamp), rising);
    }

    #[test]
    fn a_log_that_has_not_begun_has_no_place() {
        let ts = Timestamp { time: 7, increment: 1 };
        let at = OpTime { term: 3, position: Position(7 << 32 | 1) };
        assert_eq!(OpTime::parse(&doc! { "ts": ts, "t": 3_i64 }), Some(at));
        assert_eq!(OpTime::parse(&doc! { "ts": ts, "t": -1_i64 }), None);
        assert_eq!(OpTime::parse(&doc! { "ts": ts }), None);
    }
}
