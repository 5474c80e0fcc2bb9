//! Kafka's delivery gate as a source.

use std::ops::Deref;

use antipode_kafka::{Delivery, Error, Gate, LINEAGE_HEADER};
use antipode_lineage::LineageScope;

use super::{Message, Source};

/// A record that a gate handed over. It derefs to the [`Delivery`].
// A type without a lifetime: with one, the compiler does not see that a worker can be sent to a task.
#[derive(Debug)]
pub struct Record(Delivery<'static>);

/// Under [`OnLate::Fail`](crate::kafka::OnLate::Fail) a late record is logged at each of its deadlines, and
/// waited for on: the rest of its key stands behind it, other keys pass.
///
/// Nothing runs in between calls of a gate: while all of a worker's handlers are busy, nothing is
/// committed, and if that is longer than `max.poll.interval.ms`, the group takes the partitions away.
impl Source for Gate {
    type Message = Record;
    type Error = Error;

    async fn recv(&self) -> Result<Record, Error> {
        loop {
            match Gate::recv(self).await {
                Ok(delivery) => return Ok(Record(delivery.into_owned())),
                Err(error) if error.is_late() => tracing::warn!(%error, "a record is late"),
                Err(error) => return Err(error),
            }
        }
    }

    async fn close(self) -> Result<(), Error> {
        Gate::close(self).await
    }
}

impl Message for Record {
    fn scope(&self) -> LineageScope {
        self.0.scope()
    }

    fn has_lineage(&self) -> bool {
        self.headers().iter().any(|(name, _)| *name == LINEAGE_HEADER)
    }

    async fn done(self) {
        self.0.done();
    }
}

impl Deref for Record {
    type Target = Delivery<'static>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}
