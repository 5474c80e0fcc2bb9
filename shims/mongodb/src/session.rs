//! Sessions of the user.

use mongodb::error::{
    Error as DriverError, ErrorKind, Result, TRANSIENT_TRANSACTION_ERROR, UNKNOWN_TRANSACTION_COMMIT_RESULT,
};
use mongodb::options::{SessionOptions, WriteConcern};
use mongodb::{Client, ClientSession};

use crate::access::{Access, Recording};
use crate::capture::Acknowledged;
use crate::concern::acknowledged;
use crate::transaction::StartTransaction;

/// A session of the primary's client: operations given to it with `.session(&mut session)` run in it,
/// one after the other, and [transactions](MongoSession::start_transaction) are made of them.
///
/// Reads in a session go to the primary's client, whatever replica a barrier chose: a session belongs
/// to one client. The driver makes a session causal: a read in it waits for what the session has
/// seen.
///
/// Begun by [`MongoStore::start_session`](crate::MongoStore::start_session).
#[derive(Debug)]
pub struct MongoSession {
    inner: ClientSession,
    default_concern: Option<WriteConcern>,
    transaction: Option<Transaction>,
}

/// A transaction, up to its end.
#[derive(Debug)]
struct Transaction {
    acknowledged: Acknowledged,
    /// Those who wrote in it.
    recordings: Vec<Recording>,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Open,
    /// The commit was sent, and nobody knows how it ended.
    Committing,
    /// It ended. The driver lets the user commit again.
    Committed,
}

impl MongoSession {
    pub(crate) async fn start(access: &Access, options: Option<SessionOptions>) -> Result<Self> {
        let client = access.primary();
        let defaults = options.as_ref().and_then(|options| options.default_transaction_options.as_ref());
        let concern = defaults.and_then(|defaults| defaults.write_concern.as_ref());
        let default_concern = concern.or(client.write_concern()).cloned();
        let inner = client.start_session().with_options(options).await?;
        Ok(Self { inner, default_concern, transaction: None })
    }

    /// The driver's session. What runs in it directly carries no lineage, and a transaction that is
    /// begun or ended there is not noticed.
    #[must_use]
    pub fn inner(&self) -> &ClientSession {
        &self.inner
    }

    /// The driver's session, as [`inner`](MongoSession::inner).
    pub fn inner_mut(&mut self) -> &mut ClientSession {
        &mut self.inner
    }

    /// Begins a transaction. Its writes carry the lineage; the position is added by the commit.
    ///
    /// The transaction commits to a majority unless told otherwise.
    pub fn start_transaction(&mut self) -> StartTransaction<'_> {
        StartTransaction::new(self)
    }

    /// Commits, and adds the position to the lineage of each scope that wrote in the transaction.
    ///
    /// # Errors
    /// The driver's. Where the outcome is not known, an
    /// [unplaced write](antipode_lineage::WriteId::unplaced) is added, and stays if another commit
    /// succeeds.
    pub async fn commit_transaction(&mut self) -> Result<()> {
        let mut commit = Commit::begin(self);
        let outcome = commit.session.inner.commit_transaction().await;
        commit.end(&outcome);
        outcome
    }

    /// Aborts. Nothing is added to any lineage.
    ///
    /// # Errors
    /// The driver's.
    pub async fn abort_transaction(&mut self) -> Result<()> {
        self.inner.abort_transaction().await?;
        self.transaction = None;
        Ok(())
    }

    pub(crate) fn in_transaction(&self) -> bool {
        self.transaction.as_ref().is_some_and(|transaction| transaction.stage == Stage::Open)
    }

    /// A transaction has begun.
    pub(crate) fn began(&mut self, concern: &WriteConcern) {
        let acknowledged = acknowledged(concern);
        self.transaction = Some(Transaction { acknowledged, recordings: Vec::new(), stage: Stage::Open });
    }

    /// Someone is about to write, in the transaction if there is one.
    pub(crate) fn will_write(&mut self, recording: Option<&Recording>) {
        if let (Some(transaction), Some(recording)) = (&mut self.transaction, recording)
            && transaction.stage == Stage::Open
        {
            transaction.recordings.push(recording.clone());
        }
    }

    /// The write concern of transactions that are given none.
    pub(crate) fn default_concern(&self) -> Option<WriteConcern> {
        self.default_concern.clone()
    }
}

/// The session that an operation runs in.
pub(crate) enum Running<'a> {
    Own(Box<ClientSession>),
    OfTheUser(&'a mut MongoSession),
}

impl Running<'_> {
    /// A session for one operation: it tells when the operation happened, and asks for nothing more. A
    /// causal one would make reads wait for what it has seen; this one has seen nothing. The driver
    /// pools what the server knows of it.
    pub(crate) async fn own(client: &Client) -> Result<Self> {
        Ok(Self::Own(Box::new(client.start_session().causal_consistency(false).await?)))
    }

    /// How the commit of the transaction that it is in will be acknowledged.
    pub(crate) fn acknowledged(&self) -> Option<Acknowledged> {
        match self {
            Self::OfTheUser(session) if session.in_transaction() => {
                session.transaction.as_ref().map(|transaction| transaction.acknowledged)
            }
            Self::Own(_) | Self::OfTheUser(_) => None,
        }
    }

    pub(crate) fn inner(&self) -> &ClientSession {
        match self {
            Self::Own(session) => session,
            Self::OfTheUser(session) => &session.inner,
        }
    }

    pub(crate) fn inner_mut(&mut self) -> &mut ClientSession {
        match self {
            Self::Own(session) => session,
            Self::OfTheUser(session) => &mut session.inner,
        }
    }

    pub(crate) fn in_transaction(&self) -> bool {
        match self {
            Self::Own(_) => false,
            Self::OfTheUser(session) => session.in_transaction(),
        }
    }
}

/// A commit under way. Dropped before its end, it leaves unplaced writes.
struct Commit<'a> {
    session: &'a mut MongoSession,
    is_open: bool,
}

impl<'a> Commit<'a> {
    fn begin(session: &'a mut MongoSession) -> Self {
        let is_open = session.transaction.as_ref().is_some_and(|held| !held.recordings.is_empty());
        if let Some(transaction) = &mut session.transaction {
            transaction.stage = Stage::Committing;
        }
        Self { session, is_open }
    }

    fn end(&mut self, outcome: &Result<()>) {
        match outcome {
            Ok(()) => self.place(),
            Err(error) if did_not_commit(error) => {
                self.is_open = false;
                self.session.transaction = None;
            }
            Err(_) => {}
        }
    }

    fn place(&mut self) {
        let MongoSession { inner, transaction, .. } = &mut *self.session;
        let Some(transaction) = transaction else { return };
        transaction.stage = Stage::Committed;
        self.is_open = false;
        for recording in &transaction.recordings {
            recording.written(inner.operation_time(), transaction.acknowledged);
        }
    }
}

impl Drop for Commit<'_> {
    fn drop(&mut self) {
        if let (true, Some(transaction)) = (self.is_open, &self.session.transaction) {
            for recording in &transaction.recordings {
                recording.unknown(transaction.acknowledged);
            }
        }
    }
}

/// Whether the server said that the transaction came to nothing.
fn did_not_commit(error: &DriverError) -> bool {
    if error.contains_label(UNKNOWN_TRANSACTION_COMMIT_RESULT) {
        return false;
    }
    error.contains_label(TRANSIENT_TRANSACTION_ERROR)
        || matches!(error.kind.as_ref(), ErrorKind::Command(_) | ErrorKind::Transaction { .. })
}
