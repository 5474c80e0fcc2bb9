//! What a store must offer for barriers to wait on it.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use antipode_lineage::{Epoch, Position, ReplicaName, Shard, StoreName};

use crate::{Frontiers, Ledger, Observer};

/// A boxed future, so that stores of different kinds live in one registry.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A datastore as barriers see it: a name, a primary, and the replicas that this process reads from.
///
/// Shims implement it; a store of your own needs this trait, [`Replica`], and a wrapper that adds a
/// [`WriteId`](antipode_lineage::WriteId) per write and joins lineage on reads.
pub trait Store: Send + Sync + 'static {
    /// The name that every service uses for this store.
    fn name(&self) -> StoreName;

    /// Where writes go. It decides whether a position exists at all and which history holds; without
    /// it a position that the replicas do not know is [`Indeterminate`](crate::Verdict::Indeterminate).
    fn primary(&self) -> Option<Arc<dyn Replica>>;

    /// The replicas that this process reads from, the preferred one first. A barrier waits for
    /// whichever is fresh first. A process that reads from the primary lists the primary.
    fn replicas(&self) -> Vec<Arc<dyn Replica>>;

    /// Checks, when the store is registered, that its configuration can keep the promise. A replica that
    /// is down may come back, and should not keep a service from starting; the primary must answer.
    fn check(&self) -> BoxFuture<'_, Result<(), CheckError>> {
        Box::pin(async { Ok(()) })
    }

    /// The branch ledger that the store can hold, at its primary. None by default.
    fn ledger(&self) -> Option<Arc<dyn Ledger>> {
        None
    }

    /// Called when the store is registered, with the registry's observer: a shim hands it to its
    /// [`Recorder`](crate::Recorder::observed_by), so that captures are told of, too.
    fn observed_by(&self, observer: Arc<dyn Observer>) {
        let _ = observer;
    }
}

/// One server (or one region's servers) that can be read from.
///
/// Every probe and every read that relies on it must reach the same server: put no load balancer
/// between.
pub trait Replica: Send + Sync + 'static {
    /// What this process calls the replica.
    fn name(&self) -> ReplicaName;

    /// Asks how far the replica has applied the shards' logs. A shard missing from the answer is
    /// not known there.
    ///
    /// The engine has at most one probe per replica under way, and drops it when it takes too long:
    /// the next probe must then start on a sound connection.
    fn probe<'a>(&'a self, shards: Shards<'a>) -> BoxFuture<'a, Result<Frontiers, ProbeError>>;

    /// Where the server can hold a request until a position is applied (a long poll), this does so
    /// and answers with the frontiers then. It may also answer earlier.
    ///
    /// `None`, the default: the engine probes, paced by the observed lag.
    fn wait<'a>(&'a self, until: Target) -> Option<BoxFuture<'a, Result<Frontiers, ProbeError>>> {
        let _ = until;
        None
    }
}

/// The shards that a probe asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shards<'a> {
    /// Every shard of the store.
    All,
    /// These, sorted.
    Of(&'a [Shard]),
}

/// The place in a shard's log that someone waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// The shard.
    pub shard: Shard,
    /// The history that the position belongs to.
    pub epoch: Epoch,
    /// The position.
    pub position: Position,
}

/// A probe that got no answer. Keeps the driver's error.
#[derive(Debug, Clone)]
pub struct ProbeError(Arc<dyn Error + Send + Sync>);

impl ProbeError {
    /// A probe that failed with this error.
    pub fn new(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(Arc::from(source.into()))
    }
}

impl fmt::Display for ProbeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for ProbeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

/// A store that cannot keep the promise as it is configured, or could not be asked.
#[derive(Debug, thiserror::Error)]
#[error("store {store} was refused: {reason}")]
#[non_exhaustive]
pub struct CheckError {
    /// The store.
    pub store: StoreName,
    /// What is wrong, and what to do about it.
    pub reason: String,
    /// The driver's error, if one is behind it.
    #[source]
    pub source: Option<Box<dyn Error + Send + Sync>>,
}

impl CheckError {
    /// A store refused for this reason.
    pub fn new(store: StoreName, reason: impl Into<String>) -> Self {
        Self { store, reason: reason.into(), source: None }
    }

    /// The same with the error behind it.
    #[must_use]
    pub fn with_source(self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { source: Some(source.into()), ..self }
    }
}
