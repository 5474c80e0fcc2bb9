use std::marker::PhantomData;
use std::time::Duration;

use antipode_barrier::BoxFuture;
use futures_util::stream::StreamExt;
use mongodb::bson::{Bson, Document};
use mongodb::error::Result;
use mongodb::options::{Collation, CursorType, FindOneOptions, FindOptions, Hint, ReadConcern};
use serde::de::DeserializeOwned;

use crate::actions::{Target, option_setters, sent_when_awaited, session_setter};
use crate::cursor::{MongoCursor, MongoSessionCursor, Sources};
use crate::projection::with_lineage;
use crate::session::MongoSession;

/// No session was given: the action runs on the replica that the scope's reads go to.
#[derive(Debug)]
pub struct ImplicitSession;

/// The session that was given: the action runs in it, on the primary's client.
#[derive(Debug)]
pub struct ExplicitSession<'a>(pub(crate) &'a mut MongoSession);

/// Finds documents. Made by [`MongoCollection::find`](crate::MongoCollection::find).
#[must_use = "await it"]
pub struct Find<'a, T, S = ImplicitSession> {
    target: Target<'a>,
    filter: Document,
    options: Option<FindOptions>,
    session: S,
    documents: PhantomData<fn() -> T>,
}

impl<'a, T> Find<'a, T> {
    pub(crate) fn new(target: Target<'a>, filter: Document) -> Self {
        Self { target, filter, options: None, session: ImplicitSession, documents: PhantomData }
    }

    /// Runs it in this session, on the primary's client.
    pub fn session(self, session: &'a mut MongoSession) -> Find<'a, T, ExplicitSession<'a>> {
        let Self { target, filter, options, session: _, documents } = self;
        Find { target, filter, options, session: ExplicitSession(session), documents }
    }

    async fn send(self) -> Result<MongoCursor<T>> {
        let Self { target, filter, options, .. } = self;
        let scope = target.access.scope()?;
        let server = target.access.reads(scope.as_ref())?;
        let recording = target.access.record(server, scope).await;
        let sources = sources(options.as_ref());
        let collection = target.on(server);
        let find = collection.find(filter).with_options(options.map(keeping)).batch();
        Ok(MongoCursor::new(find.await?, recording, sources))
    }
}

impl<'a, T> Find<'a, T, ExplicitSession<'a>> {
    async fn send(self) -> Result<MongoSessionCursor<T>> {
        let Self { target, filter, options, session, .. } = self;
        let recording = target.access.record_write(target.access.scope()?).await;
        let sources = sources(options.as_ref());
        let find = target.primary.find(filter).with_options(options.map(keeping));
        let batches = find.session(session.0.inner_mut()).batch().await?;
        Ok(MongoSessionCursor::new(batches, recording, sources))
    }
}

impl<T, S> Find<'_, T, S> {
    option_setters!(FindOptions {
        allow_disk_use: bool,
        allow_partial_results: bool,
        batch_size: u32,
        comment: impl Into<Bson>,
        cursor_type: CursorType,
        hint: Hint,
        limit: i64,
        max: Document,
        max_await_time: Duration,
        max_time: Duration,
        min: Document,
        no_cursor_timeout: bool,
        projection: Document,
        read_concern: ReadConcern,
        return_key: bool,
        show_record_id: bool,
        skip: u64,
        sort: Document,
        collation: Collation,
        let_vars: Document,
    });
}

impl<'a, T: 'a> IntoFuture for Find<'a, T> {
    type Output = Result<MongoCursor<T>>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

impl<'a, T: 'a> IntoFuture for Find<'a, T, ExplicitSession<'a>> {
    type Output = Result<MongoSessionCursor<T>>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

/// Finds a document. Made by [`MongoCollection::find_one`](crate::MongoCollection::find_one).
#[must_use = "await it"]
pub struct FindOne<'a, T> {
    target: Target<'a>,
    filter: Document,
    options: Option<FindOneOptions>,
    session: Option<&'a mut MongoSession>,
    document: PhantomData<fn() -> T>,
}

impl<'a, T: DeserializeOwned> FindOne<'a, T> {
    pub(crate) fn new(target: Target<'a>, filter: Document) -> Self {
        Self { target, filter, options: None, session: None, document: PhantomData }
    }

    session_setter!();

    option_setters!(FindOneOptions {
        allow_partial_results: bool,
        collation: Collation,
        comment: impl Into<Bson>,
        hint: Hint,
        max: Document,
        max_time: Duration,
        min: Document,
        projection: Document,
        read_concern: ReadConcern,
        return_key: bool,
        show_record_id: bool,
        skip: u64,
        sort: Document,
        let_vars: Document,
    });

    async fn send(self) -> Result<Option<T>> {
        let Self { target, filter, options, session, document: _ } = self;
        let mut options = FindOptions::from(options.unwrap_or_default());
        // One document, and no cursor left open: as the driver asks for it.
        options.limit = Some(-1);
        let find = Find::new(target, filter).with_options(options);
        match session {
            Some(session) => find.session(&mut *session).send().await?.next(session).await.transpose(),
            None => find.send().await?.next().await.transpose(),
        }
    }
}

sent_when_awaited!(impl<'a, T> FindOne<'a, T> => Option<T> where T: DeserializeOwned + 'a);

fn keeping(mut options: FindOptions) -> FindOptions {
    options.projection = options.projection.map(with_lineage);
    options.selection_criteria = None;
    options
}

/// Keys of an index are not the document.
fn sources(options: Option<&FindOptions>) -> Sources {
    let keys_only = options.is_some_and(|options| options.return_key == Some(true));
    if keys_only { Sources::Unknown } else { Sources::Own }
}
