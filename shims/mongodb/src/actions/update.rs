use mongodb::bson::{Bson, Document};
use mongodb::error::Result;
use mongodb::options::{Collation, Hint, UpdateModifications, UpdateOptions, WriteConcern};
use mongodb::results::UpdateResult;

use crate::actions::{Target, option_setters, sent_when_awaited, session_setter};
use crate::session::MongoSession;
use crate::update::joining;
use crate::write::{Reach, Write};

/// Updates documents. Made by [`MongoCollection::update_one`](crate::MongoCollection::update_one) and
/// [`MongoCollection::update_many`](crate::MongoCollection::update_many).
#[must_use = "await it"]
pub struct Update<'a> {
    target: Target<'a>,
    query: Document,
    update: UpdateModifications,
    reach: Reach,
    options: Option<UpdateOptions>,
    session: Option<&'a mut MongoSession>,
}

impl<'a> Update<'a> {
    pub(crate) fn new(
        target: Target<'a>,
        query: Document,
        update: UpdateModifications,
        reach: Reach,
    ) -> Self {
        Self { target, query, update, reach, options: None, session: None }
    }

    session_setter!();

    option_setters!(UpdateOptions {
        array_filters: Vec<Document>,
        bypass_document_validation: bool,
        upsert: bool,
        collation: Collation,
        hint: Hint,
        write_concern: WriteConcern,
        let_vars: Document,
        comment: impl Into<Bson>,
        sort: Document,
    });

    async fn send(self) -> Result<UpdateResult> {
        let Self { target, query, update, reach, options, session } = self;
        let own = options.as_ref().and_then(|options| options.write_concern.as_ref());
        let mut write = Write::begin(target.access, session, &target.concern(own), reach).await?;
        let update = joining(update, write.lineage());
        let update = match reach {
            Reach::One => target.primary.update_one(query, update),
            Reach::Many => target.primary.update_many(query, update),
        };
        let outcome = update.with_options(options).session(write.session()).await;
        write.end(outcome)
    }
}

sent_when_awaited!(impl<'a> Update<'a> => UpdateResult);
