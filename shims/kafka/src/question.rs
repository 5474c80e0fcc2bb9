//! The requests that a store makes, and how their answers are read.

use antipode_lineage::{Epoch, Shard};
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::{
    ApiKey, BrokerId, ListOffsetsRequest, ListOffsetsResponse, MetadataRequest, OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;

use crate::connection::Api;
use crate::logs::EPOCHS_BACK;
use crate::metadata::Leader;

/// With topic ids: Kafka 2.8.
pub(crate) const METADATA: Api = Api { key: ApiKey::Metadata, version: 10 };
/// With the fence against deposed leaders, and no answer until a new leader knows its end (KIP-207).
pub(crate) const END: Api = Api { key: ApiKey::ListOffsets, version: 6 };
pub(crate) const EPOCHS: Api = Api { key: ApiKey::OffsetForLeaderEpoch, version: 4 };

/// "The latest" in place of a timestamp.
const LATEST: i64 = -1;
const CONSUMER: BrokerId = BrokerId(-1);
/// Who is told the end of the log as the leader has it, and not only what is replicated.
const OBSERVER: BrokerId = BrokerId(-2);

/// Which end of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// What the leader itself has.
    Leader,
    /// What all in-sync replicas have.
    HighWatermark,
    /// The same, up to the first transaction that is open.
    LastStable,
}

/// A partition that is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) shard: Shard,
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) leader: Leader,
}

pub(crate) fn metadata(topics: &[String]) -> MetadataRequest {
    let topics = topics.iter().map(|topic| MetadataRequestTopic::default().with_name(Some(name(topic))));
    MetadataRequest::default().with_topics(Some(topics.collect())).with_allow_auto_topic_creation(false)
}

pub(crate) fn end(topics: &[String], asked: &[Asked], end: End) -> ListOffsetsRequest {
    let topics = topics.iter().filter_map(|topic| {
        let of_topic = asked.iter().filter(|asked| asked.topic == *topic);
        let partitions = of_topic.map(|asked| {
            ListOffsetsPartition::default()
                .with_partition_index(asked.partition)
                .with_current_leader_epoch(term(asked.leader.epoch))
                .with_timestamp(LATEST)
        });
        let partitions: Vec<_> = partitions.collect();
        let topic = ListOffsetsTopic::default().with_name(name(topic)).with_partitions(partitions);
        (!topic.partitions.is_empty()).then_some(topic)
    });
    ListOffsetsRequest::default()
        .with_replica_id(match end {
            End::Leader => OBSERVER,
            End::HighWatermark | End::LastStable => CONSUMER,
        })
        .with_isolation_level(match end {
            End::Leader | End::HighWatermark => 0,
            End::LastStable => 1,
        })
        .with_topics(topics.collect())
}

pub(crate) fn end_of(answer: &ListOffsetsResponse, topic: &str, partition: i32) -> Result<u64, String> {
    let topics = answer.topics.iter().filter(|answered| answered.name.as_str() == topic);
    let mut partitions = topics.flat_map(|topic| &topic.partitions);
    let partition = partitions.find(|answered| answered.partition_index == partition);
    let partition = partition.ok_or("its leader says nothing of it")?;
    no_error(partition.error_code)?;
    u64::try_from(partition.offset).map_err(|_| "its leader does not know its end".to_owned())
}

/// The epochs before this one that are asked for, in this order.
pub(crate) fn earlier(epoch: Epoch) -> impl Iterator<Item = u64> {
    (epoch.term.saturating_sub(EPOCHS_BACK)..epoch.term).rev()
}

pub(crate) fn epochs(topics: &[String], asked: &[&Asked]) -> OffsetForLeaderEpochRequest {
    let topics = topics.iter().filter_map(|topic| {
        let of_topic = asked.iter().filter(|asked| asked.topic == *topic);
        let partitions = of_topic.flat_map(|asked| {
            earlier(asked.leader.epoch).map(|earlier| {
                OffsetForLeaderPartition::default()
                    .with_partition(asked.partition)
                    .with_current_leader_epoch(term(asked.leader.epoch))
                    .with_leader_epoch(i32::try_from(earlier).unwrap_or(i32::MAX))
            })
        });
        let partitions: Vec<_> = partitions.collect();
        let topic = OffsetForLeaderTopic::default().with_topic(name(topic)).with_partitions(partitions);
        (!topic.partitions.is_empty()).then_some(topic)
    });
    OffsetForLeaderEpochRequest::default().with_replica_id(CONSUMER).with_topics(topics.collect())
}

/// The ends of the epochs asked for, in order; negative where the leader does not know the epoch.
pub(crate) fn epoch_ends(
    answer: &OffsetForLeaderEpochResponse,
    topic: &str,
    partition: i32,
) -> Result<Vec<i64>, String> {
    let topics = answer.topics.iter().filter(|answered| answered.topic.as_str() == topic);
    let partitions = topics.flat_map(|topic| &topic.partitions);
    let of_partition = partitions.filter(|answered| answered.partition == partition);
    of_partition.map(|answered| no_error(answered.error_code).map(|()| answered.end_offset)).collect()
}

fn no_error(code: i16) -> Result<(), String> {
    ResponseError::try_from_code(code).map_or(Ok(()), |error| Err(format!("its leader said {error:?}")))
}

fn name(topic: &str) -> TopicName {
    TopicName(StrBytes::from_string(topic.to_owned()))
}

fn term(epoch: Epoch) -> i32 {
    i32::try_from(epoch.term).unwrap_or(i32::MAX)
}
