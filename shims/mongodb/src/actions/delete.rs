use mongodb::bson::{Bson, Document};
use mongodb::error::Result;
use mongodb::options::{Collation, DeleteOptions, Hint, WriteConcern};
use mongodb::results::DeleteResult;

use crate::actions::{Target, option_setters, sent_when_awaited, session_setter};
use crate::session::MongoSession;
use crate::write::{Reach, Write};

/// Deletes documents, and their lineage. Made by
/// [`MongoCollection::delete_one`](crate::MongoCollection::delete_one) and
/// [`MongoCollection::delete_many`](crate::MongoCollection::delete_many).
#[must_use = "await it"]
pub struct Delete<'a> {
    target: Target<'a>,
    query: Document,
    reach: Reach,
    options: Option<DeleteOptions>,
    session: Option<&'a mut MongoSession>,
}

impl<'a> Delete<'a> {
    pub(crate) fn new(target: Target<'a>, query: Document, reach: Reach) -> Self {
        Self { target, query, reach, options: None, session: None }
    }

    session_setter!();

    option_setters!(DeleteOptions {
        collation: Collation,
        write_concern: WriteConcern,
        hint: Hint,
        let_vars: Document,
        comment: impl Into<Bson>,
    });

    async fn send(self) -> Result<DeleteResult> {
        let Self { target, query, reach, options, session } = self;
        let own = options.as_ref().and_then(|options| options.write_concern.as_ref());
        let mut write = Write::begin(target.access, session, &target.concern(own), reach).await?;
        let delete = match reach {
            Reach::One => target.primary.delete_one(query),
            Reach::Many => target.primary.delete_many(query),
        };
        let outcome = delete.with_options(options).session(write.session()).await;
        write.end(outcome)
    }
}

sent_when_awaited!(impl<'a> Delete<'a> => DeleteResult);
