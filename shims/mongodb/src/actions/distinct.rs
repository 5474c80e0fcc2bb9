use std::time::Duration;

use antipode_lineage::Lineage;
use mongodb::bson::{Bson, Document};
use mongodb::error::Result;
use mongodb::options::{Collation, DistinctOptions, Hint, ReadConcern};

use crate::actions::{Target, option_setters, sent_when_awaited, session_setter};
use crate::read::Read;
use crate::session::MongoSession;

/// Finds the values of a field. Made by [`MongoCollection::distinct`](crate::MongoCollection::distinct).
#[must_use = "await it"]
pub struct Distinct<'a> {
    target: Target<'a>,
    field: String,
    filter: Document,
    options: Option<DistinctOptions>,
    session: Option<&'a mut MongoSession>,
}

impl<'a> Distinct<'a> {
    pub(crate) fn new(target: Target<'a>, field: String, filter: Document) -> Self {
        Self { target, field, filter, options: None, session: None }
    }

    session_setter!();

    option_setters!(DistinctOptions {
        max_time: Duration,
        read_concern: ReadConcern,
        collation: Collation,
        comment: impl Into<Bson>,
        hint: Hint,
    });

    async fn send(self) -> Result<Vec<Bson>> {
        let Self { target, field, filter, mut options, session } = self;
        if let Some(options) = &mut options {
            options.selection_criteria = None;
        }
        let mut read = Read::begin(target, session).await?;
        let collection = read.collection();
        let distinct = collection.distinct(field, filter).with_options(options);
        let outcome = distinct.session(read.session()).await;
        if outcome.as_ref().is_ok_and(|values| !values.is_empty()) {
            read.join(&Lineage::everything());
        }
        read.end(outcome)
    }
}

sent_when_awaited!(impl<'a> Distinct<'a> => Vec<Bson>);
