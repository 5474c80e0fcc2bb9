use mongodb::bson::{Bson, Document, RawDocumentBuf};
use mongodb::error::Result;
use mongodb::options::{Collation, Hint, ReplaceOptions, WriteConcern};
use mongodb::results::UpdateResult;

use crate::actions::{Target, option_setters, sent_when_awaited, session_setter};
use crate::session::MongoSession;
use crate::stored::attach;
use crate::write::{Reach, Write};

/// Replaces a document. Made by [`MongoCollection::replace_one`](crate::MongoCollection::replace_one).
#[must_use = "await it"]
pub struct ReplaceOne<'a> {
    target: Target<'a>,
    query: Document,
    replacement: Result<RawDocumentBuf>,
    options: Option<ReplaceOptions>,
    session: Option<&'a mut MongoSession>,
}

impl<'a> ReplaceOne<'a> {
    pub(crate) fn new(target: Target<'a>, query: Document, replacement: Result<RawDocumentBuf>) -> Self {
        Self { target, query, replacement, options: None, session: None }
    }

    session_setter!();

    option_setters!(ReplaceOptions {
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
        let Self { target, query, replacement, options, session } = self;
        let replacement = replacement?;
        let own = options.as_ref().and_then(|options| options.write_concern.as_ref());
        let mut write = Write::begin(target.access, session, &target.concern(own), Reach::One).await?;
        let replacement = attach(&replacement, write.lineage())?;
        let replace = target.primary.replace_one(query, replacement).with_options(options);
        let outcome = replace.session(write.session()).await;
        write.end(outcome)
    }
}

sent_when_awaited!(impl<'a> ReplaceOne<'a> => UpdateResult);
