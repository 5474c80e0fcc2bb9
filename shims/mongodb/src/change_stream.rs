//! Change streams whose events carry lineage.

use std::fmt;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use antipode_barrier::BoxFuture;
use antipode_lineage::{Lineage, Position, Shard, StoreName, WriteId};
use futures_util::stream::{Stream, StreamExt};
use mongodb::bson::deserialize_from_slice;
use mongodb::bson::raw::{CString, RawBsonRef, RawDocument, RawDocumentBuf};
use mongodb::change_stream::ChangeStream;
use mongodb::change_stream::event::{ChangeStreamEvent, ResumeToken};
use mongodb::error::Result;
use serde::de::DeserializeOwned;

use crate::position::position;
use crate::server::{Sample, Server};
use crate::stored::{LINEAGE_FIELD, detach, lineage_of};

/// The changes of a collection, as a [`Stream`] of [`MongoEvent`]s. Made by
/// [`MongoCollection::watch`](crate::MongoCollection::watch).
///
/// It joins nothing into the current lineage, and needs none: each event has its own, for a handler with
/// a scope of its own.
///
/// ```no_run
/// # use antipode_barrier::Registry;
/// # use antipode_lineage::LineageScope;
/// # use antipode_mongodb::{MongoCollection, mongodb::bson::Document};
/// # use futures_util::StreamExt;
/// # async fn example(posts: MongoCollection<Document>, registry: Registry) -> Result<(), Box<dyn std::error::Error>> {
/// let mut changes = posts.watch().await?;
/// while let Some(event) = changes.next().await.transpose()? {
///     let scope = LineageScope::from(event.lineage().clone());
///     scope.run(async { /* a barrier, then the reads */ }).await;
/// }
/// # Ok(()) }
/// ```
pub struct MongoChangeStream<T> {
    inner: ChangeStream<RawDocumentBuf>,
    server: Arc<Server>,
    documents: Documents,
    /// Where the server last stood.
    sample: Option<Sample>,
    /// An event, while the server is asked.
    pending: Option<(RawDocumentBuf, BoxFuture<'static, Option<Sample>>)>,
    events: PhantomData<fn() -> T>,
}

/// Whether an update's event has the document for the user, or for its lineage only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Documents {
    Asked,
    ForTheLineage,
}

/// One change, and what it depends on. It derefs to the driver's event.
#[derive(Debug)]
pub struct MongoEvent<T> {
    event: ChangeStreamEvent<T>,
    lineage: Lineage,
}

impl<T> MongoEvent<T> {
    /// What the change depends on: its writer's lineage, and the change itself.
    ///
    /// The writer's lineage is found in the document. An update whose document is gone meanwhile
    /// depends on [everything](Lineage::everything). A deletion has no document: it depends on itself,
    /// and on what the document before it depended on if that was asked for.
    #[must_use]
    pub fn lineage(&self) -> &Lineage {
        &self.lineage
    }

    /// The driver's event.
    #[must_use]
    pub fn into_inner(self) -> ChangeStreamEvent<T> {
        self.event
    }
}

impl<T> Deref for MongoEvent<T> {
    type Target = ChangeStreamEvent<T>;

    fn deref(&self) -> &Self::Target {
        &self.event
    }
}

impl<T> MongoChangeStream<T> {
    pub(crate) fn new(
        inner: ChangeStream<RawDocumentBuf>,
        server: Arc<Server>,
        documents: Documents,
    ) -> Self {
        Self { inner, server, documents, sample: None, pending: None, events: PhantomData }
    }

    /// Where to resume. See [`ChangeStream::resume_token`].
    #[must_use]
    pub fn resume_token(&self) -> Option<ResumeToken> {
        self.inner.resume_token()
    }

    /// Whether there will be further events. See [`ChangeStream::is_alive`].
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.inner.is_alive()
    }
}

impl<T: DeserializeOwned> MongoChangeStream<T> {
    /// The next event if there is one now. See [`ChangeStream::next_if_any`].
    ///
    /// # Errors
    /// The driver's.
    pub async fn next_if_any(&mut self) -> Result<Option<MongoEvent<T>>> {
        if self.pending.is_none() {
            let Some(event) = self.inner.next_if_any().await? else { return Ok(None) };
            self.begin(event);
        }
        poll_fn(|cx| self.poll_pending(cx)).await.transpose()
    }

    fn begin(&mut self, event: RawDocumentBuf) {
        let covered = self.sample.filter(|sample| covers(sample, &event));
        let server = Arc::clone(&self.server);
        let sample = async move {
            match covered {
                Some(sample) => Some(sample),
                None => server.sample().await.ok(),
            }
        };
        self.pending = Some((event, Box::pin(sample)));
    }

    fn poll_pending(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<MongoEvent<T>>>> {
        let Some((_, asking)) = &mut self.pending else { return Poll::Ready(None) };
        self.sample = ready!(asking.as_mut().poll(cx));
        let event = self.pending.take().map(|(event, _)| self.event(&event));
        Poll::Ready(event)
    }

    fn event(&self, event: &RawDocument) -> Result<MongoEvent<T>> {
        let mut lineage = writers(event);
        lineage.add(place(self.server.store, self.sample, event));
        let event = deserialize_from_slice(plain(event, self.documents)?.as_bytes())?;
        Ok(MongoEvent { event, lineage })
    }
}

impl<T: DeserializeOwned> Stream for MongoChangeStream<T> {
    type Item = Result<MongoEvent<T>>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.pending.is_none() {
            match ready!(this.inner.poll_next_unpin(cx)) {
                Some(event) => this.begin(event?),
                None => return Poll::Ready(None),
            }
        }
        this.poll_pending(cx)
    }
}

/// The place of the change. Its term is not told; but a majority has it, so it is in the history of any
/// term that the server is in at or after the change.
fn place(store: StoreName, sample: Option<Sample>, event: &RawDocument) -> WriteId {
    match sample.filter(|sample| covers(sample, event)).zip(time(event)) {
        Some((sample, position)) => WriteId { store, shard: Shard::ONLY, epoch: sample.epoch(), position },
        None => WriteId::unplaced(store),
    }
}

/// Whether the server stood at or after the change.
fn covers(sample: &Sample, event: &RawDocument) -> bool {
    time(event).is_some_and(|time| time <= sample.applied.position)
}

fn time(event: &RawDocument) -> Option<Position> {
    event.get_timestamp("clusterTime").ok().map(position)
}

/// What the writer of a change depended on.
fn writers(event: &RawDocument) -> Lineage {
    let document = |field| match event.get(field) {
        Ok(Some(RawBsonRef::Document(document))) => Some(lineage_of(document)),
        _ => None,
    };
    let needs_one = matches!(event.get_str("operationType"), Ok("insert" | "update" | "replace"));
    let mut lineage = document("fullDocument").unwrap_or_else(|| {
        // The description of an update shows what it raised, not what it left as high as it was.
        if needs_one { Lineage::everything() } else { Lineage::new() }
    });
    lineage.join(&document("fullDocumentBeforeChange").unwrap_or_default());
    lineage
}

/// The event as it is without the shim.
fn plain(event: &RawDocument, documents: Documents) -> Result<RawDocumentBuf> {
    let is_update = matches!(event.get_str("operationType"), Ok("update"));
    let mut plain = RawDocumentBuf::new();
    for element in event.iter() {
        let (name, value) = element?;
        match (name.as_str(), value) {
            ("fullDocument", _) if is_update && documents == Documents::ForTheLineage => {}
            ("fullDocument" | "fullDocumentBeforeChange", RawBsonRef::Document(document)) => {
                plain.append(name, &detach(document)?);
            }
            ("updateDescription", RawBsonRef::Document(description)) => {
                plain.append(name, &described(description)?);
            }
            (_, value) => plain.append(name, value),
        }
    }
    Ok(plain)
}

/// The description of an update without the lineage that it raised.
fn described(description: &RawDocument) -> Result<RawDocumentBuf> {
    let mut plain = RawDocumentBuf::new();
    for element in description.iter() {
        let (name, value) = element?;
        match (name.as_str(), value) {
            ("updatedFields", RawBsonRef::Document(fields)) => {
                let mut updated = RawDocumentBuf::new();
                for field in fields.iter() {
                    let (name, value) = field?;
                    let first = name.as_str().split('.').next();
                    if first != Some(LINEAGE_FIELD) {
                        updated.append(CString::try_from(name.as_str().to_owned())?, value);
                    }
                }
                plain.append(name, &updated);
            }
            (_, value) => plain.append(name, value),
        }
    }
    Ok(plain)
}

impl<T> fmt::Debug for MongoChangeStream<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MongoChangeStream").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use antipode_lineage::Epoch;
    use mongodb::bson::{Timestamp, rawdoc};

    use super::*;
    use crate::position::OpTime;

    const POSITION: &str = "ffffffffffffffff";

    fn cache() -> Lineage {
        WriteId::unplaced(StoreName::parse("cache").unwrap()).into()
    }

    #[test]
    fn a_change_depends_on_what_its_document_says() {
        let document = rawdoc! { "a": 1, "_antipode": { "cache/0/0/0": POSITION } };
        for kind in ["insert", "update", "replace"] {
            let event = rawdoc! { "operationType": kind, "fullDocument": document.clone() };
            assert_eq!(writers(&event), cache());
            assert!(writers(&rawdoc! { "operationType": kind }).has_overflowed(), "it had a document");
            let gone = rawdoc! { "operationType": kind, "fullDocument": null };
            assert!(writers(&gone).has_overflowed());
        }
        let deleted = rawdoc! { "operationType": "delete" };
        assert_eq!(writers(&deleted), Lineage::new());
        let deleted = rawdoc! { "operationType": "delete", "fullDocumentBeforeChange": document };
        assert_eq!(writers(&deleted), cache());
    }

    #[test]
    fn the_user_sees_the_event_as_it_is_without_the_shim() {
        let document = rawdoc! { "a": 1, "_antipode": { "cache/0/0/0": POSITION } };
        let fields = rawdoc! { "a": 1, "_antipode.cache/0/0/0": POSITION, "_antipodes": 2 };
        let event = rawdoc! {
            "operationType": "update",
            "fullDocument": document.clone(),
            "fullDocumentBeforeChange": document,
            "updateDescription": { "updatedFields": fields, "removedFields": [] },
        };
        let description = rawdoc! { "updatedFields": { "a": 1, "_antipodes": 2 }, "removedFields": [] };
        let before = rawdoc! { "a": 1 };
        assert_eq!(
            plain(&event, Documents::ForTheLineage).unwrap(),
            rawdoc! {
                "operationType": "update",
                "fullDocumentBeforeChange": before.clone(),
                "updateDescription": description.clone(),
            }
        );
        assert_eq!(
            plain(&event, Documents::Asked).unwrap(),
            rawdoc! {
                "operationType": "update",
                "fullDocument": before.clone(),
                "fullDocumentBeforeChange": before,
                "updateDescription": description,
            }
        );
    }

    #[test]
    fn a_change_is_placed_by_a_look_at_the_server_that_came_after_it() {
        let store = StoreName::parse("posts").unwrap();
        let at = Timestamp { time: 7, increment: 2 };
        let sample = |position| Sample { set: 5, applied: OpTime { term: 3, position }, committed: None };
        let event = rawdoc! { "clusterTime": at };
        let placed = WriteId {
            store,
            shard: Shard::ONLY,
            epoch: Epoch { history: 5, term: 3 },
            position: position(at),
        };
        for (looked, expected) in [
            (Some(sample(position(at))), placed),
            (Some(sample(Position(u64::MAX - 1))), placed),
            // An election may have come between.
            (Some(sample(Position(position(at).0 - 1))), WriteId::unplaced(store)),
            (None, WriteId::unplaced(store)),
        ] {
            assert_eq!(place(store, looked, &event), expected);
        }
        assert!(place(store, Some(sample(position(at))), &rawdoc! {}).is_unplaced());
    }
}
