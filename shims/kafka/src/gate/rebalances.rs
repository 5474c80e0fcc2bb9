//! What the group says while the consumer is polled.

use std::sync::Arc;

use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::KafkaResult;
use rdkafka::{Offset, TopicPartitionList};

use super::held::Shared;
use crate::RecordPlace;

/// The context of a gate's consumer.
pub(super) struct Rebalances {
    pub(super) shared: Arc<Shared>,
}

impl ClientContext for Rebalances {}

impl ConsumerContext for Rebalances {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(assigned) => {
                for place in assigned.elements() {
                    self.shared.core().assign(place.topic(), place.partition());
                }
            }
            Rebalance::Revoke(revoked) => {
                let mut handled = Vec::new();
                for place in revoked.elements() {
                    handled.extend(self.shared.core().revoke(place.topic(), place.partition()));
                }
                if handled.is_empty() || consumer.assignment_lost() {
                    return;
                }
                // The driver gives the partitions back only after the answer to this.
                let committed = list(&handled).and_then(|list| consumer.commit(&list, CommitMode::Async));
                if let Err(error) = committed {
                    tracing::warn!(%error, "records handled last will be handed over again");
                }
            }
            Rebalance::Error(error) => tracing::warn!(%error, "a rebalance failed"),
        }
    }
}

/// In the driver's form.
pub(super) fn list(places: &[RecordPlace]) -> KafkaResult<TopicPartitionList> {
    let mut list = TopicPartitionList::with_capacity(places.len());
    for RecordPlace { topic, partition, offset } in places {
        list.add_partition_offset(topic, *partition, Offset::Offset(*offset))?;
    }
    Ok(list)
}
