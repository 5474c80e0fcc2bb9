//! How far a consumer group has committed.

use std::collections::HashMap;

use antipode_barrier::Shards;
use antipode_lineage::{Position, Shard};
use futures_util::future::select_ok;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
use kafka_protocol::messages::{
    ApiKey, FindCoordinatorRequest, FindCoordinatorResponse, GroupId, OffsetFetchRequest,
    OffsetFetchResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;

use crate::cluster::Cluster;
use crate::connection::{Api, Flight};
use crate::error::Error;
use crate::shard::{partition_shard, parts, topic_hash};

const COORDINATOR: Api = Api { key: ApiKey::FindCoordinator, version: 3 };
const COMMITTED: Api = Api { key: ApiKey::OffsetFetch, version: 7 };

/// A position with the leader epoch that it was committed for, if the group said.
pub(crate) type Committed = (Position, Option<u64>);

impl Cluster {
    /// What the group has committed, of the shards where it has.
    pub(crate) async fn committed(
        &self,
        group: &str,
        shards: Shards<'_>,
    ) -> Result<HashMap<Shard, Committed>, Error> {
        let coordinator = self.coordinator(group).await?;
        let request = OffsetFetchRequest::default()
            .with_group_id(GroupId(StrBytes::from_string(group.to_owned())))
            .with_topics(self.wanted(shards))
            .with_require_stable(true);
        let flight = Flight::default().with(&COMMITTED, &request);
        let answer = self.ask(&coordinator, flight).await?.next(&COMMITTED);
        let answer: OffsetFetchResponse = self.of(&coordinator, answer)?;
        self.no_error(group, answer.error_code)?;
        let mut committed = HashMap::new();
        for topic in &answer.topics {
            for partition in &topic.partitions {
                self.no_error(group, partition.error_code)?;
                let shard = partition_shard(topic.name.as_str(), partition.partition_index);
                if let (Some(shard), Ok(offset)) = (shard, u64::try_from(partition.committed_offset)) {
                    let term = u64::try_from(partition.committed_leader_epoch).ok();
                    committed.insert(shard, (Position(offset), term));
                }
            }
        }
        Ok(committed)
    }

    async fn coordinator(&self, group: &str) -> Result<String, Error> {
        let asks = self.bootstrap().iter().map(|address| Box::pin(self.coordinator_by(address, group)));
        select_ok(asks).await.map(|(address, _)| address)
    }

    async fn coordinator_by(&self, address: &str, group: &str) -> Result<String, Error> {
        let request = FindCoordinatorRequest::default().with_key(StrBytes::from_string(group.to_owned()));
        let flight = Flight::default().with(&COORDINATOR, &request);
        let answer = self.ask(address, flight).await?.next(&COORDINATOR);
        let answer: FindCoordinatorResponse = self.of(address, answer)?;
        self.no_error(group, answer.error_code)?;
        Ok(format!("{}:{}", answer.host.as_str(), answer.port))
    }

    /// `None` asks for all.
    fn wanted(&self, shards: Shards<'_>) -> Option<Vec<OffsetFetchRequestTopic>> {
        let Shards::Of(shards) = shards else { return None };
        let topics = self.topics.iter().filter_map(|topic| {
            let of_topic = shards.iter().map(|shard| parts(*shard));
            let of_topic = of_topic.filter(|(hash, _)| *hash == topic_hash(topic));
            let partitions: Vec<i32> = of_topic.map(|(_, partition)| partition).collect();
            let name = TopicName(StrBytes::from_string(topic.clone()));
            let wanted =
                OffsetFetchRequestTopic::default().with_name(name).with_partition_indexes(partitions);
            (!wanted.partition_indexes.is_empty()).then_some(wanted)
        });
        Some(topics.collect())
    }

    fn no_error(&self, group: &str, code: i16) -> Result<(), Error> {
        match ResponseError::try_from_code(code) {
            None => Ok(()),
            Some(error) if error.is_retriable() => Err(self.unsettled(format!("group {group}: {error:?}"))),
            Some(error) => Err(self.refused(format!("group {group}: {error:?}"))),
        }
    }
}
