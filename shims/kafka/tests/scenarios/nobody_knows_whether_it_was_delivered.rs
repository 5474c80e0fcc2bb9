//! A record whose delivery was never heard of may be there: it is depended on, wherever it stands.

use antipode_barrier::OnMissing;
use antipode_kafka::KafkaProducer;
use antipode_kafka::rdkafka::producer::FutureRecord;
use antipode_lineage::{Epoch, Lineage, LineageScope, WriteId};

use crate::stage::{MOMENT, PATIENCE, Stage, TOPIC, builder, name, placed, record, registry, written};

fn hasty(stage: &Stage) -> KafkaProducer {
    let mut config = stage.config();
    stage.store.producer(config.set("message.timeout.ms", "1500")).unwrap()
}

#[tokio::test]
async fn a_record_that_timed_out_is_unplaced_in_its_partition() {
    let stage = Stage::start().await;
    let producer = hasty(&stage);
    let earlier = written(&producer, "hello").await;
    stage.topology.broker(0).pause().await.unwrap();
    let scope = LineageScope::new();
    let outcome = scope.run(producer.send(record("lost?").partition(0), PATIENCE)).await;
    stage.topology.broker(0).resume().await.unwrap();
    assert!(outcome.unwrap_err().is_send());
    let write = placed(&scope).await;
    assert_eq!(write, WriteId::unplaced_in(write.store, earlier.shard, earlier.epoch));
    registry(&stage.store).await.barrier_on(&write.into()).await.unwrap();
}

#[tokio::test]
async fn a_send_dropped_half_way_is_not_forgotten() {
    let stage = Stage::start().await;
    let producer = hasty(&stage);
    written(&producer, "hello").await;
    stage.topology.broker(0).pause().await.unwrap();
    let [sent, queued] = [LineageScope::new(), LineageScope::new()];
    let sending = sent.run(producer.send(record("dropped"), PATIENCE));
    assert!(tokio::time::timeout(MOMENT, sending).await.is_err());
    let delivering = queued.run(async { producer.send_result(record("dropped")) }).await;
    assert!(queued.lineage().is_empty(), "it may arrive yet");
    drop(delivering.map_err(|(error, _)| error).unwrap());
    stage.topology.broker(0).resume().await.unwrap();
    for scope in [sent, queued] {
        let write = placed(&scope).await;
        assert!(write.is_unplaced() && write.store == name("orders"), "{write}");
    }
}

/// It never left, so nobody needs to wait for it.
#[tokio::test]
async fn a_record_that_the_driver_refuses_is_no_write() {
    let stage = Stage::start().await;
    let producer = stage.producer();
    let scope = LineageScope::new();
    let large = "x".repeat(2 << 20);
    let outcome = scope.run(producer.send(record(&large), PATIENCE)).await;
    assert!(outcome.unwrap_err().is_send());
    let queued = scope.run(async { producer.send_result(record(&large)).err() }).await;
    assert!(queued.is_some());
    assert_eq!(scope.settled().await, Lineage::new());
}

#[tokio::test]
async fn a_producer_that_never_saw_the_log_places_nothing() {
    let stage = Stage::start().await;
    let producer = builder(&stage.topology).build().unwrap().producer(&stage.config()).unwrap();
    let scope = LineageScope::new();
    // Unlike `send`, this cannot look at the log first.
    let delivering = scope.run(async { producer.send_result(record("first")) }).await;
    delivering.map_err(|(error, _)| error).unwrap().await.unwrap();
    assert_eq!(placed(&scope).await.epoch, Epoch::UNKNOWN);
    assert!(!written(&producer, "second").await.is_unplaced());
}

#[tokio::test]
async fn outside_of_a_lineage_it_is_as_the_store_was_told() {
    let stage = Stage::start().await;
    let error = stage.producer().send(record("hello"), PATIENCE).await.unwrap_err();
    assert!(error.is_missing(), "{error}");
    let store = builder(&stage.topology).on_missing(OnMissing::Ignore).build().unwrap();
    let producer = store.producer(&stage.config()).unwrap();
    producer.send(record("hello"), PATIENCE).await.unwrap();
    assert_eq!(store.missed(), 1);
    let scope = LineageScope::new();
    producer.within(scope.clone()).send(record("hello"), PATIENCE).await.unwrap();
    assert!(!placed(&scope).await.is_unplaced());
}

/// Nobody can wait for it here.
#[tokio::test]
async fn a_record_of_a_topic_that_is_not_covered_is_unplaced() {
    let stage = Stage::start().await;
    stage.topology.create_topic("other", 1, 1, &[]).await.unwrap();
    let scope = LineageScope::new();
    let stray = FutureRecord::<str, str>::to("other").payload("hello");
    scope.run(stage.producer().send(stray, PATIENCE)).await.unwrap();
    assert_eq!(placed(&scope).await, WriteId::unplaced(name("orders")));
    assert_ne!(TOPIC, "other");
}

#[tokio::test]
async fn a_store_without_its_topic_is_refused() {
    let stage = Stage::start().await;
    let store = builder(&stage.topology).topic("missing").build().unwrap();
    let refused = antipode_barrier::Registry::builder().store(store).build().await.map(|_| ());
    let error = refused.unwrap_err().to_string();
    assert!(error.contains("missing") && error.contains("create it"), "{error}");
}
