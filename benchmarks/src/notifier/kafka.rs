//! Notifications through a Kafka topic.

use antipode::barrier::{BoxFuture, OnMissing};
use antipode::kafka::{KafkaConsumer, KafkaProducer, KafkaStore, LINEAGE_HEADER};
use antipode::lineage::Lineage;
use rdkafka::Message;
use rdkafka::consumer::StreamConsumer;
use rdkafka::message::Headers;
use rdkafka::producer::{FutureProducer, FutureRecord};

use super::{Channel, Notification, Notifier, Subscription};
use crate::Failure;
use crate::posts::Reference;
use crate::servers::kafka::{KafkaServers, LIMIT, consuming, failed, producing, version};

const TOPIC: &str = "antipode-benchmark-notifications";

/// A broker with a topic of one partition. A record's key is the channel, its payload the post.
pub(crate) struct KafkaNotifier {
    servers: KafkaServers,
    reader: KafkaStore,
    raw: FutureProducer,
    shim: KafkaProducer,
}

impl KafkaNotifier {
    pub(crate) async fn open(given: Option<&str>) -> Result<Self, Failure> {
        let servers = KafkaServers::open(given, TOPIC).await?;
        let store = || {
            let store = KafkaStore::builder("notifications").topic(TOPIC).config(&servers.config());
            store.on_missing(OnMissing::Error).build().map_err(failed("be opened"))
        };
        let (writer, reader) = (store()?, store()?);
        let shim = writer.producer(&producing(&servers.bootstrap)).map_err(failed("be written to"))?;
        let raw = producing(&servers.bootstrap).create().map_err(failed("be written to"))?;
        Ok(Self { reader, raw, shim, servers })
    }
}

impl Notifier for KafkaNotifier {
    fn version(&self) -> String {
        version()
    }

    fn clean_up(&self) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(self.servers.clean_up())
    }

    fn publish<'a>(&'a self, channel: Channel, post: &'a Reference) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            const OPERATION: &str = "publish a notification";
            let (key, payload) = (channel.to_string(), post.to_string());
            let record = FutureRecord::to(TOPIC).key(&key).payload(&payload);
            if channel.carries_lineage() {
                self.shim.send(record, LIMIT).await.map_err(failed(OPERATION))?;
            } else {
                self.raw.send(record, LIMIT).await.map_err(|(error, _)| failed(OPERATION)(error))?;
            }
            Ok(())
        })
    }

    fn subscribe(&self, channel: Channel) -> BoxFuture<'_, Result<Box<dyn Subscription>, Failure>> {
        Box::pin(async move {
            let config = consuming(&self.servers.bootstrap);
            let consumer = if channel.carries_lineage() {
                AnyConsumer::Shim(self.reader.consumer(&config).map_err(failed("subscribe"))?)
            } else {
                AnyConsumer::Raw(config.create().map_err(failed("subscribe"))?)
            };
            self.servers.assign_from_now(consumer.inner()).await?;
            // A consumer begins to fetch when it has found the leader: the first round is not to wait for
            // that.
            let first = format!("first of {channel}");
            let record = FutureRecord::<str, str>::to(TOPIC).key(&first);
            self.raw.send(record, LIMIT).await.map_err(|(error, _)| failed("subscribe")(error))?;
            while consumer.inner().recv().await.map_err(failed("subscribe"))?.key() != Some(first.as_bytes())
            {
            }
            let subscription = TopicSubscription { channel: channel.to_string(), consumer };
            Ok(Box::new(subscription) as Box<dyn Subscription>)
        })
    }
}

struct TopicSubscription {
    channel: String,
    consumer: AnyConsumer,
}

enum AnyConsumer {
    Raw(StreamConsumer),
    Shim(KafkaConsumer),
}

impl AnyConsumer {
    fn inner(&self) -> &StreamConsumer {
        match self {
            Self::Raw(consumer) => consumer,
            Self::Shim(consumer) => consumer.inner(),
        }
    }
}

impl Subscription for TopicSubscription {
    fn next(&mut self) -> BoxFuture<'_, Result<Vec<Notification>, Failure>> {
        Box::pin(async move {
            const OPERATION: &str = "receive notifications";
            loop {
                let (message, lineage) = match &self.consumer {
                    AnyConsumer::Raw(consumer) => {
                        let message = consumer.recv().await.map_err(failed(OPERATION))?;
                        (message, Lineage::new())
                    }
                    AnyConsumer::Shim(consumer) => {
                        let record = consumer.recv().await.map_err(failed(OPERATION))?;
                        let lineage = record.lineage();
                        (record.into_inner(), lineage)
                    }
                };
                if message.key() == Some(self.channel.as_bytes()) {
                    return Ok(vec![parse(&message, lineage)?]);
                }
            }
        })
    }
}

fn parse(message: &impl Message, lineage: Lineage) -> Result<Notification, Failure> {
    let payload = message.payload().unwrap_or_default();
    let found = || String::from_utf8_lossy(payload).into_owned();
    let garbled = || Failure::Garbled { what: "a notification", found: found() };
    let post = Reference::parse(payload).ok_or_else(garbled)?;
    let headers = message.headers().into_iter().flat_map(Headers::iter);
    let lineages = headers.filter(|header| header.key == LINEAGE_HEADER);
    let lineage_bytes = lineages.map(|header| header.value.map_or(0, <[u8]>::len)).sum();
    Ok(Notification { post, lineage, lineage_bytes })
}
