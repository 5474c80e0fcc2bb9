//! Cursors that join lineage as documents are read.

use std::collections::VecDeque;
use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use antipode_lineage::Lineage;
use futures_util::stream::{self, Stream, StreamExt};
use mongodb::bson::{RawDocument, RawDocumentBuf, deserialize_from_slice};
use mongodb::error::Result;
use mongodb::raw_batch_cursor::{RawBatch, RawBatchCursor, SessionRawBatchCursor};
use serde::de::DeserializeOwned;

use crate::access::Recording;
use crate::session::MongoSession;
use crate::stored::{detach, lineage_of};

/// The documents that a read found, as a [`Stream`].
///
/// Each document's lineage is joined when the document is handed over, and the position of the server
/// with each batch that arrives. They are joined into the scope that the action was sent in.
pub struct MongoCursor<T> {
    batches: RawBatchCursor,
    held: Held,
    documents: PhantomData<fn() -> T>,
}

/// The documents that a read in a [`MongoSession`] found. See [`MongoCursor`].
pub struct MongoSessionCursor<T> {
    batches: SessionRawBatchCursor,
    held: Held,
    documents: PhantomData<fn() -> T>,
}

impl<T> MongoCursor<T> {
    pub(crate) fn new(batches: RawBatchCursor, recording: Option<Recording>, sources: Sources) -> Self {
        Self { batches, held: Held::new(recording, sources), documents: PhantomData }
    }

    /// The same cursor, handing over documents of another type.
    #[must_use]
    pub fn with_type<U>(self) -> MongoCursor<U> {
        MongoCursor { batches: self.batches, held: self.held, documents: PhantomData }
    }

    fn poll_document(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<RawDocumentBuf>>> {
        loop {
            if let Some(document) = self.held.next() {
                return Poll::Ready(Some(document));
            }
            match ready!(self.batches.poll_next_unpin(cx)) {
                Some(batch) => self.held.fill(&batch?)?,
                None => return Poll::Ready(None),
            }
        }
    }
}

impl<T: DeserializeOwned> Stream for MongoCursor<T> {
    type Item = Result<T>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<T>>> {
        self.get_mut().poll_document(cx).map(|document| document.map(|document| parse(&document?)))
    }
}

impl<T: DeserializeOwned> MongoSessionCursor<T> {
    /// The next document. The session must be the one that the action was given.
    pub async fn next(&mut self, session: &mut MongoSession) -> Option<Result<T>> {
        loop {
            if let Some(document) = self.held.next() {
                return Some(document.and_then(|document| parse(&document)));
            }
            match self.batches.stream(session.inner_mut()).next().await? {
                Ok(batch) => match self.held.fill(&batch) {
                    Ok(()) => {}
                    Err(error) => return Some(Err(error)),
                },
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// The documents as a stream. The session must be the one that the action was given.
    pub fn stream<'a>(
        &'a mut self,
        session: &'a mut MongoSession,
    ) -> impl Stream<Item = Result<T>> + Send + Unpin + 'a {
        Box::pin(stream::unfold((self, session), async |(cursor, session)| {
            let document = cursor.next(session).await?;
            Some((document, (cursor, session)))
        }))
    }
}

impl<T> MongoSessionCursor<T> {
    pub(crate) fn new(
        batches: SessionRawBatchCursor,
        recording: Option<Recording>,
        sources: Sources,
    ) -> Self {
        Self { batches, held: Held::new(recording, sources), documents: PhantomData }
    }

    /// The same cursor, handing over documents of another type.
    #[must_use]
    pub fn with_type<U>(self) -> MongoSessionCursor<U> {
        MongoSessionCursor { batches: self.batches, held: self.held, documents: PhantomData }
    }
}

/// Where the documents that a read yields come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sources {
    /// Each is a stored document, with its lineage.
    Own,
    /// They are made of documents that are not known any more.
    Unknown,
}

/// The documents of the last batch that were not handed over yet.
struct Held {
    recording: Option<Recording>,
    sources: Sources,
    documents: VecDeque<RawDocumentBuf>,
}

impl Held {
    fn new(recording: Option<Recording>, sources: Sources) -> Self {
        Self { recording, sources, documents: VecDeque::new() }
    }

    fn fill(&mut self, batch: &RawBatch) -> Result<()> {
        if let Some(recording) = &self.recording {
            recording.read();
        }
        for document in batch.doc_slices()? {
            if let Some(document) = document?.as_document() {
                self.documents.push_back(document.to_owned());
            }
        }
        Ok(())
    }

    fn next(&mut self) -> Option<Result<RawDocumentBuf>> {
        let document = self.documents.pop_front()?;
        if let Some(recording) = &self.recording {
            match self.sources {
                Sources::Own => recording.join(&lineage_of(&document)),
                Sources::Unknown => recording.join(&Lineage::everything()),
            }
        }
        Some(detach(&document))
    }
}

fn parse<T: DeserializeOwned>(document: &RawDocument) -> Result<T> {
    Ok(deserialize_from_slice(document.as_bytes())?)
}

impl<T> fmt::Debug for MongoCursor<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MongoCursor").field("held", &self.held.documents.len()).finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for MongoSessionCursor<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MongoSessionCursor").field("held", &self.held.documents.len()).finish_non_exhaustive()
    }
}
