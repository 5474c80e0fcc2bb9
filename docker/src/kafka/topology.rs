use futures_util::future::try_join_all;
use rdkafka::{
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication, TopicResult},
    client::DefaultClientContext,
    error::{KafkaError, KafkaResult},
    types::RDKafkaErrorCode,
};

use super::{
    KafkaNode, KafkaOptions,
    session::{admin, metadata},
    setup::{Place, Setup, id_of},
};
use crate::{Proxy, TopologyError, wait};

/// How often other ports are tried when a chosen one was taken meanwhile.
const PORTS: usize = 5;

/// How often a request that the driver gave up is made again.
const ATTEMPTS: usize = 5;

/// A Kafka cluster in KRaft mode: every broker is a controller as well.
///
/// Each broker has two [`Proxy`]s: its [`link`](Self::link), which carries the clients that
/// bootstrap with [`bootstrap_through_links`](Self::bootstrap_through_links), and its
/// [`replication`](Self::replication), which carries what other brokers fetch from it. Clients that
/// use [`bootstrap`](Self::bootstrap) go past both, and so do the controllers among themselves.
///
/// Acknowledged records are lost like this: cut the leader's `replication`, write with `acks=1`,
/// and [`fail_over`](Self::fail_over); with `unclean.leader.election.enable` also when the
/// followers have left the in-sync replicas before. The old leader truncates its log once it is
/// restarted and the proxy healed.
///
/// Dropping the topology ends its brokers and removes their data; so does the end of this process,
/// however it comes about.
#[derive(Debug)]
pub struct KafkaTopology {
    brokers: Vec<KafkaNode>,
    places: Vec<Place>,
}

impl KafkaTopology {
    /// Starts the brokers and waits until each is in service and knows the others.
    ///
    /// # Errors
    ///
    /// [`TopologyError::MissingServer`] if Kafka is not installed; [`TopologyError::Exited`] and
    /// [`TopologyError::Timeout`] if a broker does not start within 90 s, or does not know the others
    /// within 30 s more.
    pub async fn start(options: KafkaOptions) -> Result<Self, TopologyError> {
        let mut tried = 1;
        loop {
            match Self::start_once(&options).await {
                Err(TopologyError::Exited { log, .. } | TopologyError::Timeout { log, .. })
                    if tried < PORTS && log.contains("Address already in use") =>
                {
                    tried += 1;
                    tracing::debug!("a port of a broker was taken, trying others");
                }
                outcome => return outcome,
            }
        }
    }

    async fn start_once(options: &KafkaOptions) -> Result<Self, TopologyError> {
        let setup = Setup::new()?;
        let places = setup.places(options.brokers).await?;
        let brokers = places.iter().map(|place| setup.broker(place, &places, options));
        let brokers = try_join_all(brokers).await?.into_iter().map(KafkaNode::new).collect();
        let topology = Self { brokers, places };
        topology.until_all_know(None, "aware of all brokers").await?;
        Ok(topology)
    }

    /// The broker of this index, counted from zero. Its `broker.id` is one more.
    ///
    /// # Panics
    ///
    /// If the topology was started with fewer brokers.
    #[must_use]
    pub fn broker(&self, index: usize) -> &KafkaNode {
        match self.brokers.get(index) {
            Some(broker) => broker,
            None => panic!("no broker {index} among {}", self.brokers.len()),
        }
    }

    /// All brokers.
    #[must_use]
    pub fn brokers(&self) -> &[KafkaNode] {
        &self.brokers
    }

    /// All brokers, for `bootstrap.servers`: clients reach them directly.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        let all: Vec<String> = self.brokers.iter().map(KafkaNode::bootstrap).collect();
        all.join(",")
    }

    /// All brokers, for `bootstrap.servers`: clients reach each through its [`link`](Self::link),
    /// with all their traffic.
    #[must_use]
    pub fn bootstrap_through_links(&self) -> String {
        let all: Vec<String> = self.places.iter().map(|place| place.link.addr().to_string()).collect();
        all.join(",")
    }

    /// The proxy between the broker of this index (its target) and the clients that bootstrapped
    /// through links.
    ///
    /// # Panics
    ///
    /// If the topology was started with fewer brokers.
    #[must_use]
    pub fn link(&self, index: usize) -> &Proxy {
        &self.place(index).link
    }

    /// The proxy between the broker of this index (its target) and the brokers that fetch from it:
    /// delaying or cutting it holds back the followers of the partitions that it leads, and with
    /// them the high watermark, until they are taken for lagging.
    ///
    /// # Panics
    ///
    /// If the topology was started with fewer brokers.
    #[must_use]
    pub fn replication(&self, index: usize) -> &Proxy {
        &self.place(index).replication
    }

    /// Makes a topic and waits until every running broker knows a leader of each partition.
    /// `settings` are the topic's, such as `("min.insync.replicas", "2")`.
    ///
    /// # Errors
    ///
    /// [`TopologyError::Client`] if the brokers refuse it, for instance because it exists;
    /// [`TopologyError::Timeout`] after 30 s.
    pub async fn create_topic(
        &self,
        name: &str,
        partitions: i32,
        replication: i32,
        settings: &[(&str, &str)],
    ) -> Result<(), TopologyError> {
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(replication));
        let topic = settings.iter().fold(topic, |topic, (name, value)| topic.set(name, value));
        self.administer(&Request::Create(topic)).await.map_err(self.refused("create a topic"))?;
        self.until_all_know(Some(name), "aware of the topic").await
    }

    /// Deletes a topic and waits until no running broker knows it.
    ///
    /// # Errors
    ///
    /// As [`create_topic`](Self::create_topic).
    pub async fn delete_topic(&self, name: &str) -> Result<(), TopologyError> {
        self.administer(&Request::Delete(name)).await.map_err(self.refused("delete a topic"))?;
        for broker in self.running() {
            let gone = wait::until(wait::LIMIT, || async {
                let known = metadata(broker.addr(), name).await;
                let gone = known.is_ok_and(|known| {
                    known
                        .topics()
                        .iter()
                        .all(|topic| topic.error().is_some() || topic.partitions().is_empty())
                });
                Ok::<_, TopologyError>(gone.then_some(()))
            });
            gone.await?.ok_or_else(|| broker.server().timeout("rid of the topic"))?;
        }
        Ok(())
    }

    /// The index of the broker that leads a partition; none while it has no leader.
    ///
    /// # Errors
    ///
    /// [`TopologyError::NotRunning`] if no broker runs; [`TopologyError::Client`] if none answers.
    pub async fn leader(&self, topic: &str, partition: i32) -> Result<Option<usize>, TopologyError> {
        Ok(self.replicas(topic, partition).await?.0)
    }

    /// The indices of the brokers whose copy of a partition is complete, the leader among them.
    ///
    /// # Errors
    ///
    /// As [`leader`](Self::leader).
    pub async fn in_sync(&self, topic: &str, partition: i32) -> Result<Vec<usize>, TopologyError> {
        Ok(self.replicas(topic, partition).await?.1)
    }

    /// Kills the leader of a partition (SIGKILL) and waits until another broker leads it, whose
    /// index it returns. The killed broker can come back with [`restart`](crate::Node::restart), as a
    /// follower.
    ///
    /// # Errors
    ///
    /// Those of [`leader`](Self::leader); [`TopologyError::Timeout`] if nobody takes over within
    /// 30 s, as where no other replica is in sync and unclean elections are off.
    pub async fn fail_over(&self, topic: &str, partition: i32) -> Result<usize, TopologyError> {
        let old = self.led(topic, partition).await?;
        self.broker(old).kill().await?;
        self.until_led_by_another(topic, partition, old).await
    }

    /// Restarts the leader of a partition in good order, so that another one takes over and nothing
    /// is lost, and returns the index of the new leader.
    ///
    /// # Errors
    ///
    /// As [`fail_over`](Self::fail_over), and those of [`restart`](crate::Node::restart).
    pub async fn move_leader(&self, topic: &str, partition: i32) -> Result<usize, TopologyError> {
        let old = self.led(topic, partition).await?;
        self.broker(old).stop().await?;
        let new = self.until_led_by_another(topic, partition, old).await?;
        self.broker(old).restart().await?;
        Ok(new)
    }

    async fn led(&self, topic: &str, partition: i32) -> Result<usize, TopologyError> {
        let led = wait::until(wait::LIMIT, || self.leader(topic, partition)).await?;
        led.ok_or_else(|| self.broker(0).server().timeout("aware of a leader"))
    }

    async fn until_led_by_another(
        &self,
        topic: &str,
        partition: i32,
        old: usize,
    ) -> Result<usize, TopologyError> {
        let new = wait::until(wait::LIMIT, || async {
            // A broker that has just lost others may not answer.
            let leader = self.leader(topic, partition).await.ok().flatten();
            Ok::<_, TopologyError>(leader.filter(|leader| *leader != old))
        });
        new.await?.ok_or_else(|| self.broker(old).server().timeout("replaced as the leader"))
    }

    async fn replicas(
        &self,
        topic: &str,
        partition: i32,
    ) -> Result<(Option<usize>, Vec<usize>), TopologyError> {
        let index_of = |id: i32| (0..self.brokers.len()).find(|index| id_of(*index) == id);
        let unknown = RDKafkaErrorCode::UnknownTopicOrPartition;
        let mut outcome = Err(KafkaError::MetadataFetch(RDKafkaErrorCode::AllBrokersDown));
        for broker in self.running() {
            outcome = metadata(broker.addr(), topic).await.and_then(|known| {
                let mut partitions = known.topics().iter().flat_map(|topic| topic.partitions());
                let found = partitions.find(|known| known.id() == partition);
                let found = found.ok_or(KafkaError::MetadataFetch(unknown))?;
                let in_sync = found.isr().iter().filter_map(|id| index_of(*id)).collect();
                Ok((index_of(found.leader()), in_sync))
            });
            if outcome.is_ok() {
                break;
            }
        }
        let Some(broker) = self.running().next() else {
            let broker = self.broker(0).server();
            return Err(TopologyError::NotRunning { server: broker.name().to_owned(), log: broker.log() });
        };
        outcome.map_err(broker.server().refused("say who leads a partition"))
    }

    /// Waits until every running broker knows all running ones, and a leader of each partition.
    async fn until_all_know(
        &self,
        topic: Option<&str>,
        condition: &'static str,
    ) -> Result<(), TopologyError> {
        let count = self.running().count();
        for broker in self.running() {
            let known = wait::until(wait::LIMIT, || async {
                // A name that no topic has, so that the answer is short.
                let known = metadata(broker.addr(), topic.unwrap_or("antipode-none")).await;
                let complete = known.is_ok_and(|known| {
                    let led = known.topics().iter().all(|topic| {
                        topic.error().is_none()
                            && !topic.partitions().is_empty()
                            && topic.partitions().iter().all(|partition| partition.leader() >= 0)
                    });
                    known.brokers().len() >= count && (topic.is_none() || led)
                });
                Ok::<_, TopologyError>(complete.then_some(()))
            });
            known.await?.ok_or_else(|| broker.server().timeout(condition))?;
        }
        Ok(())
    }

    /// Makes a request about a topic. The driver gives one up when it gets to know the brokers while it
    /// is under way; made again, it may find that it is done.
    async fn administer(&self, request: &Request<'_>) -> KafkaResult<()> {
        let options = AdminOptions::new().operation_timeout(Some(wait::LIMIT));
        let mut given_up = 0;
        loop {
            let answers = request.send(&admin(&self.bootstrap())?, &options).await;
            let refusal = answers.map(|answers| answers.into_iter().find_map(Result::err));
            let code = match refusal {
                Ok(None) => return Ok(()),
                Ok(Some((_, code))) | Err(KafkaError::AdminOp(code)) => code,
                Err(error) => return Err(error),
            };
            match code {
                RDKafkaErrorCode::DestroyBroker if given_up < ATTEMPTS => given_up += 1,
                code if code == request.done() && given_up > 0 => return Ok(()),
                code => return Err(KafkaError::AdminOp(code)),
            }
        }
    }

    /// For `map_err`: the brokers could not do `operation`.
    fn refused(&self, operation: &'static str) -> impl FnOnce(KafkaError) -> TopologyError {
        self.running().next().unwrap_or_else(|| self.broker(0)).server().refused(operation)
    }

    fn running(&self) -> impl Iterator<Item = &KafkaNode> {
        self.brokers.iter().filter(|broker| broker.is_running())
    }

    fn place(&self, index: usize) -> &Place {
        match self.places.get(index) {
            Some(place) => place,
            None => panic!("no broker {index} among {}", self.brokers.len()),
        }
    }
}

/// A request about a topic.
enum Request<'a> {
    Create(NewTopic<'a>),
    Delete(&'a str),
}

impl Request<'_> {
    async fn send(
        &self,
        admin: &AdminClient<DefaultClientContext>,
        options: &AdminOptions,
    ) -> KafkaResult<Vec<TopicResult>> {
        match self {
            Self::Create(topic) => admin.create_topics([topic], options).await,
            Self::Delete(name) => admin.delete_topics(&[name], options).await,
        }
    }

    /// How it is refused once it is done.
    fn done(&self) -> RDKafkaErrorCode {
        match self {
            Self::Create(_) => RDKafkaErrorCode::TopicAlreadyExists,
            Self::Delete(_) => RDKafkaErrorCode::UnknownTopicOrPartition,
        }
    }
}
