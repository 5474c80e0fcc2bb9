//! Writer, service in Python that copies headers from one topic to another, reader: through Kafka.

use std::collections::HashMap;
use std::time::Duration;

use antipode::kafka::rdkafka::ClientConfig;
use antipode::kafka::rdkafka::consumer::Consumer;
use antipode::kafka::rdkafka::message::{Header, Message, OwnedHeaders};
use antipode::kafka::rdkafka::producer::FutureRecord;
use antipode::kafka::{KafkaStore, header_lineage};
use antipode::lineage::{Lineage, LineageCodec, LineageScope};
use antipode_docker::{KafkaOptions, KafkaTopology};
use futures_util::{TryStreamExt, stream};

use crate::foreign::Foreign;
use crate::services::Test;
use crate::{REQUESTS, SHARDS, lineage};

/// Long enough for a group to form on a busy machine.
const PATIENCE: Duration = Duration::from_secs(40);

const AT_ONCE: usize = 100;

/// A topic, a service in Python, and a topic that it copies to.
struct Passage {
    topology: KafkaTopology,
    store: KafkaStore,
    _hop: Foreign,
}

impl Passage {
    async fn open(mode: &[&str]) -> Test<Self> {
        let topology = KafkaTopology::start(KafkaOptions::default()).await?;
        for topic in ["from", "to"] {
            topology.create_topic(topic, 2, 1, &[]).await?;
        }
        let bootstrap = topology.bootstrap();
        let arguments = [&[bootstrap.as_str(), "from", "to"], mode].concat();
        let hop = Foreign::start("python", "kafka", &arguments, "none").await?;
        let store = KafkaStore::builder("notifications").topic("from").topic("to");
        let store = store.config(&config(&topology)).build()?;
        Ok(Self { topology, store, _hop: hop })
    }

    /// Sends records, each in a scope with a lineage of its own, and some headers of others.
    async fn send(&self, shards: u64) -> Test {
        let producer = self.store.producer(&config(&self.topology))?;
        stream::iter((0..REQUESTS).map(Ok))
            .try_for_each_concurrent(AT_ONCE, |request| {
                let producer = &producer;
                async move {
                    let key = format!("{shards}-{request}");
                    let headers = (0..30).fold(OwnedHeaders::new(), |headers, number| {
                        headers.insert(Header { key: &format!("flag-{number}"), value: Some("on") })
                    });
                    let record = FutureRecord::to("from").key(&key).payload("hello").headers(headers);
                    let scope = LineageScope::from(lineage(request, shards));
                    scope.run(producer.send(record, PATIENCE)).await?;
                    Ok(())
                }
            })
            .await
    }

    /// What arrives behind the service: the lineage of each record by its key.
    async fn receive(&self, records: usize) -> Test<HashMap<String, Option<Lineage>>> {
        let mut config = config(&self.topology);
        config.set("group.id", "reader").set("auto.offset.reset", "earliest");
        let consumer = self.store.consumer(&config)?;
        consumer.subscribe(&["to"])?;
        let mut arrived = HashMap::new();
        while arrived.len() < records {
            let record = tokio::time::timeout(PATIENCE, consumer.recv()).await??;
            let key = String::from_utf8(record.key().unwrap_or_default().to_vec())?;
            arrived.insert(key, header_lineage(&*record, &LineageCodec::plain())?);
        }
        Ok(arrived)
    }
}

fn config(topology: &KafkaTopology) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", topology.bootstrap());
    config
}

#[tokio::test]
async fn records_that_a_service_in_python_forwards_carry_their_lineage() -> Test {
    let passage = Passage::open(&[]).await?;
    for shards in SHARDS {
        passage.send(shards).await?;
    }
    let arrived = passage.receive(SHARDS.len() * REQUESTS as usize).await?;
    for shards in SHARDS {
        for request in 0..REQUESTS {
            let lineage = lineage(request, shards);
            assert_eq!(arrived[&format!("{shards}-{request}")], Some(lineage), "{shards} {request}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn records_whose_headers_were_not_copied_are_without_lineage_and_say_so() -> Test {
    let passage = Passage::open(&["drop"]).await?;
    passage.send(8).await?;
    let arrived = passage.receive(REQUESTS as usize).await?;
    assert!(arrived.values().all(Option::is_none), "absence is not an empty lineage");
    Ok(())
}
