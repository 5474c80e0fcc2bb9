//! A record on its way, recorded into a lineage whatever becomes of it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use antipode_barrier::Store;
use antipode_lineage::{LineageScope, Shard, WriteId};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::producer::DeliveryFuture;
use rdkafka::producer::future_producer::{Delivery, OwnedDeliveryResult};
use rdkafka::types::RDKafkaErrorCode;
use tokio::time::Instant;

use crate::error::Error;
use crate::producer::Acks;
use crate::shard::partition_shard;
use crate::store::KafkaStore;

/// A record on its way.
#[derive(Debug)]
pub(crate) struct Flight {
    store: KafkaStore,
    topic: String,
    sent: Instant,
}

/// What is known of a record at the end of its way.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Landing {
    /// It was never written.
    Nowhere,
    /// It may have been written.
    Unplaced(WriteId),
    /// It was acknowledged at this offset.
    At { shard: Shard, sent: Instant, offset: u64 },
}

impl Flight {
    pub(crate) fn begin(store: KafkaStore, topic: &str) -> Self {
        Self { store, topic: topic.to_owned(), sent: Instant::now() }
    }

    pub(crate) fn landed(&self, partition: i32, offset: i64) -> Landing {
        match (self.shard(partition), u64::try_from(offset)) {
            (Some(shard), Ok(offset)) => Landing::At { shard, sent: self.sent, offset },
            // With acks=0 nobody says where.
            (shard, _) => Landing::Unplaced(self.store.places().unplaced(shard)),
        }
    }

    pub(crate) fn failed(&self, error: &KafkaError, partition: i32) -> Landing {
        if never_left(error) {
            return Landing::Nowhere;
        }
        Landing::Unplaced(self.store.places().unplaced(self.shard(partition)))
    }

    fn shard(&self, partition: i32) -> Option<Shard> {
        let topics = &self.store.places().cluster.topics;
        topics.contains(&self.topic).then(|| partition_shard(&self.topic, partition))?
    }
}

/// Dropped before its end, because a future was, it leaves an unplaced write: the record may be delivered.
#[derive(Debug)]
pub(crate) struct Sending {
    flight: Flight,
    acks: Acks,
    /// `None` once all is recorded.
    scope: Option<LineageScope>,
}

impl Sending {
    pub(crate) fn begin(store: KafkaStore, acks: Acks, topic: &str, scope: Option<LineageScope>) -> Self {
        Self { flight: Flight::begin(store, topic), acks, scope }
    }

    /// The driver did not take the record.
    pub(crate) fn never_left(mut self) {
        self.scope = None;
    }

    pub(crate) fn end(mut self, outcome: OwnedDeliveryResult) -> Result<Delivery, Error> {
        if let Some(scope) = self.scope.take() {
            if self.acks == Acks::Weak {
                scope.mark_weak();
            }
            let landing = match &outcome {
                Ok(delivery) => self.flight.landed(delivery.partition, delivery.offset),
                Err((error, record)) => self.flight.failed(error, record.partition()),
            };
            match landing {
                Landing::Nowhere => {}
                Landing::Unplaced(write) => scope.add(write),
                Landing::At { shard, sent, offset } => {
                    self.flight.store.places().add_written(&scope, shard, sent, offset);
                }
            }
        }
        outcome.map_err(|(source, record)| {
            let (store, topic) = (self.flight.store.name(), self.flight.topic.clone());
            Error::Send { store, topic, source: Box::new(source), record: Box::new(record) }
        })
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        if let Some(scope) = self.scope.take() {
            scope.add(self.flight.store.places().unplaced(None));
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
            Err(_) => Err(Error::Cancelled { store: sending.flight.store.name() }),
        })
    }
}
