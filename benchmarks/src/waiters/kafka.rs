//! A consumer group that is late, as a place to wait at.
//!
//! A record in Kafka can be consumed as soon as it is acknowledged; what a service waits for is that a
//! group has *processed* it. The group here commits each record's offset the lag after it was sent. A
//! barrier waits with [`Visible::Processed`]; a poll asks the group's coordinator for the committed
//! offset.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use antipode::barrier::{BoxFuture, OnMissing, Store};
use antipode::kafka::{KafkaProducer, KafkaStore, Visible};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::Failure;
use crate::posts::{Access, Post, Posts, Reference};
use crate::servers::kafka::{GROUP, KafkaServers, LIMIT, consuming, failed, producing, version};

const TOPIC: &str = "antipode-benchmark-events";

pub(super) struct LateGroup {
    /// Ends with this.
    _committing: JoinSet<()>,
    reader: KafkaStore,
    raw: FutureProducer,
    shim: KafkaProducer,
    lag_us: AtomicU64,
    /// The offsets of the posts.
    sent: Mutex<HashMap<String, i64>>,
    to_commit: mpsc::UnboundedSender<(tokio::time::Instant, i64)>,
    group: Arc<BaseConsumer>,
    _servers: KafkaServers,
}

impl LateGroup {
    pub(super) async fn open() -> Result<Self, Failure> {
        let servers = KafkaServers::open(None, TOPIC).await?;
        let config = consuming(&servers.bootstrap);
        let store = || {
            let store = KafkaStore::builder("events").topic(TOPIC).config(&config);
            let store = store.visible(Visible::Processed { group: GROUP.to_owned() });
            store.on_missing(OnMissing::Error).build().map_err(failed("be opened"))
        };
        let (writer, reader) = (store()?, store()?);
        let producing = producing(&servers.bootstrap);
        let group: Arc<BaseConsumer> = Arc::new(config.create().map_err(failed("be read"))?);
        let (to_commit, due) = mpsc::unbounded_channel();
        let mut committing = JoinSet::new();
        committing.spawn(commit(Arc::clone(&group), due));
        Ok(Self {
            _committing: committing,
            shim: writer.producer(&producing).map_err(failed("be written to"))?,
            raw: producing.create().map_err(failed("be written to"))?,
            reader,
            lag_us: AtomicU64::new(0),
            sent: Mutex::default(),
            to_commit,
            group,
            _servers: servers,
        })
    }
}

/// Commits each offset when it is due. A commit that fails is made good by the next.
async fn commit(group: Arc<BaseConsumer>, mut due: mpsc::UnboundedReceiver<(tokio::time::Instant, i64)>) {
    while let Some((at, offset)) = due.recv().await {
        tokio::time::sleep_until(at).await;
        let group = Arc::clone(&group);
        let committed = tokio::task::spawn_blocking(move || {
            group.commit(&partition(Offset::Offset(offset + 1))?, CommitMode::Sync)
        });
        if !matches!(committed.await, Ok(Ok(()))) {
            eprintln!("antipode: the late group could not commit");
        }
    }
}

fn partition(offset: Offset) -> rdkafka::error::KafkaResult<TopicPartitionList> {
    let mut partition = TopicPartitionList::new();
    partition.add_partition_offset(TOPIC, 0, offset)?;
    Ok(partition)
}

impl Posts for LateGroup {
    fn reader(&self) -> Arc<dyn Store> {
        Arc::new(self.reader.clone())
    }

    fn version(&self) -> String {
        version()
    }

    fn set_lag(&self, lag: Duration) -> Result<(), Failure> {
        self.lag_us.store(u64::try_from(lag.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        Ok(())
    }

    fn write<'a>(&'a self, access: Access, post: &'a Post) -> BoxFuture<'a, Result<Option<String>, Failure>> {
        Box::pin(async move {
            const OPERATION: &str = "be written to";
            let payload = post.body.as_deref().unwrap_or_default();
            let record = FutureRecord::<str, [u8]>::to(TOPIC).payload(payload);
            let delivery = match access {
                Access::Shim => self.shim.send(record, LIMIT).await.map_err(failed(OPERATION))?,
                Access::Raw | Access::Own => {
                    self.raw.send(record, LIMIT).await.map_err(|(error, _)| failed(OPERATION)(error))?
                }
            };
            let lag = Duration::from_micros(self.lag_us.load(Ordering::Relaxed));
            let due = tokio::time::Instant::now() + lag;
            let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
            sent.insert(post.id().to_owned(), delivery.offset);
            // The task that takes it lives as long as this.
            let _ = self.to_commit.send((due, delivery.offset));
            Ok(None)
        })
    }

    /// Something if the group has processed the record.
    fn read<'a>(
        &'a self,
        _access: Access,
        post: &'a Reference,
    ) -> BoxFuture<'a, Result<Option<Vec<u8>>, Failure>> {
        Box::pin(async move {
            let sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner).get(&post.post).copied();
            let Some(sent) = sent else { return Ok(None) };
            let group = Arc::clone(&self.group);
            let committed = tokio::task::spawn_blocking(move || {
                let committed = group.committed_offsets(partition(Offset::Invalid)?, LIMIT)?;
                Ok::<_, rdkafka::error::KafkaError>(committed.elements().first().map(|first| first.offset()))
            });
            let committed = committed.await?.map_err(failed("tell a group's offset"))?;
            let processed = matches!(committed, Some(Offset::Offset(next)) if next > sent);
            Ok(processed.then(Vec::new))
        })
    }
}
