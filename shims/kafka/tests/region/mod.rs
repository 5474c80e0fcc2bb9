//! A region: a consumer group that makes a table out of a partition.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use antipode_conformance::BedResult;
use antipode_kafka::rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use antipode_kafka::rdkafka::message::{Message, OwnedMessage};
use antipode_kafka::rdkafka::{ClientConfig, Offset, Timestamp, TopicPartitionList};
use antipode_kafka::{KafkaConsumer, KafkaStore};
use antipode_lineage::LineageScope;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::TOPIC;

const LIMIT: Duration = Duration::from_secs(10);

/// How the log reaches a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    Whole,
    Late(Duration),
    Held,
}

/// Values, each with the scopes of the records that made it, and the last record of all.
#[derive(Default)]
pub(crate) struct Table {
    values: HashMap<String, (String, Vec<LineageScope>)>,
    last: Option<LineageScope>,
    next: i64,
}

impl Table {
    /// The value, and what its reader comes to depend on.
    pub(crate) fn read(&self, key: &str) -> (Option<String>, Vec<LineageScope>) {
        let found = self.values.get(key).cloned();
        let (value, mut scopes) = found.map(|(value, scopes)| (Some(value), scopes)).unwrap_or_default();
        scopes.extend(self.last.clone());
        (value, scopes)
    }

    fn apply<M: Message>(&mut self, record: &M, store: Option<&KafkaStore>) {
        self.next = record.offset() + 1;
        let scope = store.map(|store| store.record_scope(record));
        // The place of the last record covers the whole table. What its writer depended on is not read.
        let (topic, time, offset) = (TOPIC.to_owned(), Timestamp::NotAvailable, record.offset());
        let bare = OwnedMessage::new(None, None, topic, time, record.partition(), offset, None);
        self.last = store.map(|store| store.record_scope(&bare));
        let key = String::from_utf8_lossy(record.key().unwrap_or_default()).into_owned();
        let text = record.payload().map(|payload| String::from_utf8_lossy(payload).into_owned());
        match text.as_deref().and_then(|text| text.split_at_checked(1)) {
            Some(("=", value)) => {
                self.values.insert(key, (value.to_owned(), scope.into_iter().collect()));
            }
            Some((_, suffix)) => {
                let (value, scopes) = self.values.entry(key).or_default();
                value.push_str(suffix);
                scopes.extend(scope);
            }
            None => {
                self.values.remove(&key);
            }
        }
    }
}

pub(crate) struct Region {
    table: Arc<Mutex<Table>>,
    flow: watch::Sender<Flow>,
    /// What flow the consumer is in.
    at: watch::Receiver<Flow>,
    task: JoinHandle<()>,
}

impl Drop for Region {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) fn group(region: usize) -> String {
    format!("region-{region}")
}

impl Region {
    pub(crate) fn start(store: &KafkaStore, config: &ClientConfig, number: usize) -> BedResult<Self> {
        let mut config = config.clone();
        config.set("group.id", group(number)).set("enable.auto.commit", "false");
        config.set("auto.offset.reset", "earliest").set("fetch.wait.max.ms", "20");
        let consumer = store.consumer(&config)?;
        let table = Arc::<Mutex<Table>>::default();
        let (flow, wanted) = watch::channel(Flow::Whole);
        let (now, at) = watch::channel(Flow::Held);
        let task = tokio::spawn(follow(consumer, store.clone(), Arc::clone(&table), wanted, now));
        Ok(Self { table, flow, at, task })
    }

    pub(crate) fn read(&self, key: &str) -> (Option<String>, Vec<LineageScope>) {
        self.table.lock().unwrap().read(key)
    }

    /// Returns when it is so.
    pub(crate) async fn set(&self, flow: Flow) {
        self.flow.send_replace(flow);
        let _ = self.at.clone().wait_for(|at| *at == flow).await;
    }
}

async fn follow(
    consumer: KafkaConsumer,
    store: KafkaStore,
    table: Arc<Mutex<Table>>,
    mut wanted: watch::Receiver<Flow>,
    now: watch::Sender<Flow>,
) {
    loop {
        let flow = *wanted.borrow_and_update();
        if flow == Flow::Held {
            // Takes with it what was fetched ahead.
            consumer.unassign().unwrap();
        } else if *now.borrow() == Flow::Held {
            let next = table.lock().unwrap().next;
            let mut partitions = TopicPartitionList::new();
            partitions.add_partition_offset(TOPIC, 0, Offset::Offset(next)).unwrap();
            consumer.assign(&partitions).unwrap();
        }
        now.send_replace(flow);
        loop {
            tokio::select! {
                changed = wanted.changed() => match changed {
                    Ok(()) => break,
                    Err(_) => return,
                },
                record = consumer.recv(), if flow != Flow::Held => {
                    let Ok(record) = record else { continue };
                    if let Flow::Late(by) = flow {
                        tokio::time::sleep(by).await;
                    }
                    table.lock().unwrap().apply(&*record, Some(&store));
                    let _ = consumer.commit_message(&record, CommitMode::Async);
                }
            }
        }
    }
}

/// What the log says from its beginning to its end, or to where the group has committed; with lineage if
/// a store is there to read it.
pub(crate) async fn table(
    config: &ClientConfig,
    store: Option<&KafkaStore>,
    group: Option<&str>,
) -> BedResult<Table> {
    let mut config = config.clone();
    config.set("group.id", group.unwrap_or("nobody")).set("enable.auto.commit", "false");
    config.set("enable.partition.eof", "true").set("fetch.wait.max.ms", "20");
    let (store, reads_group) = (store.cloned(), group.is_some());
    let runtime = tokio::runtime::Handle::current();
    let read = move || {
        let _entered = runtime.enter();
        let consumer: BaseConsumer = config.create()?;
        let mut partitions = TopicPartitionList::new();
        partitions.add_partition_offset(TOPIC, 0, Offset::Beginning)?;
        let mut end = i64::MAX;
        if reads_group {
            let committed = consumer.committed_offsets(partitions.clone(), LIMIT)?;
            let committed = committed.find_partition(TOPIC, 0).map(|place| place.offset());
            end = match committed {
                Some(Offset::Offset(offset)) => offset,
                _ => 0,
            };
        }
        let mut table = Table::default();
        consumer.assign(&partitions)?;
        while table.next < end {
            match consumer.poll(LIMIT) {
                Some(Ok(record)) if record.offset() < end => {
                    table.apply(&record, store.as_ref());
                }
                // A later record, or the end of the log.
                Some(_) => break,
                None => return Err("the log cannot be read".into()),
            }
        }
        Ok(table)
    };
    tokio::task::spawn_blocking(read).await?
}
