use std::time::Duration;

use mongodb::bson::{Bson, Document};
use mongodb::error::Result;
use mongodb::options::{Collation, CountOptions, Hint, ReadConcern};

use crate::actions::{Target, option_setters, sent_when_awaited, session_setter};
use crate::read::Read;
use crate::session::MongoSession;

/// Counts documents. Made by
/// [`MongoCollection::count_documents`](crate::MongoCollection::count_documents).
#[must_use = "await it"]
pub struct CountDocuments<'a> {
    target: Target<'a>,
    filter: Document,
    options: Option<CountOptions>,
    session: Option<&'a mut MongoSession>,
}

impl<'a> CountDocuments<'a> {
    pub(crate) fn new(target: Target<'a>, filter: Document) -> Self {
        Self { target, filter, options: None, session: None }
    }

    session_setter!();

    option_setters!(CountOptions {
        hint: Hint,
        limit: u64,
        max_time: Duration,
        skip: u64,
        collation: Collation,
        read_concern: ReadConcern,
        comment: impl Into<Bson>,
    });

    async fn send(self) -> Result<u64> {
        let Self { target, filter, mut options, session } = self;
        if let Some(options) = &mut options {
            options.selection_criteria = None;
        }
        let mut read = Read::begin(target, session).await?;
        let collection = read.collection();
        let count = collection.count_documents(filter).with_options(options);
        let outcome = count.session(read.session()).await;
        read.end(outcome)
    }
}

sent_when_awaited!(impl<'a> CountDocuments<'a> => u64);
