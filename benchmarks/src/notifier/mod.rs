//! How notifications travel: one file for each notifier.

mod memory;
#[cfg(feature = "redis")]
mod redis;

use antipode::barrier::BoxFuture;
use antipode::lineage::Lineage;

use crate::Failure;
use crate::cli::{Mode, NotifierKind};
use crate::posts::Reference;

/// A queue or topic from the writer's to the reader's region, much faster than replication.
///
/// To measure another notifier, implement this in a file of its own and add it to [`open`].
pub(crate) trait Notifier: Send + Sync {
    /// The server with its version.
    fn version(&self) -> String;

    /// Publishes a notification of the post to the readers of this mode; with the current lineage,
    /// unless the mode is [`Mode::Off`].
    fn publish<'a>(&'a self, mode: Mode, post: &'a Reference) -> BoxFuture<'a, Result<(), Failure>>;

    /// Subscribes to the notifications of a mode.
    fn subscribe(&self, mode: Mode) -> BoxFuture<'_, Result<Box<dyn Subscription>, Failure>>;
}

/// The notifications of one mode, as they come.
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

/// Starts the notifier's servers.
///
/// # Errors
/// [`Failure::NotBuilt`], or that a server is missing or does not start.
pub(crate) async fn open(kind: NotifierKind, seed: u64) -> Result<Box<dyn Notifier>, Failure> {
    match kind {
        NotifierKind::Memory => Ok(Box::new(memory::MemoryNotifier::open(seed)?)),
        #[cfg(feature = "redis")]
        NotifierKind::Redis => Ok(Box::new(redis::RedisNotifier::open().await?)),
        #[cfg(not(feature = "redis"))]
        NotifierKind::Redis => Err(crate::cli::StoreKind::Redis.not_built()),
    }
}
