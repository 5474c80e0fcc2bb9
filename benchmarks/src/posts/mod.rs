//! Where posts are stored: one file for each store.

mod memory;
#[cfg(feature = "mongodb")]
mod mongodb;
mod post;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "redis")]
mod redis;

use std::sync::Arc;
use std::time::Duration;

use antipode::barrier::{BoxFuture, Store};
use antipode::lineage::{ReplicaName, StoreName};

use crate::Failure;
use crate::cli::{Given, StoreKind};

pub(crate) use post::{Post, Reference, State};

/// The name of the store of posts, in every service.
pub(crate) const POSTS: &str = "posts";
/// The reader's replica.
pub(crate) const EU: &str = "eu";

/// How a store is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// With the bare driver: no lineage.
    Raw,
    /// Through the shim, in the current lineage.
    Shim,
    /// With the bare driver and the store's own strongest means: see [`Mode`](crate::cli::Mode).
    Own,
}

/// A replicated store for posts, as the two sides of a run see it: the writer in the region of the
/// primary, the reader in the region of a lagging replica.
///
/// To measure another store, implement this in a file of its own and add it to [`open`].
pub(crate) trait Posts: Send + Sync {
    /// The store as the reader registers it.
    fn reader(&self) -> Arc<dyn Store>;

    /// The server with its version.
    fn version(&self) -> String;

    /// How long the log takes to the reader's replica, from now on.
    fn set_lag(&self, lag: Duration) -> Result<(), Failure>;

    /// The lag, if the replica applies a write exactly so long after its acknowledgement.
    fn exact_lag(&self) -> Option<Duration> {
        None
    }

    /// Stores the post, new or in place of an earlier version, or deletes it. It is acknowledged when this
    /// returns; what it returns is to go into the notification, for [`Reference::session`].
    fn write<'a>(&'a self, access: Access, post: &'a Post) -> BoxFuture<'a, Result<Option<String>, Failure>>;

    /// Reads the post's body, once. Through the shim, it asks whichever replica the current lineage is
    /// routed to, else the reader's replica.
    fn read<'a>(
        &'a self,
        access: Access,
        post: &'a Reference,
    ) -> BoxFuture<'a, Result<Option<Vec<u8>>, Failure>>;

    /// Removes what the run wrote, if the servers were there before it and stay.
    fn clean_up(&self) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// What a reader's replica is called and which store that is a replica of.
    fn place(&self) -> Result<(StoreName, ReplicaName), Failure> {
        let store = self.reader();
        let replica = store.replicas().first().map(|replica| replica.name());
        let replica =
            replica.ok_or(Failure::Garbled { what: "a store without replica", found: POSTS.into() })?;
        Ok((store.name(), replica))
    }
}

/// Starts the store's servers, with no lag yet, or reaches those that are there.
///
/// # Errors
/// [`Failure::NotBuilt`], or that a server is missing, does not start or cannot be reached.
pub(crate) async fn open(kind: StoreKind, given: &Given, seed: u64) -> Result<Arc<dyn Posts>, Failure> {
    match kind {
        StoreKind::Memory => Ok(Arc::new(memory::MemoryPosts::open(seed)?)),
        #[cfg(feature = "redis")]
        StoreKind::Redis => Ok(Arc::new(redis::RedisPosts::open(given.redis.as_ref()).await?)),
        #[cfg(feature = "postgres")]
        StoreKind::Postgres => Ok(Arc::new(postgres::PostgresPosts::open(given.postgres.as_ref()).await?)),
        #[cfg(feature = "mongodb")]
        StoreKind::Mongodb => Ok(Arc::new(mongodb::MongoPosts::open(given.mongodb.as_ref()).await?)),
        #[allow(unreachable_patterns, reason = "a build with every store has no other kind")]
        missing => Err(missing.not_built()),
    }
}
