//! How notifications travel: one file for each notifier.

#[cfg(feature = "kafka")]
mod kafka;
mod memory;
#[cfg(feature = "mongodb")]
mod mongodb;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "redis")]
mod redis;

use std::fmt;
use std::sync::Arc;

use antipode::barrier::BoxFuture;
use antipode::lineage::Lineage;

use crate::Failure;
use crate::cli::{Given, Mode, StoreKind};
use crate::posts::{Access, Reference};

/// A queue or topic from the writer's to the reader's region, much faster than replication.
///
/// To measure another notifier, implement this in a file of its own and add it to [`open`].
pub(crate) trait Notifier: Send + Sync {
    /// The server with its version.
    fn version(&self) -> String;

    /// Publishes a notification of the post; with the current lineage, if the channel carries it.
    fn publish<'a>(&'a self, channel: Channel, post: &'a Reference) -> BoxFuture<'a, Result<(), Failure>>;

    /// Subscribes to a channel on which nothing has been published yet.
    fn subscribe(&self, channel: Channel) -> BoxFuture<'_, Result<Box<dyn Subscription>, Failure>>;

    /// Removes what the run wrote, if the servers were there before it and stay.
    fn clean_up(&self) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// Where the notifications of one mode of one run go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Channel {
    /// The cell of a matrix; runs share the servers.
    pub(crate) run: usize,
    pub(crate) mode: Mode,
}

impl Channel {
    /// Whether notifications are published and read through the shim, else with the bare driver.
    pub(crate) fn carries_lineage(self) -> bool {
        self.mode.access() == Access::Shim
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "notifications-{}-{}", self.run, self.mode)
    }
}

/// The notifications of a channel, as they come.
pub(crate) trait Subscription: Send {
    /// Waits for notifications.
    fn next(&mut self) -> BoxFuture<'_, Result<Vec<Notification>, Failure>>;
}

/// A notification as it came over the wire.
#[derive(Debug)]
pub(crate) struct Notification {
    pub(crate) post: Reference,
    /// What came along: what its publisher depended on, and the notification itself.
    pub(crate) lineage: Lineage,
    /// The length of the lineage's text in the message; zero without one.
    pub(crate) lineage_bytes: usize,
}

/// Starts the notifier's servers, or reaches those that are there.
///
/// # Errors
/// [`Failure::NotBuilt`], or that a server is missing, does not start or cannot be reached.
pub(crate) async fn open(kind: StoreKind, given: &Given, seed: u64) -> Result<Arc<dyn Notifier>, Failure> {
    match kind {
        StoreKind::Memory => Ok(Arc::new(memory::MemoryNotifier::new(seed))),
        #[cfg(feature = "redis")]
        StoreKind::Redis => Ok(Arc::new(redis::RedisNotifier::open(given.redis.as_ref()).await?)),
        #[cfg(feature = "postgres")]
        StoreKind::Postgres => Ok(Arc::new(postgres::PostgresNotifier::open(given.postgres.as_ref()).await?)),
        #[cfg(feature = "kafka")]
        StoreKind::Kafka => Ok(Arc::new(kafka::KafkaNotifier::open(given.kafka.as_deref()).await?)),
        #[cfg(feature = "mongodb")]
        StoreKind::Mongodb => Ok(Arc::new(mongodb::MongoNotifier::open(given.mongodb.as_ref()).await?)),
        #[allow(unreachable_patterns, reason = "a build with every store has no other kind")]
        missing => Err(missing.not_built()),
    }
}
