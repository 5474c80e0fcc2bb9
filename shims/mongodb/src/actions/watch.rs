use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use antipode_barrier::BoxFuture;
use mongodb::bson::{Bson, Document, RawDocumentBuf, Timestamp};
use mongodb::change_stream::event::ResumeToken;
use mongodb::error::Result;
use mongodb::options::{
    ChangeStreamOptions, Collation, FullDocumentBeforeChangeType, FullDocumentType, ReadConcern,
};

use crate::actions::{Target, option_setters};
use crate::change_stream::{Documents, MongoChangeStream};

/// Watches a collection. Made by [`MongoCollection::watch`](crate::MongoCollection::watch).
///
/// It is sent to the server that the current scope's reads go to. Unless the user asks for documents
/// of updates, it asks for them itself, to find their lineage: a lookup on the server for each update.
#[must_use = "await it"]
pub struct Watch<'a, T> {
    target: Target<'a>,
    pipeline: Vec<Document>,
    options: Option<ChangeStreamOptions>,
    documents: PhantomData<fn() -> T>,
}

impl<'a, T> Watch<'a, T> {
    pub(crate) fn new(target: Target<'a>) -> Self {
        Self { target, pipeline: Vec::new(), options: None, documents: PhantomData }
    }

    /// The stages that events go through. See [`Watch::pipeline`](mongodb::action::Watch::pipeline).
    /// An event of an update that loses its `fullDocument` there depends on everything.
    pub fn pipeline(mut self, value: impl IntoIterator<Item = Document>) -> Self {
        self.pipeline = value.into_iter().collect();
        self
    }

    /// Sets [`ChangeStreamOptions::resume_after`].
    pub fn resume_after(mut self, value: impl Into<Option<ResumeToken>>) -> Self {
        self.options.get_or_insert_default().resume_after = value.into();
        self
    }

    option_setters!(ChangeStreamOptions {
        full_document: FullDocumentType,
        full_document_before_change: FullDocumentBeforeChangeType,
        start_at_operation_time: Timestamp,
        start_after: ResumeToken,
        max_await_time: Duration,
        batch_size: u32,
        collation: Collation,
        read_concern: ReadConcern,
        comment: impl Into<Bson>,
    });

    async fn send(self) -> Result<MongoChangeStream<T>> {
        let Self { target, pipeline, options, documents: _ } = self;
        let mut options = options.unwrap_or_default();
        options.selection_criteria = None;
        let documents = if options.full_document.is_some() {
            Documents::Asked
        } else {
            options.full_document = Some(FullDocumentType::UpdateLookup);
            Documents::ForTheLineage
        };
        let server = target.access.reads(target.access.current().as_ref())?;
        let stream = target.on(server).watch().pipeline(pipeline).with_options(options).await?;
        let stream = stream.with_type::<RawDocumentBuf>();
        Ok(MongoChangeStream::new(stream, Arc::clone(server), documents))
    }
}

impl<'a, T: 'a> IntoFuture for Watch<'a, T> {
    type Output = Result<MongoChangeStream<T>>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}
