use std::marker::PhantomData;
use std::time::Duration;

use mongodb::bson::{Bson, Document, RawDocumentBuf, deserialize_from_slice};
use mongodb::error::Result;
use mongodb::options::{
    Collation, FindOneAndDeleteOptions, FindOneAndReplaceOptions, FindOneAndUpdateOptions, Hint,
    ReturnDocument, UpdateModifications, WriteConcern,
};
use serde::de::DeserializeOwned;

use crate::actions::{Target, option_setters, sent_when_awaited, session_setter};
use crate::projection::with_lineage;
use crate::session::MongoSession;
use crate::stored::{attach, detach, lineage_of};
use crate::update::joining;
use crate::write::{Reach, Write};

/// Finds a document and deletes it. Made by
/// [`MongoCollection::find_one_and_delete`](crate::MongoCollection::find_one_and_delete).
#[must_use = "await it"]
pub struct FindOneAndDelete<'a, T> {
    target: Target<'a>,
    filter: Document,
    options: Option<FindOneAndDeleteOptions>,
    session: Option<&'a mut MongoSession>,
    document: PhantomData<fn() -> T>,
}

impl<'a, T: DeserializeOwned> FindOneAndDelete<'a, T> {
    pub(crate) fn new(target: Target<'a>, filter: Document) -> Self {
        Self { target, filter, options: None, session: None, document: PhantomData }
    }

    session_setter!();

    option_setters!(FindOneAndDeleteOptions {
        max_time: Duration,
        projection: Document,
        sort: Document,
        write_concern: WriteConcern,
        collation: Collation,
        hint: Hint,
        let_vars: Document,
        comment: impl Into<Bson>,
    });

    async fn send(self) -> Result<Option<T>> {
        let Self { target, filter, options, session, document: _ } = self;
        let mut options = options.unwrap_or_default();
        options.projection = options.projection.map(with_lineage);
        let concern = target.concern(options.write_concern.as_ref());
        let mut write = Write::begin(target.access, session, &concern, Reach::One).await?;
        let delete = target.primary.find_one_and_delete(filter).with_options(options);
        let outcome = delete.session(write.session()).await;
        found(write, outcome)
    }
}

sent_when_awaited!(impl<'a, T> FindOneAndDelete<'a, T> => Option<T> where T: DeserializeOwned + 'a);

/// Finds a document and updates it. Made by
/// [`MongoCollection::find_one_and_update`](crate::MongoCollection::find_one_and_update).
#[must_use = "await it"]
pub struct FindOneAndUpdate<'a, T> {
    target: Target<'a>,
    filter: Document,
    update: UpdateModifications,
    options: Option<FindOneAndUpdateOptions>,
    session: Option<&'a mut MongoSession>,
    document: PhantomData<fn() -> T>,
}

impl<'a, T: DeserializeOwned> FindOneAndUpdate<'a, T> {
    pub(crate) fn new(target: Target<'a>, filter: Document, update: UpdateModifications) -> Self {
        Self { target, filter, update, options: None, session: None, document: PhantomData }
    }

    session_setter!();

    option_setters!(FindOneAndUpdateOptions {
        array_filters: Vec<Document>,
        bypass_document_validation: bool,
        max_time: Duration,
        projection: Document,
        return_document: ReturnDocument,
        sort: Document,
        upsert: bool,
        write_concern: WriteConcern,
        collation: Collation,
        hint: Hint,
        let_vars: Document,
        comment: impl Into<Bson>,
    });

    async fn send(self) -> Result<Option<T>> {
        let Self { target, filter, update, options, session, document: _ } = self;
        let mut options = options.unwrap_or_default();
        options.projection = options.projection.map(with_lineage);
        let concern = target.concern(options.write_concern.as_ref());
        let mut write = Write::begin(target.access, session, &concern, Reach::One).await?;
        let update = joining(update, write.lineage());
        let update = target.primary.find_one_and_update(filter, update).with_options(options);
        let outcome = update.session(write.session()).await;
        found(write, outcome)
    }
}

sent_when_awaited!(impl<'a, T> FindOneAndUpdate<'a, T> => Option<T> where T: DeserializeOwned + 'a);

/// Finds a document and replaces it. Made by
/// [`MongoCollection::find_one_and_replace`](crate::MongoCollection::find_one_and_replace).
#[must_use = "await it"]
pub struct FindOneAndReplace<'a, T> {
    target: Target<'a>,
    filter: Document,
    replacement: Result<RawDocumentBuf>,
    options: Option<FindOneAndReplaceOptions>,
    session: Option<&'a mut MongoSession>,
    document: PhantomData<fn() -> T>,
}

impl<'a, T: DeserializeOwned> FindOneAndReplace<'a, T> {
    pub(crate) fn new(target: Target<'a>, filter: Document, replacement: Result<RawDocumentBuf>) -> Self {
        Self { target, filter, replacement, options: None, session: None, document: PhantomData }
    }

    session_setter!();

    option_setters!(FindOneAndReplaceOptions {
        bypass_document_validation: bool,
        max_time: Duration,
        projection: Document,
        return_document: ReturnDocument,
        sort: Document,
        upsert: bool,
        write_concern: WriteConcern,
        collation: Collation,
        hint: Hint,
        let_vars: Document,
        comment: impl Into<Bson>,
    });

    async fn send(self) -> Result<Option<T>> {
        let Self { target, filter, replacement, options, session, document: _ } = self;
        let replacement = replacement?;
        let mut options = options.unwrap_or_default();
        options.projection = options.projection.map(with_lineage);
        let concern = target.concern(options.write_concern.as_ref());
        let mut write = Write::begin(target.access, session, &concern, Reach::One).await?;
        let replacement = attach(&replacement, write.lineage())?;
        let replace = target.primary.find_one_and_replace(filter, replacement).with_options(options);
        let outcome = replace.session(write.session()).await;
        found(write, outcome)
    }
}

sent_when_awaited!(impl<'a, T> FindOneAndReplace<'a, T> => Option<T> where T: DeserializeOwned + 'a);

/// The document that the write found. Its position is the write's.
fn found<T: DeserializeOwned>(
    write: Write<'_>,
    outcome: Result<Option<RawDocumentBuf>>,
) -> Result<Option<T>> {
    if let Ok(Some(document)) = &outcome {
        write.join(&lineage_of(document));
    }
    match write.end(outcome)? {
        Some(document) => Ok(Some(deserialize_from_slice(detach(&document)?.as_bytes())?)),
        None => Ok(None),
    }
}
