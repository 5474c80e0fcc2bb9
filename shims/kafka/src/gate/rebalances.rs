//! What the group says while the consumer is polled.

use std::sync::Arc;

use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, KafkaResult};
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

    fn commit_callback(&self, result: KafkaResult<()>, offsets: &TopicPartitionList) {
        let nothing_new = matches!(
            result,
            Ok(()) | Err(KafkaError::ConsumerCommit(rdkafka::types::RDKafkaErrorCode::NoOffset))
        );
        if nothing_new {
            return;
        }
        tracing::debug!(?result, "a commit failed, it will be repeated");
        for place in offsets.elements() {
            self.shared.core().not_committed(place.topic(), place.partition());
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

#[cfg(test)]
mod tests {
    use rdkafka::ClientConfig;
    use rdkafka::types::RDKafkaErrorCode;

    use super::super::core::Limits;
    use super::super::lanes::LaneId;
    use super::*;
    use crate::KafkaStore;

    fn rebalances() -> Rebalances {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", "127.0.0.1:1");
        let store = KafkaStore::builder("notices").topic("notices").config(&config).build().unwrap();
        let shared = Arc::new(Shared::new(store, Limits { parked: 10, window: 10 }));
        shared.core().assign("notices", 0);
        Rebalances { shared }
    }

    #[tokio::test]
    async fn what_a_failed_commit_said_is_to_be_said_again_and_nothing_else() {
        let rebalances = rebalances();
        let (ticket, _) = rebalances.shared.core().arrive("notices", 0, 4, LaneId(1)).unwrap();
        rebalances.shared.core().done(ticket);
        let said = rebalances.shared.core().uncommitted();
        assert_eq!(said[0].offset, 5);
        let offsets = list(&said).unwrap();
        for heard in [Ok(()), Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::NoOffset))] {
            rebalances.commit_callback(heard, &offsets);
            assert!(rebalances.shared.core().uncommitted().is_empty(), "it was heard");
        }
        let failed = Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::RequestTimedOut));
        rebalances.commit_callback(failed, &offsets);
        assert_eq!(rebalances.shared.core().uncommitted(), said);
    }
}
