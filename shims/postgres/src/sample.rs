//! What a server says of itself: its role, its history, and how far it has applied the log.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use antipode_barrier::{Ancestor, Frontier};
use antipode_lineage::{Epoch, Position};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, PgConnection};
use tokio::time::timeout;

use crate::position::{NUDGE, epoch, is_page_boundary, parse_history, position};

/// How long a connection may take to be made, with its handshake of several round trips.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// How long an answer may take until the connection counts as broken.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// Asked in this order: the role, the applied position, then the timeline that is received. The
/// timeline may be newer than the position, which is sound; an older one would not be.
const SAMPLE: &str = "\
    SELECT role.recovering, \
        (applied.lsn - '0/0')::int8, \
        CASE WHEN role.recovering THEN receiver.received_tli \
            ELSE ('x' || substr(pg_walfile_name(applied.lsn), 1, 8))::bit(32)::int8 END, \
        (pg_last_wal_receive_lsn() - '0/0')::int8, \
        control.system_identifier, \
        current_setting('synchronous_commit') = 'off' \
    FROM (SELECT pg_is_in_recovery() AS recovering OFFSET 0) AS role \
    CROSS JOIN LATERAL (\
        SELECT CASE WHEN role.recovering THEN pg_last_wal_replay_lsn() \
            ELSE pg_current_wal_flush_lsn() END AS lsn OFFSET 0\
    ) AS applied \
    CROSS JOIN pg_control_system() AS control \
    LEFT JOIN LATERAL (\
        SELECT received_tli::int8 FROM pg_stat_get_wal_receiver() \
        WHERE status = 'streaming' AND applied.lsn IS NOT NULL OFFSET 0\
    ) AS receiver ON true";

/// A timeline that a standby was on, and the histories that it has heard of.
const TIMELINES: &str = "\
    SELECT timeline_id::int8, \
        ARRAY(SELECT name FROM pg_ls_waldir() WHERE name ~ '^[0-9A-F]{8}\\.history$') \
    FROM pg_control_checkpoint()";

/// `NULL` if there is no such file.
const HISTORY: &str = "SELECT pg_read_file('pg_wal/' || $1 || '.history', 0, 1048576, true)";

/// A server's answer.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    pub(crate) frontier: Frontier,
    pub(crate) recovering: bool,
    /// At or past everything that a read before this sample can have seen.
    pub(crate) witness: Position,
    /// Commits are acknowledged, and show, before they are flushed: the witness is too low.
    pub(crate) asynchronous: bool,
    /// The witness lies in a record that may be unfinished: a nudge of the primary finishes it.
    pub(crate) unfinished: bool,
}

/// The histories of timelines, read once each.
#[derive(Debug, Default)]
pub(crate) struct Histories(HashMap<Epoch, Arc<[Ancestor]>>);

/// A connection of our own to one server: it does not depend on room in the user's pool.
///
/// It ends with the server process, so what is known of the server holds as long as it does.
#[derive(Debug)]
pub(crate) struct Session {
    connection: PgConnection,
    /// The timeline that a standby was last seen to receive.
    received: Option<i64>,
}

impl Session {
    pub(crate) async fn connect(options: &PgConnectOptions) -> sqlx::Result<Self> {
        let connection = within(CONNECT_LIMIT, options.connect()).await?;
        Ok(Self { connection, received: None })
    }

    /// Asks the server.
    pub(crate) async fn sample(&mut self, histories: &mut Histories) -> sqlx::Result<Sample> {
        within(ANSWER_LIMIT, self.ask(histories)).await
    }

    async fn ask(&mut self, histories: &mut Histories) -> sqlx::Result<Sample> {
        let mut answer = self.answer().await?;
        if !answer.recovering && is_page_boundary(answer.applied) {
            sqlx::raw_sql(NUDGE).execute(&mut self.connection).await?;
            answer = self.answer().await?;
        }
        let Answer { recovering, applied, timeline, received, system, asynchronous } = answer;
        let (timeline, reached) = match timeline {
            Some(timeline) => {
                self.received = recovering.then_some(timeline);
                (timeline, applied)
            }
            None => self.without_receiver(applied, system, histories).await?,
        };
        let ancestry = self.ancestry(timeline, system, histories).await?.unwrap_or_default();
        let frontier = Frontier::new(epoch(system, timeline), reached).with_ancestry(ancestry);
        // A row shows an instant before the position moves past its commit record. The record being
        // applied ends after `applied`, and it exists: the position after it is both safe and reached.
        let applying = recovering && received.is_some_and(|received| received > applied);
        let witness = if applying { Position(applied.0.saturating_add(1)) } else { applied };
        let unfinished = applying && received.is_some_and(is_page_boundary);
        let asynchronous = asynchronous && !recovering;
        Ok(Sample { frontier, recovering, witness, asynchronous, unfinished })
    }

    async fn answer(&mut self) -> sqlx::Result<Answer> {
        let row: (bool, Option<i64>, Option<i64>, Option<i64>, i64, bool) =
            sqlx::query_as(SAMPLE).fetch_one(&mut self.connection).await?;
        let (recovering, applied, timeline, received, system, asynchronous) = row;
        let applied = applied.map(position).unwrap_or_default();
        let received = received.map(position);
        Ok(Answer { recovering, applied, timeline, received, system, asynchronous })
    }

    /// A standby that receives nothing: its link is cut, or it restores from an archive. It may have
    /// gone on to a timeline whose history it has heard of. What it applied before that one branched
    /// off is common to both, so no more than this is claimed.
    async fn without_receiver(
        &mut self,
        applied: Position,
        system: i64,
        histories: &mut Histories,
    ) -> sqlx::Result<(i64, Position)> {
        let (restarted, names): (i64, Vec<String>) =
            sqlx::query_as(TIMELINES).fetch_one(&mut self.connection).await?;
        let timeline = self.received.unwrap_or(restarted);
        let mut reached = applied;
        let newer = names.iter().filter_map(|name| i64::from_str_radix(name.get(..8)?, 16).ok());
        for newer in newer.filter(|newer| *newer > timeline) {
            let Some(ancestry) = self.ancestry(newer, system, histories).await? else {
                return Err(sqlx::Error::Protocol(format!(
                    "a standby without WAL receiver may be on timeline {timeline} or {newer}, \
                     and its role may not read pg_wal/{newer:08X}.history"
                )));
            };
            let left = ancestry.iter().find(|ancestor| ancestor.epoch == epoch(system, timeline));
            reached = left.map_or(reached, |ancestor| ancestor.end.min(reached));
        }
        Ok((timeline, reached))
    }

    /// The timelines that this one grew out of; `None` if that cannot be read.
    async fn ancestry(
        &mut self,
        timeline: i64,
        system: i64,
        histories: &mut Histories,
    ) -> sqlx::Result<Option<Arc<[Ancestor]>>> {
        let epoch = epoch(system, timeline);
        if timeline == 1 {
            return Ok(Some(Arc::default()));
        }
        if let Some(known) = histories.0.get(&epoch) {
            return Ok(Some(Arc::clone(known)));
        }
        let name = format!("{timeline:08X}");
        let read = sqlx::query_scalar(HISTORY).bind(name).fetch_one(&mut self.connection).await;
        let text: Option<String> = match read {
            Ok(text) => text,
            Err(error) if is_denied(&error) => None,
            Err(error) => return Err(error),
        };
        let ancestry = text.and_then(|text| parse_history(&text, system)).map(Arc::<[Ancestor]>::from);
        if let Some(ancestry) = &ancestry {
            histories.0.insert(epoch, Arc::clone(ancestry));
        }
        Ok(ancestry)
    }
}

#[derive(Debug)]
struct Answer {
    recovering: bool,
    applied: Position,
    /// `None` for a standby that receives nothing.
    timeline: Option<i64>,
    received: Option<Position>,
    system: i64,
    asynchronous: bool,
}

fn is_denied(error: &sqlx::Error) -> bool {
    const INSUFFICIENT_PRIVILEGE: &str = "42501";
    error.as_database_error().and_then(|error| error.code()).as_deref() == Some(INSUFFICIENT_PRIVILEGE)
}

async fn within<T>(limit: Duration, work: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
    let late = || std::io::Error::new(std::io::ErrorKind::TimedOut, format!("no answer within {limit:?}"));
    timeout(limit, work).await.unwrap_or_else(|_| Err(sqlx::Error::Io(late())))
}
