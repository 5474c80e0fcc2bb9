//! The brokers, asked by the store itself: who leads a partition, how far its log goes, and where the
//! leaders before ended.
//!
//! The driver's safe interface shows neither topic ids nor leader epochs, and its watermarks block, one
//! partition at a time. These few requests give all of it, for all partitions of a broker in one round
//! trip.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use antipode_barrier::{Ancestor, Frontier, Frontiers, Shards};
use antipode_lineage::{Epoch, Position, Shard, StoreName};
use futures_util::future::{join_all, select_ok};
use kafka_protocol::messages::{ListOffsetsResponse, MetadataResponse, OffsetForLeaderEpochResponse};
use tokio::time::Instant;

use crate::connection::{Answers, Connection, Dial, Flight};
use crate::error::Error;
use crate::logs::Logs;
use crate::metadata::{Leader, Metadata};
use crate::question::{self, Asked, END, EPOCHS, METADATA};
use crate::shard::{partition_shard, parts, topic_hash};

pub(crate) use crate::question::End;

pub(crate) struct Cluster {
    pub(crate) store: StoreName,
    pub(crate) topics: Vec<String>,
    pub(crate) logs: Logs,
    bootstrap: Vec<String>,
    dialer: Arc<dyn Dial>,
    /// Believed as long as all goes well.
    metadata: Mutex<Option<Arc<Metadata>>>,
    /// A connection per broker while nobody uses it. Who asks takes it along, and brings it back only
    /// after whole answers: one that fails or is dropped half-way takes it to its grave.
    idle: Mutex<HashMap<String, Connection>>,
}

impl Cluster {
    pub(crate) fn new(
        store: StoreName,
        topics: Vec<String>,
        bootstrap: Vec<String>,
        dialer: Arc<dyn Dial>,
    ) -> Self {
        let (metadata, idle) = (Mutex::default(), Mutex::default());
        Self { store, topics, logs: Logs::default(), bootstrap, dialer, metadata, idle }
    }

    /// How far the logs go. Every shard asked for is in the answer if its topic has such a partition.
    pub(crate) async fn frontiers(&self, shards: Shards<'_>, end: End) -> Result<Frontiers, Error> {
        let believed = lock(&self.metadata).clone();
        if let Some(metadata) = believed {
            let doubt = Doubt(self);
            if let Ok(frontiers) = self.ask_leaders(&metadata, shards, end).await {
                mem::forget(doubt);
                return Ok(frontiers);
            }
        }
        let metadata = Arc::new(self.ask_metadata().await?);
        let frontiers = self.ask_leaders(&metadata, shards, end).await?;
        *lock(&self.metadata) = Some(metadata);
        Ok(frontiers)
    }

    /// Who leads which partition, by the first broker that answers.
    pub(crate) async fn ask_metadata(&self) -> Result<Metadata, Error> {
        let asks = self.bootstrap.iter().map(|address| Box::pin(self.ask_metadata_of(address)));
        select_ok(asks).await.map(|(metadata, _)| metadata)
    }

    async fn ask_metadata_of(&self, address: &str) -> Result<Metadata, Error> {
        let flight = Flight::default().with(&METADATA, &question::metadata(&self.topics));
        let answer = self.ask(address, flight).await?.next(&METADATA);
        Metadata::parse(self.store, &self.topics, &self.of(address, answer)?)
    }

    async fn ask_leaders(
        &self,
        metadata: &Metadata,
        shards: Shards<'_>,
        end: End,
    ) -> Result<Frontiers, Error> {
        let mut by_leader: BTreeMap<i32, Vec<Asked>> = BTreeMap::new();
        for asked in self.partitions(metadata, shards)? {
            by_leader.entry(asked.leader.node).or_default().push(asked);
        }
        let asks = by_leader.into_iter().map(|(node, asked)| async move {
            let address = metadata.address(node).ok_or_else(|| self.unsettled("a leader has no address"))?;
            self.ask_leader(metadata, address, asked, end).await
        });
        let mut frontiers = Vec::new();
        for answer in join_all(asks).await {
            frontiers.extend(answer?);
        }
        Ok(frontiers.into_iter().collect())
    }

    /// What one leader says of its partitions. It says the topics' ids after the ends: an id never comes
    /// back, so one that it knows both before and after was the log's in between.
    async fn ask_leader(
        &self,
        metadata: &Metadata,
        address: &str,
        asked: Vec<Asked>,
        end: End,
    ) -> Result<Vec<(Shard, Frontier)>, Error> {
        let begun = Instant::now();
        let is_new = |asked: &&Asked| !self.logs.knows(asked.shard, asked.leader.epoch);
        let new: Vec<&Asked> = asked.iter().filter(is_new).collect();
        let flight = Flight::default()
            .with(&END, &question::end(&self.topics, &asked, end))
            .and_then(|flight| match new.as_slice() {
                [] => Ok(flight),
                new => flight.with(&EPOCHS, &question::epochs(&self.topics, new)),
            })
            .and_then(|flight| flight.with(&METADATA, &question::metadata(&self.topics)));
        let mut answers = self.ask(address, flight).await?;
        let ends: ListOffsetsResponse = self.of(address, answers.next(&END))?;
        let epochs: Option<OffsetForLeaderEpochResponse> = match new.as_slice() {
            [] => None,
            _ => Some(self.of(address, answers.next(&EPOCHS))?),
        };
        let after: MetadataResponse = self.of(address, answers.next(&METADATA))?;
        let after = Metadata::parse(self.store, &self.topics, &after)?;
        if self.topics.iter().any(|topic| after.topic_id(topic) != metadata.topic_id(topic)) {
            return Err(self.unsettled("a topic was deleted and made again meanwhile"));
        }
        let mut histories = match &epochs {
            Some(epochs) => self.histories(&new, epochs)?,
            None => HashMap::new(),
        };
        let mut frontiers = Vec::with_capacity(asked.len());
        for Asked { shard, topic, partition, leader } in asked {
            let end = question::end_of(&ends, &topic, partition)
                .map_err(|reason| self.unsettled(format!("{topic}/{partition}: {reason}")))?;
            let observed = self.logs.observe(shard, leader.epoch, begun, end, histories.remove(&shard));
            let frontier = observed
                .map_err(|_| self.unsettled(format!("{topic}/{partition}: a deposed leader spoke")))?;
            frontiers.push((shard, frontier));
        }
        Ok(frontiers)
    }

    /// Where the epochs before the present one ended.
    fn histories(
        &self,
        asked: &[&Asked],
        answer: &OffsetForLeaderEpochResponse,
    ) -> Result<HashMap<Shard, Vec<Ancestor>>, Error> {
        let mut histories = HashMap::new();
        for Asked { shard, topic, partition, leader } in asked {
            let ends = question::epoch_ends(answer, topic, *partition)
                .map_err(|reason| self.unsettled(format!("{topic}/{partition}: {reason}")))?;
            if ends.len() != question::earlier(leader.epoch).count() {
                return Err(self.refused(format!("{topic}/{partition}: its leader left questions open")));
            }
            // Answers come in the order of the questions.
            let ancestors = question::earlier(leader.epoch).zip(ends).filter_map(|(term, end)| {
                let end = Position(u64::try_from(end).ok()?);
                Some(Ancestor { epoch: Epoch { term, ..leader.epoch }, end })
            });
            histories.insert(*shard, ancestors.collect());
        }
        Ok(histories)
    }

    fn partitions(&self, metadata: &Metadata, shards: Shards<'_>) -> Result<Vec<Asked>, Error> {
        let mut asked = Vec::new();
        let mut ask = |topic: &str, partition, leader: Option<Leader>| {
            let leader =
                leader.ok_or_else(|| self.unsettled(format!("{topic}/{partition} has no leader")))?;
            if let Some(shard) = partition_shard(topic, partition) {
                asked.push(Asked { shard, topic: topic.to_owned(), partition, leader });
            }
            Ok::<(), Error>(())
        };
        match shards {
            Shards::All => {
                for topic in &self.topics {
                    for (partition, leader) in metadata.partitions(topic) {
                        ask(topic, partition, leader)?;
                    }
                }
            }
            Shards::Of(shards) => {
                for shard in shards {
                    let (hash, partition) = parts(*shard);
                    let Some(topic) = self.topics.iter().find(|topic| topic_hash(topic) == hash) else {
                        continue;
                    };
                    if let Some(leader) = metadata.partition(topic, partition) {
                        ask(topic, partition, leader)?;
                    }
                }
            }
        }
        Ok(asked)
    }

    /// Asks a broker over a connection that nobody else uses meanwhile.
    pub(crate) async fn ask(&self, address: &str, flight: io::Result<Flight>) -> Result<Answers, Error> {
        let flight = self.of(address, flight)?;
        let idle = lock(&self.idle).remove(address);
        if let Some(mut connection) = idle {
            match connection.fly(&flight).await {
                // It broke while nobody used it: that says nothing of the broker now.
                Err(error) if is_broken(&error) => {}
                answers => {
                    let answers = self.of(address, answers)?;
                    lock(&self.idle).insert(address.to_owned(), connection);
                    return Ok(answers);
                }
            }
        }
        let connection = Connection::dial(self.dialer.as_ref(), address).await;
        let mut connection = self.of(address, connection)?;
        let answers = connection.fly(&flight).await;
        let answers = self.of(address, answers)?;
        lock(&self.idle).insert(address.to_owned(), connection);
        Ok(answers)
    }

    /// The outcome of talking to this broker.
    pub(crate) fn of<T>(&self, address: &str, outcome: io::Result<T>) -> Result<T, Error> {
        outcome.map_err(|source| Error::Broker { store: self.store, address: address.to_owned(), source })
    }

    pub(crate) fn bootstrap(&self) -> &[String] {
        &self.bootstrap
    }

    pub(crate) fn refused(&self, reason: impl Into<String>) -> Error {
        Error::Refused { store: self.store, reason: reason.into() }
    }

    pub(crate) fn unsettled(&self, reason: impl Into<String>) -> Error {
        Error::Unsettled { store: self.store, reason: reason.into() }
    }
}

/// Whoever fails, or is given up, leaves the next one to ask for the leaders anew.
struct Doubt<'a>(&'a Cluster);

impl Drop for Doubt<'_> {
    fn drop(&mut self) {
        *lock(&self.0.metadata) = None;
    }
}

fn is_broken(error: &io::Error) -> bool {
    !matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::InvalidData)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Nothing panics while a lock is held; a poisoned state is still a whole one.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("store", &self.store)
            .field("topics", &self.topics)
            .finish_non_exhaustive()
    }
}
