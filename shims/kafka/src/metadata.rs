//! Who leads which partition of which topic.

use std::collections::BTreeMap;

use antipode_lineage::{Epoch, StoreName};
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::MetadataResponse;

use crate::error::Error;

/// What one broker knew of the store's topics at one time.
#[derive(Debug)]
pub(crate) struct Metadata {
    addresses: BTreeMap<i32, String>,
    topics: BTreeMap<String, Topic>,
}

#[derive(Debug)]
struct Topic {
    /// The upper half of the topic's id.
    id: u64,
    /// `None` while a partition has no leader.
    partitions: BTreeMap<i32, Option<Leader>>,
}

/// The leader of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Leader {
    pub(crate) node: i32,
    pub(crate) epoch: Epoch,
}

impl Metadata {
    /// # Errors
    /// [`Error::Unsettled`] and [`Error::Refused`] unless all the topics exist.
    pub(crate) fn parse(
        store: StoreName,
        topics: &[String],
        answer: &MetadataResponse,
    ) -> Result<Self, Error> {
        let addresses = answer.brokers.iter();
        let addresses =
            addresses.map(|broker| (broker.node_id.0, format!("{}:{}", broker.host.as_str(), broker.port)));
        let mut found = BTreeMap::new();
        for name in topics {
            let refused = |reason: &str| Error::Refused { store, reason: format!("topic {name} {reason}") };
            let named = |topic: &str| topic == name;
            let topic =
                answer.topics.iter().find(|topic| topic.name.as_ref().is_some_and(|name| named(name)));
            let topic = topic.ok_or_else(|| refused("is not spoken of"))?;
            if let Some(error) = ResponseError::try_from_code(topic.error_code) {
                let reason = format!("is not to be had ({error:?}): create it, and allow DESCRIBE");
                return Err(match error {
                    // So says a broker that has not heard of a new topic yet.
                    ResponseError::UnknownTopicOrPartition => {
                        Error::Unsettled { store, reason: format!("topic {name} {reason}") }
                    }
                    _ => refused(&reason),
                });
            }
            let (id, _) = topic.topic_id.as_u64_pair();
            if id == 0 {
                return Err(refused("has no id: Kafka 2.8 or later is needed"));
            }
            let leader = |node, term| {
                let epoch = Epoch { history: id, term: u64::try_from(term).ok()? };
                (node >= 0).then_some(Leader { node, epoch })
            };
            let partitions = topic.partitions.iter().map(|partition| {
                (partition.partition_index, leader(partition.leader_id.0, partition.leader_epoch))
            });
            found.insert(name.clone(), Topic { id, partitions: partitions.collect() });
        }
        Ok(Self { addresses: addresses.collect(), topics: found })
    }

    pub(crate) fn address(&self, node: i32) -> Option<&str> {
        self.addresses.get(&node).map(String::as_str)
    }

    pub(crate) fn topic_id(&self, topic: &str) -> Option<u64> {
        self.topics.get(topic).map(|topic| topic.id)
    }

    /// `None` for a partition that the topic does not have.
    pub(crate) fn partition(&self, topic: &str, partition: i32) -> Option<Option<Leader>> {
        self.topics.get(topic)?.partitions.get(&partition).copied()
    }

    pub(crate) fn partitions(&self, topic: &str) -> impl Iterator<Item = (i32, Option<Leader>)> {
        let topic = self.topics.get(topic).into_iter();
        topic.flat_map(|topic| topic.partitions.iter().map(|(partition, leader)| (*partition, *leader)))
    }
}
