//! Where a primary's log stands: asked after a commit, on the connection that committed.

use antipode_barrier::Ancestor;
use antipode_lineage::{Epoch, Lineage, Position, Shard, StoreName, WriteId};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};

/// The flush position of a primary, what it belongs to, and whether the session waits for flushes.
///
/// `pg_current_wal_insert_lsn` would cover every commit, too, but runs ahead with uncommitted work of
/// others that need not ever be flushed: a barrier could hang on it. Timeline and system identifier
/// are part of the answer, not of a cache, since pools outlive failovers. Without a `FROM`, and with the
/// texts taken apart here, it is half the work for the server.
macro_rules! position_sql {
    () => {
        "SELECT pg_current_wal_flush_lsn()::text, pg_walfile_name(pg_current_wal_flush_lsn()), \
         (pg_control_system()).system_identifier, current_setting('synchronous_commit')"
    };
}
pub(crate) use position_sql;

/// Only the flush position, where the session remembers what it belongs to: much less work for the server,
/// which plans a statement of the simple protocol anew each time.
///
/// [`remember_sql`] is what makes it remember. A session does not outlive its server, and a primary does not
/// change its timeline: both come with a restart.
macro_rules! flushed_sql {
    () => {
        "SELECT pg_current_wal_flush_lsn(), current_setting('antipode.epoch', true)"
    };
}
pub(crate) use flushed_sql;

/// Makes the session remember what its positions belong to. Refused during recovery.
macro_rules! remember_sql {
    () => {
        "SELECT set_config('antipode.epoch', left(pg_walfile_name(pg_current_wal_flush_lsn()), 8) || '/' || \
         (pg_control_system()).system_identifier, false)"
    };
}
pub(crate) use remember_sql;

/// Flushes everything written so far and moves the flush position off a page boundary.
pub(crate) const NUDGE: &str = "BEGIN; SET LOCAL synchronous_commit = local; \
     SELECT pg_logical_emit_message(true, 'antipode', ''); COMMIT";

/// The size of a page of the log, in bytes.
const PAGE: u64 = 8192;

/// Which history of the log of which cluster.
pub(crate) fn epoch(system_identifier: i64, timeline: i64) -> Epoch {
    Epoch { history: system_identifier.cast_unsigned(), term: timeline.cast_unsigned() }
}

/// A byte position in the log.
pub(crate) fn position(lsn: i64) -> Position {
    Position(lsn.cast_unsigned())
}

/// Whether a flush position can lie inside an unfinished record. On an idle primary nobody would
/// finish it for seconds, and no standby would reach the position before.
pub(crate) fn is_page_boundary(position: Position) -> bool {
    position.0.is_multiple_of(PAGE)
}

/// The answer to [`position_sql`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) epoch: Epoch,
    pub(crate) position: Position,
    /// The session acknowledges commits before they are durable.
    pub(crate) asynchronous: bool,
}

impl Place {
    pub(crate) fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        let (lsn, file): (&str, &str) = (row.try_get(0)?, row.try_get(1)?);
        let timeline = file.get(..8).and_then(parse_timeline);
        let (Some(position), Some(timeline)) = (parse_lsn(lsn), timeline) else {
            return Err(sqlx::Error::Protocol(format!("{lsn} in {file} is no position of a log")));
        };
        let asynchronous = row.try_get::<&str, _>(3)? == "off";
        Ok(Self { epoch: epoch(row.try_get(2)?, timeline), position, asynchronous })
    }

    /// The answer to [`flushed_sql`], to a session that waits for flushes; `None` if it does not remember.
    pub(crate) fn remembered(row: &PgRow) -> Option<Self> {
        // In the simple protocol everything is a text.
        let (lsn, belongs): (&str, &str) = (row.try_get_unchecked(0).ok()?, row.try_get(1).ok()?);
        let (timeline, system_identifier) = belongs.split_once('/')?;
        let epoch = epoch(system_identifier.parse().ok()?, parse_timeline(timeline)?);
        Some(Self { epoch, position: parse_lsn(lsn)?, asynchronous: false })
    }

    /// Asks on this connection. What it acknowledged before is covered, also in a session with
    /// `synchronous_commit = off`.
    pub(crate) async fn ask(connection: &mut PgConnection) -> sqlx::Result<Self> {
        let place = Self::ask_once(connection).await?;
        if !place.asynchronous && !is_page_boundary(place.position) {
            return Ok(place);
        }
        sqlx::raw_sql(NUDGE).execute(&mut *connection).await?;
        Self::ask_once(connection).await
    }

    async fn ask_once(connection: &mut PgConnection) -> sqlx::Result<Self> {
        Self::from_row(&sqlx::raw_sql(position_sql!()).fetch_one(connection).await?)
    }

    pub(crate) fn write(&self, store: StoreName) -> WriteId {
        WriteId { store, shard: Shard::ONLY, epoch: self.epoch, position: self.position }
    }

    /// The lineage of a write at this place. A write that was acknowledged before it was durable may
    /// vanish in a crash without a trace in any history: no more than best effort.
    pub(crate) fn lineage(&self, store: StoreName) -> Lineage {
        let mut lineage = Lineage::from(self.write(store));
        if self.asynchronous {
            lineage.mark_weak();
        }
        lineage
    }
}

fn parse_timeline(digits: &str) -> Option<i64> {
    i64::from_str_radix(digits, 16).ok()
}

/// Two halves in hexadecimal digits.
fn parse_lsn(text: &str) -> Option<Position> {
    let (high, low) = text.split_once('/')?;
    let half = |digits| u32::from_str_radix(digits, 16).ok().map(u64::from);
    Some(Position(half(high)? << 32 | half(low)?))
}

/// Reads a timeline's history file: a line per timeline left behind, with the position where.
///
/// `None` for a text that is none.
pub(crate) fn parse_history(text: &str, system_identifier: i64) -> Option<Vec<Ancestor>> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let ancestor = |line: &str| {
        let mut words = line.split_whitespace();
        let timeline = words.next()?.parse().ok()?;
        let end = parse_lsn(words.next()?)?;
        Some(Ancestor { epoch: epoch(system_identifier, timeline), end })
    };
    lines.map(ancestor).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histories_are_read() {
        let text = "1\t0/5000A28\tno recovery target specified\n\n2\t1/0\tbefore 2000-01-01\n";
        let ancestors = parse_history(text, 7).unwrap();
        let expected = [(1, 0x0500_0A28), (2, 0x1_0000_0000)];
        assert_eq!(ancestors.len(), 2);
        for (ancestor, (timeline, end)) in ancestors.iter().zip(expected) {
            assert_eq!((ancestor.epoch, ancestor.end), (epoch(7, timeline), Position(end)));
        }
        assert_eq!(parse_history("", 7), Some(Vec::new()));
        for foreign in ["1", "x\t0/1", "1\t01", "1\t0/x", "<html>"] {
            assert_eq!(parse_history(foreign, 7), None, "{foreign}");
        }
    }

    #[test]
    fn positions_use_all_64_bits() {
        assert_eq!(epoch(-1, 1).history, u64::MAX);
        assert!(is_page_boundary(Position(8192)) && !is_page_boundary(Position(8193)));
    }
}
