//! Records that are sent through the driver's threaded producer, with a delivery callback of the user's.

use std::time::Duration;

use antipode_barrier::OnMissing;
use antipode_kafka::rdkafka::ClientConfig;
use antipode_kafka::rdkafka::client::ClientContext;
use antipode_kafka::rdkafka::message::{DeliveryResult, Message};
use antipode_kafka::rdkafka::producer::{BaseRecord, Partitioner, Producer, ProducerContext, PurgeConfig};
use antipode_kafka::rdkafka::types::RDKafkaErrorCode;
use antipode_kafka::{KafkaStore, KafkaThreadedProducer, WeakAcks, partition_shard};
use antipode_lineage::{Lineage, LineageScope, Position, WriteId};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::stage::{
    PATIENCE, Stage, TOPIC, barrier, builder, depending, foreign, name, placed, registry, written,
};

/// What a user gives a record along.
struct Ticket(String);

/// What a delivery callback was called with: the ticket, and where the record is.
type Call = (String, Result<(i32, i64), Option<RDKafkaErrorCode>>);

/// The context of a user, who has a partitioner.
struct Telling {
    calls: UnboundedSender<Call>,
    partitioner: Option<Last>,
}

struct Last;

impl Partitioner for Last {
    fn partition(&self, _: &str, _: Option<&[u8]>, count: i32, _: impl Fn(i32) -> bool) -> i32 {
        count - 1
    }
}

impl ClientContext for Telling {}

impl ProducerContext<Last> for Telling {
    type DeliveryOpaque = Box<Ticket>;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: Box<Ticket>) {
        let outcome = match result {
            Ok(record) => Ok((record.partition(), record.offset())),
            Err((error, _)) => Err(error.rdkafka_error_code()),
        };
        // Nobody listens where a test has failed.
        let _ = self.calls.send((ticket.0, outcome));
    }

    fn get_custom_partitioner(&self) -> Option<&Last> {
        self.partitioner.as_ref()
    }
}

type Threaded = KafkaThreadedProducer<Telling, Last>;

fn threaded(store: &KafkaStore, config: &ClientConfig) -> (Threaded, UnboundedReceiver<Call>) {
    made(store, config, None)
}

fn made(
    store: &KafkaStore,
    config: &ClientConfig,
    partitioner: Option<Last>,
) -> (Threaded, UnboundedReceiver<Call>) {
    let (calls, called) = unbounded_channel();
    (store.threaded_producer_with_context(config, Telling { calls, partitioner }).unwrap(), called)
}

fn hasty(stage: &Stage) -> (Threaded, UnboundedReceiver<Call>) {
    threaded(&stage.store, stage.config().set("message.timeout.ms", "1500"))
}

fn record(payload: &str) -> BaseRecord<'_, str, str, Box<Ticket>> {
    BaseRecord::with_opaque_to(TOPIC, Box::new(Ticket(format!("of {payload}")))).key("key").payload(payload)
}

async fn send(producer: &Threaded, scope: &LineageScope, record: BaseRecord<'_, str, str, Box<Ticket>>) {
    scope.run(async { producer.send(record) }).await.map_err(|(error, _)| error).unwrap();
}

/// All calls of the callback, when the producer is gone.
async fn calls(producer: Threaded, mut called: UnboundedReceiver<Call>) -> Vec<Call> {
    tokio::task::spawn_blocking(move || {
        let _ = producer.inner().flush(PATIENCE);
        drop(producer);
    })
    .await
    .unwrap();
    let mut calls = Vec::new();
    while let Some(call) = called.recv().await {
        calls.push(call);
    }
    calls
}

#[tokio::test]
async fn its_records_carry_lineage_and_are_placed_beside_the_users_callback() {
    let stage = Stage::start().await;
    let registry = registry(&stage.store).await;
    let (producer, called) = threaded(&stage.store, &stage.config());
    let scope = depending(foreign(5));
    send(&producer, &scope, record("hello")).await;
    let stand_in = WriteId::unplaced(name("orders"));
    assert_eq!(scope.lineage().of_store(name("orders")), [stand_in], "depended on before it is delivered");
    let write = placed(&scope).await;
    assert_eq!((write.shard, write.position), (partition_shard(TOPIC, 0).unwrap(), Position(1)));
    assert!(!write.is_unplaced());
    barrier(&registry, write).await.unwrap();

    let other = builder(&stage.topology).build().unwrap();
    let consumer = stage.consumer(&other, "mailer");
    let received = consumer.recv().await.unwrap();
    assert_eq!(received.writer_lineage(), foreign(5).into());
    assert_eq!(received.scope().settled().await, scope.settled().await);
    assert_eq!(calls(producer, called).await, [("of hello".to_owned(), Ok((0, 0)))]);
}

#[tokio::test]
async fn records_sent_within_forks_do_not_depend_on_each_other() {
    let stage = Stage::start().await;
    let _registry = registry(&stage.store).await;
    let (producer, called) = threaded(&stage.store, &stage.config());
    let scope = depending(foreign(5));
    let forks = ["one", "two"].map(|payload| (payload, scope.fork()));
    for (payload, fork) in &forks {
        send(&producer, fork, record(payload)).await;
        scope.join_scope(fork);
    }
    assert_eq!(placed(&scope).await.position, Position(2));
    let consumer = stage.consumer(&stage.store, "mailer");
    for _ in 0..2 {
        assert_eq!(consumer.recv().await.unwrap().writer_lineage(), foreign(5).into());
    }
    assert_eq!(calls(producer, called).await.len(), 2);
}

#[tokio::test]
async fn a_record_that_timed_out_is_unplaced_in_its_partition() {
    let stage = Stage::start().await;
    let earlier = written(&stage.producer(), "hello").await;
    let (producer, called) = hasty(&stage);
    stage.topology.broker(0).pause().await.unwrap();
    let scope = LineageScope::new();
    send(&producer, &scope, record("lost?").partition(0)).await;
    let write = placed(&scope).await;
    stage.topology.broker(0).resume().await.unwrap();
    assert_eq!(write, WriteId::unplaced_in(write.store, earlier.shard, earlier.epoch));
    let error = Err(Some(RDKafkaErrorCode::MessageTimedOut));
    assert_eq!(calls(producer, called).await, [("of lost?".to_owned(), error)]);
}

#[tokio::test]
async fn a_purged_record_may_have_arrived() {
    let stage = Stage::start().await;
    let earlier = written(&stage.producer(), "hello").await;
    let (producer, called) = threaded(&stage.store, &stage.config());
    stage.topology.broker(0).pause().await.unwrap();
    let scope = LineageScope::new();
    send(&producer, &scope, record("purged").partition(0)).await;
    producer.inner().purge(PurgeConfig::default().queue().inflight());
    let write = placed(&scope).await;
    stage.topology.broker(0).resume().await.unwrap();
    assert_eq!(write, WriteId::unplaced_in(write.store, earlier.shard, earlier.epoch));
    let calls = calls(producer, called).await;
    assert!(matches!(&calls[..], [(opaque, Err(Some(_)))] if opaque == "of purged"), "{calls:?}");
}

/// Longer than it takes to find out where an acknowledged record stands.
#[tokio::test]
async fn a_record_that_is_delivered_late_is_waited_for() {
    let stage = Stage::start().await;
    let _registry = registry(&stage.store).await;
    let mut config = stage.config();
    config.set("bootstrap.servers", stage.topology.bootstrap_through_links());
    config.set("reconnect.backoff.max.ms", "500");
    let (producer, called) = threaded(&stage.store, &config);
    stage.topology.link(0).cut();
    let scope = LineageScope::new();
    send(&producer, &scope, record("late")).await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert!(scope.try_settled().is_none(), "{}", scope.lineage());
    stage.topology.link(0).heal();
    assert_eq!(placed(&scope).await.position, Position(1));
    assert_eq!(calls(producer, called).await, [("of late".to_owned(), Ok((0, 0)))]);
}

/// Its delivery may take minutes, to find out where it stands may not.
#[tokio::test]
async fn a_record_whose_place_nobody_tells_is_unplaced_before_long() {
    let stage = Stage::start().await;
    let mut config = stage.config();
    config.set("bootstrap.servers", stage.topology.bootstrap_through_links());
    let store = builder(&stage.topology).config(&config).build().unwrap();
    let _registry = registry(&store).await;
    let (producer, called) = threaded(&store, &stage.config());
    stage.topology.link(0).cut();
    let scope = LineageScope::new();
    send(&producer, &scope, record("hello")).await;
    let write = tokio::time::timeout(PATIENCE, placed(&scope)).await.unwrap();
    assert_eq!(write, WriteId::unplaced(name("orders")));
    assert_eq!(calls(producer, called).await, [("of hello".to_owned(), Ok((0, 0)))]);
}

#[tokio::test]
async fn a_record_that_never_left_is_no_write() {
    let stage = Stage::start().await;
    let (producer, called) = threaded(&stage.store, &stage.config());
    let scope = LineageScope::new();
    let large = "x".repeat(2 << 20);
    let refused = scope.run(async { producer.send(record(&large)) }).await;
    let (error, returned) = refused.unwrap_err();
    assert!(error.to_string().contains("could not queue"), "{error}");
    assert_eq!(returned.delivery_opaque.0, format!("of {large}"));
    assert_eq!(scope.settled().await, Lineage::new());
    // The driver refuses it at once if it has heard of the topic's partitions by now.
    let queued = scope.run(async { producer.send(record("astray").partition(99)) }).await.is_ok();
    assert_eq!(scope.settled().await, Lineage::new());
    let error = Err(Some(RDKafkaErrorCode::UnknownPartition));
    let told = queued.then(|| ("of astray".to_owned(), error));
    assert_eq!(calls(producer, called).await, Vec::from_iter(told));
}

#[tokio::test]
async fn outside_of_a_lineage_it_is_as_the_store_was_told() {
    let stage = Stage::start().await;
    let (producer, called) = threaded(&stage.store, &stage.config());
    let (error, returned) = producer.send(record("hello")).unwrap_err();
    assert!(error.is_missing(), "{error}");
    assert_eq!(returned.delivery_opaque.0, "of hello");
    assert_eq!(calls(producer, called).await, []);
    let store = builder(&stage.topology).on_missing(OnMissing::Ignore).build().unwrap();
    let (producer, called) = threaded(&store, &stage.config());
    producer.send(record("hello")).map_err(|(error, _)| error).unwrap();
    assert_eq!(store.missed(), 1);
    assert_eq!(calls(producer, called).await, [("of hello".to_owned(), Ok((0, 0)))]);
}

#[tokio::test]
async fn outside_of_a_runtime_a_record_is_unplaced() {
    let stage = Stage::start().await;
    let _registry = registry(&stage.store).await;
    let (producer, called) = threaded(&stage.store, &stage.config());
    let scope = LineageScope::new();
    let bound = producer.within(scope.clone());
    let sending = std::thread::spawn(move || bound.send(record("hello")).map_err(|(error, _)| error));
    sending.join().unwrap().unwrap();
    assert_eq!(placed(&scope).await, WriteId::unplaced(name("orders")));
    assert_eq!(calls(producer, called).await, [("of hello".to_owned(), Ok((0, 0)))]);
}

#[tokio::test]
async fn weak_acknowledgements_make_the_lineage_weak() {
    let stage = Stage::start().await;
    let store = builder(&stage.topology).weak_acks(WeakAcks::Mark).build().unwrap();
    let (producer, called) = threaded(&store, stage.config().set("acks", "1"));
    let scope = LineageScope::new();
    send(&producer, &scope, record("hello")).await;
    assert!(scope.settled().await.is_weak());
    assert_eq!(calls(producer, called).await.len(), 1);
    let refused = stage.store.threaded_producer(stage.config().set("acks", "1"));
    assert!(refused.err().unwrap().to_string().contains("acks=1"));
}

#[tokio::test]
async fn the_users_partitioner_chooses() {
    let stage = Stage::with(antipode_docker::KafkaOptions::default(), 3, 1, &[]).await;
    let _registry = registry(&stage.store).await;
    let (producer, called) = made(&stage.store, &stage.config(), Some(Last));
    let scope = LineageScope::new();
    send(&producer, &scope, record("hello")).await;
    assert_eq!(placed(&scope).await.shard, partition_shard(TOPIC, 2).unwrap());
    assert_eq!(calls(producer, called).await, [("of hello".to_owned(), Ok((2, 0)))]);
}
