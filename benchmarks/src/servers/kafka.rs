//! Kafka with the bare driver.

use std::error::Error;
use std::time::Duration;

use antipode_docker::{KafkaOptions, KafkaTopology};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::Failure;

/// The group of the run's consumers.
pub(crate) const GROUP: &str = "antipode-benchmark";
/// How long an answer may take: generous, for the machine may be busy.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// A broker; or such as are there.
pub(crate) struct KafkaServers {
    pub(crate) bootstrap: String,
    /// The run's topic, of one partition.
    pub(crate) topic: &'static str,
    /// None if they were there before.
    topology: Option<KafkaTopology>,
}

impl KafkaServers {
    /// Starts one, unless some are given, and makes the topic.
    pub(crate) async fn open(given: Option<&str>, topic: &'static str) -> Result<Self, Failure> {
        let topology = match given {
            Some(_) => None,
            None => Some(KafkaTopology::start(KafkaOptions::default()).await?),
        };
        let started = topology.as_ref().map(KafkaTopology::bootstrap);
        let bootstrap = started.or(given.map(str::to_owned)).unwrap_or_default();
        let servers = Self { bootstrap, topic, topology };
        servers.clean_up().await?;
        servers.make_topic().await?;
        Ok(servers)
    }

    /// How clients reach it.
    pub(crate) fn config(&self) -> ClientConfig {
        reached(&self.bootstrap)
    }

    /// Makes a consumer get what is sent to the topic from now on.
    pub(crate) async fn assign_from_now(&self, consumer: &StreamConsumer) -> Result<(), Failure> {
        let (config, topic) = (consuming(&self.bootstrap), self.topic);
        let end = tokio::task::spawn_blocking(move || {
            let asking: StreamConsumer = config.create()?;
            asking.fetch_watermarks(topic, 0, LIMIT).map(|(_, end)| end)
        });
        let end = end.await?.map_err(failed("tell where its topic ends"))?;
        let mut partition = TopicPartitionList::new();
        let from = partition.add_partition_offset(self.topic, 0, Offset::Offset(end));
        from.and_then(|()| consumer.assign(&partition)).map_err(failed("assign a partition"))
    }

    /// Deletes the topic, on servers that stay.
    pub(crate) async fn clean_up(&self) -> Result<(), Failure> {
        if self.topology.is_some() {
            return Ok(());
        }
        let deleted = self.admin()?.delete_topics(&[self.topic], &admin_options()).await;
        outcome(deleted, RDKafkaErrorCode::UnknownTopicOrPartition).map_err(failed("delete the run's topic"))
    }

    /// A topic that was just deleted may need a moment to be gone.
    async fn make_topic(&self) -> Result<(), Failure> {
        let topic = NewTopic::new(self.topic, 1, TopicReplication::Fixed(1));
        let admin = self.admin()?;
        let began = std::time::Instant::now();
        loop {
            let made = admin.create_topics([&topic], &admin_options()).await;
            match outcome(made, RDKafkaErrorCode::NoError) {
                Err(KafkaError::AdminOp(RDKafkaErrorCode::TopicAlreadyExists)) if began.elapsed() < LIMIT => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                made => return made.map_err(failed("make the run's topic")),
            }
        }
    }

    fn admin(&self) -> Result<AdminClient<DefaultClientContext>, Failure> {
        self.config().create().map_err(failed("be reached"))
    }
}

fn reached(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap);
    config
}

/// How records are sent: at once, and acknowledged by all replicas.
pub(crate) fn producing(bootstrap: &str) -> ClientConfig {
    let mut config = reached(bootstrap);
    config.set("acks", "all").set("enable.idempotence", "true").set("linger.ms", "0");
    config
}

/// How records are received. The group is only for the driver: partitions are assigned by hand.
pub(crate) fn consuming(bootstrap: &str) -> ClientConfig {
    let mut config = reached(bootstrap);
    config.set("group.id", GROUP).set("enable.auto.commit", "false");
    config
}

/// The version of the driver's C library: a broker does not tell its own.
pub(crate) fn version() -> String {
    format!("Kafka, through librdkafka {}", rdkafka::util::get_rdkafka_version().1)
}

/// For `map_err`: Kafka could not do `operation`.
pub(crate) fn failed<E>(operation: &'static str) -> impl FnOnce(E) -> Failure
where
    E: Into<Box<dyn Error + Send + Sync>>,
{
    Failure::store("kafka", operation)
}

fn admin_options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(LIMIT)).request_timeout(Some(LIMIT))
}

/// What an operation on one topic came to; `fine` is no error.
fn outcome(
    results: KafkaResult<Vec<Result<String, (String, RDKafkaErrorCode)>>>,
    fine: RDKafkaErrorCode,
) -> KafkaResult<()> {
    match results?.into_iter().find_map(Result::err) {
        Some((_, code)) if code != fine => Err(KafkaError::AdminOp(code)),
        _ => Ok(()),
    }
}
