//! The Kafka store, put through the conformance suite.
//!
//! Kafka's partitions have no two copies that are read. What is replicated here is what most services make
//! of a topic: two regions, each with a consumer group of its own, make a table of keys and values out of
//! one partition. A value is visible in a region once its group has committed past the record.
//!
//! Cutting, freezing or stopping a region acts on its consumer: it is the broker that answers probes. A
//! region does not become the log, so there is no failover to one: what a partition loses with its leader
//! is the matter of `the_log_is_cut_off.rs` and `the_topic_is_made_again.rs`.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::indexing_slicing)] // Helpers of tests.

mod region;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use antipode_barrier::{OnMissing, Store};
use antipode_conformance::{Bed, BedResult, Change, Fault, Node, Support};
use antipode_docker::{KafkaOptions, KafkaTopology};
use antipode_kafka::rdkafka::ClientConfig;
use antipode_kafka::rdkafka::message::{Header, OwnedHeaders};
use antipode_kafka::rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use antipode_kafka::{KafkaProducer, KafkaStore, KafkaStoreBuilder, LINEAGE_HEADER, Visible};
use antipode_lineage::LineageScope;
use region::{Flow, Region, group, table};

const TOPIC: &str = "posts";
const PATIENCE: Duration = Duration::from_secs(20);

/// Longer than it takes to read the log with a consumer made for it: a delay shorter than that is over
/// before the next step of a scenario.
const PEEK: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    antipode_conformance::run::<KafkaBed>()
}

struct KafkaBed {
    topology: KafkaTopology,
    store: KafkaStore,
    producer: KafkaProducer,
    regions: [Region; 2],
}

impl KafkaBed {
    fn config(&self) -> ClientConfig {
        config(&self.topology)
    }
}

fn config(topology: &KafkaTopology) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", topology.bootstrap()).set("topic.metadata.refresh.interval.ms", "1000");
    config
}

fn builder(topology: &KafkaTopology, regions: &[usize]) -> KafkaStoreBuilder {
    let builder = KafkaStore::builder("posts").topic(TOPIC).config(&config(topology));
    regions.iter().fold(builder.on_missing(OnMissing::Ignore), |builder, region| {
        builder.reader(format!("replica-{region}"), Visible::Processed { group: group(*region) })
    })
}

fn record<'a>(change: &'a Change<'_>, text: &'a str) -> FutureRecord<'a, str, str> {
    let record = FutureRecord::to(TOPIC).partition(0).key(change.key());
    match change {
        Change::Put(..) | Change::Append(..) => record.payload(text),
        Change::Delete(_) => record,
    }
}

/// What a record says, after its first letter.
fn text(change: &Change<'_>) -> String {
    match change {
        Change::Put(_, value) => format!("={value}"),
        Change::Append(_, suffix) => format!("+{suffix}"),
        Change::Delete(_) => String::new(),
    }
}

impl Bed for KafkaBed {
    async fn start() -> BedResult<Self> {
        let topology = KafkaTopology::start(KafkaOptions::default()).await?;
        topology.create_topic(TOPIC, 1, 1, &[]).await?;
        let store = builder(&topology, &[0, 1]).build()?;
        let producer = store.producer(&config(&topology))?;
        let region = |number| Region::start(&store, &config(&topology), number);
        let regions = [region(0)?, region(1)?];
        Ok(Self { topology, store, producer, regions })
    }

    fn store(&self) -> Arc<dyn Store> {
        Arc::new(builder(&self.topology, &[0, 1]).build().expect("good names"))
    }

    fn store_reading(&self, replica: usize) -> Arc<dyn Store> {
        Arc::new(builder(&self.topology, &[replica]).build().expect("good names"))
    }

    async fn write(&self, change: Change<'_>) -> BedResult {
        let text = text(&change);
        self.producer.send(record(&change, &text), PATIENCE).await?;
        // The place of a record whose leader goes away right after acknowledging it is not always learnt.
        if let Some(scope) = LineageScope::current() {
            scope.settled().await;
        }
        Ok(())
    }

    async fn transaction(&self, changes: &[Change<'_>]) -> BedResult<Support> {
        let mut config = self.config();
        let producer = self.store.producer(config.set("transactional.id", "bed"))?;
        let driver = producer.inner().clone();
        tokio::task::spawn_blocking(move || {
            driver.init_transactions(PATIENCE)?;
            driver.begin_transaction()
        })
        .await??;
        for change in changes {
            let text = text(change);
            producer.send(record(change, &text), PATIENCE).await?;
        }
        let driver = producer.inner().clone();
        tokio::task::spawn_blocking(move || driver.commit_transaction(PATIENCE)).await??;
        Ok(Support::Done)
    }

    async fn read(&self, key: &str) -> BedResult<Option<String>> {
        let scope = LineageScope::current();
        let route = scope.as_ref().and_then(|scope| scope.route(self.store.name()));
        let route = route.map(|route| route.to_string());
        let (value, read) = match route.as_deref() {
            None | Some("replica-0") => self.regions[0].read(key),
            Some("replica-1") => self.regions[1].read(key),
            Some(_) => table(&self.config(), Some(&self.store), None).await?.read(key),
        };
        if let Some(scope) = scope {
            for part in read {
                scope.join_scope(&part);
            }
        }
        Ok(value)
    }

    async fn peek(&self, node: Node, key: &str) -> BedResult<Option<String>> {
        let group = match node {
            Node::Primary => None,
            Node::Replica(index) => Some(group(index)),
        };
        Ok(table(&self.config(), None, group.as_deref()).await?.read(key).0)
    }

    async fn spoil_lineage(&self, key: &str) -> BedResult<Support> {
        let plain: FutureProducer = self.config().create()?;
        let junk = OwnedHeaders::new().insert(Header { key: LINEAGE_HEADER, value: Some("not a lineage") });
        let (value, _) = table(&self.config(), None, None).await?.read(key);
        let change = Change::Put(key, value.as_deref().unwrap_or_default());
        let text = text(&change);
        plain.send(record(&change, &text).headers(junk), PATIENCE).await.map_err(|(error, _)| error)?;
        Ok(Support::Done)
    }

    async fn fault(&mut self, fault: Fault) -> BedResult<Support> {
        match fault {
            Fault::Cut { replica } | Fault::Freeze { replica } | Fault::Stop { replica } => {
                self.regions[replica].set(Flow::Held).await;
            }
            Fault::Delay { replica, by } => {
                self.regions[replica].set(Flow::Late(by + PEEK)).await;
            }
            Fault::StopPrimary => self.topology.broker(0).stop().await?,
            // A region does not become the log.
            _ => return Ok(Support::Unsupported),
        }
        Ok(Support::Done)
    }

    async fn heal(&mut self) -> BedResult {
        if !self.topology.broker(0).is_running() {
            self.topology.broker(0).restart().await?;
            // A record sent before anyone looked whether the leader epoch changed could be of either.
            self.store.check().await?;
        }
        for region in &self.regions {
            region.set(Flow::Whole).await;
        }
        Ok(())
    }
}
