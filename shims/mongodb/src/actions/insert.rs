use mongodb::bson::{Bson, RawDocumentBuf};
use mongodb::error::Result;
use mongodb::options::{InsertManyOptions, InsertOneOptions, WriteConcern};
use mongodb::results::{InsertManyResult, InsertOneResult};

use crate::actions::{Target, option_setters, sent_when_awaited, session_setter};
use crate::session::MongoSession;
use crate::stored::attach;
use crate::write::{Reach, Write};

/// Inserts a document. Made by [`MongoCollection::insert_one`](crate::MongoCollection::insert_one).
#[must_use = "await it"]
pub struct InsertOne<'a> {
    target: Target<'a>,
    document: Result<RawDocumentBuf>,
    options: Option<InsertOneOptions>,
    session: Option<&'a mut MongoSession>,
}

impl<'a> InsertOne<'a> {
    pub(crate) fn new(target: Target<'a>, document: Result<RawDocumentBuf>) -> Self {
        Self { target, document, options: None, session: None }
    }

    session_setter!();

    option_setters!(InsertOneOptions {
        bypass_document_validation: bool,
        write_concern: WriteConcern,
        comment: impl Into<Bson>,
    });

    async fn send(self) -> Result<InsertOneResult> {
        let Self { target, document, options, session } = self;
        let document = document?;
        let own = options.as_ref().and_then(|options| options.write_concern.as_ref());
        let mut write = Write::begin(target.access, session, &target.concern(own), Reach::One).await?;
        let document = attach(&document, write.lineage())?;
        let insert = target.primary.insert_one(document).with_options(options);
        let outcome = insert.session(write.session()).await;
        write.end(outcome)
    }
}

sent_when_awaited!(impl<'a> InsertOne<'a> => InsertOneResult);

/// Inserts documents. Made by [`MongoCollection::insert_many`](crate::MongoCollection::insert_many).
#[must_use = "await it"]
pub struct InsertMany<'a> {
    target: Target<'a>,
    documents: Result<Vec<RawDocumentBuf>>,
    options: Option<InsertManyOptions>,
    session: Option<&'a mut MongoSession>,
}

impl<'a> InsertMany<'a> {
    pub(crate) fn new(target: Target<'a>, documents: Result<Vec<RawDocumentBuf>>) -> Self {
        Self { target, documents, options: None, session: None }
    }

    session_setter!();

    option_setters!(InsertManyOptions {
        bypass_document_validation: bool,
        ordered: bool,
        write_concern: WriteConcern,
        comment: impl Into<Bson>,
    });

    async fn send(self) -> Result<InsertManyResult> {
        let Self { target, documents, options, session } = self;
        let documents = documents?;
        let own = options.as_ref().and_then(|options| options.write_concern.as_ref());
        let mut write = Write::begin(target.access, session, &target.concern(own), Reach::Many).await?;
        let attached = documents.iter().map(|document| attach(document, write.lineage()));
        let documents = attached.collect::<Result<Vec<_>>>()?;
        let insert = target.primary.insert_many(documents).with_options(options);
        let outcome = insert.session(write.session()).await;
        write.end(outcome)
    }
}

sent_when_awaited!(impl<'a> InsertMany<'a> => InsertManyResult);
