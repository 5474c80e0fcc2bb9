//! Where messages come from.

use std::error::Error;
use std::future::Future;

use antipode_barrier::BarrierError;
use antipode_lineage::LineageScope;

/// A queue, at least once: what is not [done](Message::done) is handed over again.
pub trait Source: Send + Sync {
    /// What it hands over.
    type Message: Message;
    /// Why it cannot.
    type Error: Error + Send + Sync + 'static;

    /// The next message. Dropped before its end, it loses none.
    fn recv(&self) -> impl Future<Output = Result<Self::Message, Self::Error>> + Send;

    /// Says what was handled, and leaves. Has a deadline of its own.
    fn close(self) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// A message to be handled. Dropped without [`done`](Self::done), it is handed over again, here or to
/// another consumer.
pub trait Message: Send {
    /// A scope to handle it in: it depends on what its writer depended on, and on the message.
    fn scope(&self) -> LineageScope;

    /// Whether its writer gave it a lineage, if an empty one. Without, nothing was waited for.
    fn has_lineage(&self) -> bool;

    /// When what it depends on can be read here. At once, for a source that hands over nothing else.
    ///
    /// # Errors
    /// Those of the barrier. The message is not handled then, and handed over again.
    fn visible(&self) -> impl Future<Output = Result<(), BarrierError>> + Send {
        std::future::ready(Ok(()))
    }

    /// It is handled.
    fn done(self) -> impl Future<Output = ()> + Send;
}
