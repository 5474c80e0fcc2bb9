use std::marker::PhantomData;
use std::time::Duration;

use antipode_barrier::BoxFuture;
use mongodb::bson::{Bson, Document};
use mongodb::error::Result;
use mongodb::options::{AggregateOptions, Collation, Hint, ReadConcern, WriteConcern};

use crate::actions::{ExplicitSession, ImplicitSession, Target, option_setters};
use crate::cursor::{MongoCursor, MongoSessionCursor, Sources};
use crate::projection::with_lineage;
use crate::session::MongoSession;
use crate::stored::LINEAGE_FIELD;
use crate::write::{Reach, Write};

/// Runs an aggregation. Made by [`MongoCollection::aggregate`](crate::MongoCollection::aggregate).
///
/// One that writes (`$out`, `$merge`) goes to the primary, and is placed as a write. The documents it
/// writes keep the lineage that they bring along; the current lineage is not stored in them.
#[must_use = "await it"]
pub struct Aggregate<'a, S = ImplicitSession, T = Document> {
    target: Target<'a>,
    pipeline: Vec<Document>,
    options: Option<AggregateOptions>,
    session: S,
    documents: PhantomData<fn() -> T>,
}

impl<'a> Aggregate<'a> {
    pub(crate) fn new(target: Target<'a>, pipeline: Vec<Document>) -> Self {
        Self { target, pipeline, options: None, session: ImplicitSession, documents: PhantomData }
    }
}

impl<'a, T> Aggregate<'a, ImplicitSession, T> {
    /// Runs it in this session, on the primary's client.
    pub fn session(self, session: &'a mut MongoSession) -> Aggregate<'a, ExplicitSession<'a>, T> {
        let Self { target, pipeline, options, session: _, documents } = self;
        Aggregate { target, pipeline, options, session: ExplicitSession(session), documents }
    }

    async fn send(self) -> Result<MongoCursor<T>> {
        let Self { target, pipeline, mut options, .. } = self;
        if let Some(options) = &mut options {
            options.selection_criteria = None;
        }
        let (sources, writes) = (sources(&pipeline), writes(&pipeline));
        let pipeline: Vec<Document> = pipeline.into_iter().map(keeping).collect();
        let scope = target.access.scope()?;
        if writes {
            let own = options.as_ref().and_then(|options| options.write_concern.as_ref());
            let write = Write::begin(target.access, None, &target.concern(own), Reach::Many).await?;
            // The cursor outlives this; an implicit session can go with it, but says nothing.
            let aggregate = target.primary.aggregate(pipeline).with_options(options);
            let outcome = aggregate.batch().await;
            return Ok(MongoCursor::new(write.end(outcome)?, None, sources));
        }
        let server = target.access.reads(scope.as_ref())?;
        let recording = target.access.record(server, scope).await;
        let collection = target.on(server);
        let aggregate = collection.aggregate(pipeline).with_options(options).batch();
        Ok(MongoCursor::new(aggregate.await?, recording, sources))
    }
}

impl<'a, T> Aggregate<'a, ExplicitSession<'a>, T> {
    async fn send(self) -> Result<MongoSessionCursor<T>> {
        let Self { target, pipeline, mut options, session, .. } = self;
        if let Some(options) = &mut options {
            options.selection_criteria = None;
        }
        let (sources, writes) = (sources(&pipeline), writes(&pipeline));
        let pipeline: Vec<Document> = pipeline.into_iter().map(keeping).collect();
        if writes {
            let own = options.as_ref().and_then(|options| options.write_concern.as_ref());
            let concern = target.concern(own);
            let mut write = Write::begin(target.access, Some(session.0), &concern, Reach::Many).await?;
            let aggregate = target.primary.aggregate(pipeline).with_options(options);
            let outcome = aggregate.session(write.session()).batch().await;
            return Ok(MongoSessionCursor::new(write.end(outcome)?, None, sources));
        }
        let recording = target.access.record_write(target.access.scope()?).await;
        let aggregate = target.primary.aggregate(pipeline).with_options(options);
        let batches = aggregate.session(session.0.inner_mut()).batch().await?;
        Ok(MongoSessionCursor::new(batches, recording, sources))
    }
}

impl<'a, S, T> Aggregate<'a, S, T> {
    /// The type of the documents that the cursor yields.
    pub fn with_type<U>(self) -> Aggregate<'a, S, U> {
        let Self { target, pipeline, options, session, documents: _ } = self;
        Aggregate { target, pipeline, options, session, documents: PhantomData }
    }

    option_setters!(AggregateOptions {
        allow_disk_use: bool,
        batch_size: u32,
        bypass_document_validation: bool,
        collation: Collation,
        comment: impl Into<Bson>,
        hint: Hint,
        max_await_time: Duration,
        max_time: Duration,
        read_concern: ReadConcern,
        write_concern: WriteConcern,
        let_vars: Document,
    });
}

impl<'a, T: 'a> IntoFuture for Aggregate<'a, ImplicitSession, T> {
    type Output = Result<MongoCursor<T>>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

impl<'a, T: 'a> IntoFuture for Aggregate<'a, ExplicitSession<'a>, T> {
    type Output = Result<MongoSessionCursor<T>>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

/// Whether each document that comes out is one that went in.
fn sources(pipeline: &[Document]) -> Sources {
    const KEEP: [&str; 10] = [
        "$match",
        "$sort",
        "$limit",
        "$skip",
        "$sample",
        "$set",
        "$addFields",
        "$unset",
        "$unwind",
        "$project",
    ];
    let keeps = |stage: &Document| stage.keys().all(|name| KEEP.contains(&name.as_str())) && !touches(stage);
    if pipeline.iter().all(keeps) { Sources::Own } else { Sources::Unknown }
}

/// Whether the stage does something to the lineage itself.
fn touches(stage: &Document) -> bool {
    let is_ours = |name: &str| name == LINEAGE_FIELD || name.starts_with("_antipode.");
    stage.iter().any(|(name, value)| match (name.as_str(), value) {
        ("$set" | "$addFields", Bson::Document(fields)) => fields.keys().any(|field| is_ours(field)),
        ("$unset", Bson::String(field)) => is_ours(field),
        ("$unset", Bson::Array(fields)) => fields.iter().filter_map(Bson::as_str).any(is_ours),
        _ => false,
    })
}

fn writes(pipeline: &[Document]) -> bool {
    pipeline.last().is_some_and(|stage| stage.contains_key("$out") || stage.contains_key("$merge"))
}

fn keeping(mut stage: Document) -> Document {
    if let Some(Bson::Document(projection)) = stage.get_mut("$project") {
        *projection = with_lineage(std::mem::take(projection));
    }
    stage
}

#[cfg(test)]
mod tests {
    use mongodb::bson::doc;

    use super::*;

    #[test]
    fn only_stages_that_leave_documents_what_they_are_keep_their_lineage() {
        let own = [
            doc! { "$match": { "a": 1 } },
            doc! { "$project": { "a": 1 } },
            doc! { "$set": { "b": 1 } },
            doc! { "$unset": ["b"] },
        ];
        assert_eq!(sources(&own), Sources::Own);
        for stage in [
            doc! { "$group": { "_id": "$a" } },
            doc! { "$lookup": {} },
            doc! { "$replaceWith": "$a" },
            doc! { "$set": { "_antipode": {} } },
            doc! { "$unset": "_antipode" },
            doc! { "$unset": ["a", "_antipode"] },
        ] {
            assert_eq!(sources(&[own[0].clone(), stage.clone()]), Sources::Unknown, "{stage}");
        }
    }
}
