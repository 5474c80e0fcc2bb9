//! Looking up in a server's log where its terms ended.

use antipode_lineage::Position;
use mongodb::bson::{Document, doc};
use mongodb::error::Result;
use mongodb::{Client, Collection};

use crate::hello::Reach;
use crate::history::KEPT;
use crate::position::{OpTime, timestamp};

/// The log of a server, in the database that each has for itself.
pub(crate) struct Oplog {
    entries: Collection<Document>,
    reach: Reach,
}

impl Oplog {
    pub(crate) fn new(client: &Client, reach: Reach) -> Self {
        Self { entries: client.database("local").collection("oplog.rs"), reach }
    }

    /// The last entries of the terms before that of `latest`, the latest first, down to the term
    /// `known` and as far as the log reaches back.
    ///
    /// A search by halves: the server finds entries by their timestamp, but not by their term.
    pub(crate) async fn ends(&self, latest: OpTime, known: Option<u64>) -> Result<Vec<OpTime>> {
        let mut ends = Vec::new();
        // A log that reaches back to where its set was initiated begins with an entry of no term, `t` -1.
        let Some(oldest) = self.first(doc! { "t": { "$gte": 0 } }).await? else { return Ok(ends) };
        let mut latest = latest;
        while oldest.term < latest.term && ends.len() < KEPT && known.is_none_or(|known| known < latest.term)
        {
            let end = self.end_before(oldest, latest).await?;
            ends.push(end);
            latest = end;
        }
        Ok(ends)
    }

    /// The last entry that is of an earlier term than `high`; `low` is one.
    async fn end_before(&self, mut low: OpTime, mut high: OpTime) -> Result<OpTime> {
        let term = high.term;
        while low.position < high.position {
            let middle = low.position.0.midpoint(high.position.0);
            let middle = timestamp(Position(middle));
            let (before, after) = tokio::try_join!(
                self.last(doc! { "ts": { "$lte": middle } }),
                self.first(doc! { "ts": { "$gt": middle } }),
            )?;
            match (before, after) {
                (Some(before), _) if before.term >= term => high = before,
                (_, Some(after)) if after.term < term => low = after,
                (Some(before), _) => return Ok(before),
                // The log was cut off at its old end meanwhile.
                (None, _) => return Ok(low),
            }
        }
        Ok(low)
    }

    async fn first(&self, filter: Document) -> Result<Option<OpTime>> {
        self.entry(filter, 1).await
    }

    async fn last(&self, filter: Document) -> Result<Option<OpTime>> {
        self.entry(filter, -1).await
    }

    async fn entry(&self, filter: Document, direction: i32) -> Result<Option<OpTime>> {
        let find = self.entries.find_one(filter).sort(doc! { "$natural": direction });
        let find = find.projection(doc! { "ts": 1, "t": 1 }).selection_criteria(self.reach.criteria());
        Ok(find.await?.as_ref().and_then(OpTime::parse))
    }
}
