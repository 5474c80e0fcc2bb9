//! A record on its way, recorded into a lineage whatever becomes of it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use antipode_barrier::Store;
use antipode_lineage::{LineageScope, Shard};
use rdkafka::error::KafkaError;
use rdkafka::message::{Message, OwnedMessage};
use rdkafka::producer::DeliveryFuture;
use rdkafka::producer::future_producer::{Delivery, OwnedDeliveryResult};
use rdkafka::types::RDKafkaErrorCode;
use tokio::time::Instant;

use crate::error::Error;
use crate::producer::Acks;
use crate::shard::partition_shard;
use crate::store::KafkaStore;

/// Dropped before its end, because a future was, it leaves an unplaced write: the record may be delivered.
#[derive(Debug)]
pub(crate) struct Sending {
    store: KafkaStore,
    acks: Acks,
    /// `None` once all is recorded.
    scope: Option<LineageScope>,
    topic: String,
    sent: Instant,
}

impl Sending {
    pub(crate) fn begin(store: KafkaStore, acks: Acks, topic: &str, scope: Option<LineageScope>) -> Self {
        Self { store, acks, scope, topic: topic.to_owned(), sent: Instant::now() }
    }

    /// The driver did not take the record.
    pub(crate) fn never_left(mut self) {
        self.scope = None;
    }

    pub(crate) fn end(mut self, outcome: OwnedDeliveryResult) -> Result<Delivery, Error> {
        let scope = self.scope.take();
        if let (Some(scope), Acks::Weak) = (&scope, self.acks) {
            scope.mark_weak();
        }
        match outcome {
            Ok(delivery) => {
                if let Some(scope) = &scope {
                    self.record(scope, &delivery);
                }
                Ok(delivery)
            }
            Err((source, record)) => {
                if let Some(scope) = &scope
                    && !never_left(&source)
                {
                    scope.add(self.store.places().unplaced(self.shard(record.partition())));
                }
                Err(self.failed(source, record))
            }
        }
    }

    fn record(&self, scope: &LineageScope, delivery: &Delivery) {
        let places = self.store.places();
        match (self.shard(delivery.partition), u64::try_from(delivery.offset)) {
            (Some(shard), Ok(offset)) => places.add_written(scope, shard, self.sent, offset),
            // With acks=0 nobody says where.
            (shard, _) => scope.add(places.unplaced(shard)),
        }
    }

    fn shard(&self, partition: i32) -> Option<Shard> {
        let topics = &self.store.places().cluster.topics;
        topics.contains(&self.topic).then(|| partition_shard(&self.topic, partition))?
    }

    fn failed(&self, source: KafkaError, record: OwnedMessage) -> Error {
        let (store, topic) = (self.store.name(), self.topic.clone());
        Error::Send { store, topic, source: Box::new(source), record: Box::new(record) }
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        if let Some(scope) = self.scope.take() {
            scope.add(self.store.places().unplaced(None));
        }
    }
}

/// What the driver refuses before it sends anything. All other errors leave open what happened.
fn never_left(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::QueueFull
                | RDKafkaErrorCode::MessageSizeTooLarge
                | RDKafkaErrorCode::UnknownTopic
                | RDKafkaErrorCode::UnknownPartition
        )
    )
}

/// The delivery of a record that is in the driver's queue. Dropped before its end, it leaves an unplaced
/// write.
#[must_use = "it records where the record is delivered"]
pub struct Delivering {
    pub(crate) delivery: DeliveryFuture,
    pub(crate) sending: Option<Sending>,
}

impl Future for Delivering {
    type Output = Result<Delivery, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = ready!(Pin::new(&mut self.delivery).poll(cx));
        let Some(sending) = self.sending.take() else { return Poll::Pending };
        Poll::Ready(match outcome {
            Ok(outcome) => sending.end(outcome),
            Err(_) => Err(Error::Cancelled { store: sending.store.name() }),
        })
    }
}
