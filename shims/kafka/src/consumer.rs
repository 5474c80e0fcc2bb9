//! A consumer that tells each record's lineage.

use std::ops::Deref;

use antipode_lineage::{Lineage, LineageScope};
use rdkafka::consumer::{ConsumerContext, DefaultConsumerContext, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::message::BorrowedMessage;

use crate::store::KafkaStore;

/// The driver's [`StreamConsumer`], whose records tell their lineage. All else of the driver's is there by
/// dereference: subscribe, commit, pause.
///
/// Records taken from the driver's own `stream()` or partition queues do not count as
/// [delivered](crate::Visible::Delivered); their lineage is
/// [`KafkaStore::record_scope`](crate::KafkaStore::record_scope).
///
/// Dropping it blocks until the driver has left the group, as the driver's own does: call `unsubscribe()`
/// first where that may take long.
pub struct KafkaConsumer<C: ConsumerContext + 'static = DefaultConsumerContext> {
    store: KafkaStore,
    inner: StreamConsumer<C>,
}

impl<C: ConsumerContext + 'static> KafkaConsumer<C> {
    pub(crate) fn new(store: KafkaStore, inner: StreamConsumer<C>) -> Self {
        Self { store, inner }
    }

    /// The next record. May be dropped at any time without losing one.
    ///
    /// # Errors
    /// The driver's.
    pub async fn recv(&self) -> Result<KafkaRecord<'_>, KafkaError> {
        let message = self.inner.recv().await?;
        self.store.delivered(&message);
        Ok(KafkaRecord { store: self.store.clone(), message })
    }

    /// The store that it reads from.
    #[must_use]
    pub fn store(&self) -> &KafkaStore {
        &self.store
    }

    /// The driver's consumer.
    pub fn inner(&self) -> &StreamConsumer<C> {
        &self.inner
    }
}

impl<C: ConsumerContext + 'static> Deref for KafkaConsumer<C> {
    type Target = StreamConsumer<C>;

    fn deref(&self) -> &StreamConsumer<C> {
        &self.inner
    }
}

/// A record as the driver hands it out, with its lineage.
#[derive(Debug)]
pub struct KafkaRecord<'a> {
    store: KafkaStore,
    message: BorrowedMessage<'a>,
}

impl<'a> KafkaRecord<'a> {
    /// A scope to handle the record in: it depends on what the record's writer depended on, and on the
    /// record itself. Run the handler in it: what the handler writes then depends on the record.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn scope(&self) -> LineageScope {
        self.store.record_scope(&self.message)
    }

    /// What the record's writer depended on: everything if its header cannot be read, nothing if there is
    /// none.
    #[must_use]
    pub fn writer_lineage(&self) -> Lineage {
        self.store.writer_lineage(&self.message)
    }

    /// The same with the record itself, as far as its place is known without asking a broker: else the
    /// record stands as [unplaced](antipode_lineage::WriteId::unplaced_in). Prefer
    /// [`scope`](Self::scope), which finds out.
    #[must_use]
    pub fn lineage(&self) -> Lineage {
        self.store.record_lineage(&self.message)
    }

    /// The driver's message.
    #[must_use]
    pub fn into_inner(self) -> BorrowedMessage<'a> {
        self.message
    }
}

impl<'a> Deref for KafkaRecord<'a> {
    type Target = BorrowedMessage<'a>;

    fn deref(&self) -> &BorrowedMessage<'a> {
        &self.message
    }
}
