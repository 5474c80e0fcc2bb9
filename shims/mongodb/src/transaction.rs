//! Beginning a transaction.

use std::future::IntoFuture;
use std::time::Duration;

use antipode_barrier::BoxFuture;
use mongodb::error::Result;
use mongodb::options::{ReadConcern, SelectionCriteria, TransactionOptions, WriteConcern};

use crate::actions::option_setters;
use crate::concern::by_majority;
use crate::session::MongoSession;

/// Begins a transaction when awaited. Made by
/// [`MongoSession::start_transaction`](crate::MongoSession::start_transaction).
#[must_use = "await it"]
#[derive(Debug)]
pub struct StartTransaction<'a> {
    session: &'a mut MongoSession,
    options: Option<TransactionOptions>,
}

impl<'a> StartTransaction<'a> {
    pub(crate) fn new(session: &'a mut MongoSession) -> Self {
        Self { session, options: None }
    }

    option_setters!(TransactionOptions {
        read_concern: ReadConcern,
        write_concern: WriteConcern,
        selection_criteria: SelectionCriteria,
        max_commit_time: Duration,
    });
}

impl<'a> IntoFuture for StartTransaction<'a> {
    type Output = Result<()>;
    type IntoFuture = BoxFuture<'a, Result<()>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let Self { session, options } = self;
            let mut options = options.unwrap_or_default();
            let concern = options.write_concern.take();
            let concern = by_majority(concern.or_else(|| session.default_concern()));
            options.write_concern = Some(concern.clone());
            session.inner_mut().start_transaction().with_options(options).await?;
            session.began(&concern);
            Ok(())
        })
    }
}
