//! A post does not become visible in time, or never: the caller has chosen what happens.

use std::time::Duration;

use antipode_kafka::rdkafka::message::{Header, OwnedHeaders};
use antipode_kafka::rdkafka::producer::FutureRecord;
use antipode_kafka::{DEAD_LETTER_HEADER, Gate, KafkaStore, LINEAGE_HEADER, OnLate};
use antipode_lineage::Lineage;

use crate::doorway::{Doorway, LIMIT, TOPIC, handle, next, silence, until_parked, value};

const SOON: Duration = Duration::from_millis(300);

async fn stuck() -> Doorway {
    let doorway = Doorway::open(1).await;
    doorway.posts.cut("eu").unwrap();
    doorway.post(0, "alice", "a1").await;
    doorway.notice(0, "alice", "a2").await;
    doorway
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_delivered_and_marked_stale() {
    let doorway = stuck().await;
    let gate = doorway.gate().deadline(SOON).on_late(OnLate::Deliver).build().unwrap();
    let delivery = next(&gate).await;
    assert_eq!(value(&delivery), "a1");
    assert!(delivery.is_stale() && delivery.missing().unwrap().is_timeout());
    assert!(delivery.scope().lineage().is_weak());
    delivery.done();
    let delivery = next(&gate).await;
    assert!(value(&delivery) == "a2" && !delivery.is_stale() && !delivery.scope().lineage().is_weak());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_waited_for_its_turn_only_is_not_late() {
    let doorway = Doorway::open(1).await;
    doorway.post(0, "alice", "a1").await;
    doorway.post(0, "alice", "a2").await;
    let gate = doorway.gate().deadline(SOON).on_late(OnLate::Deliver).build().unwrap();
    let first = next(&gate).await;
    until_parked(&gate, 1).await;
    // Its deadline passes, and what was known of the replica is forgotten.
    tokio::time::sleep(SOON * 3).await;
    first.done();
    let second = next(&gate).await;
    assert!(value(&second) == "a2" && !second.is_stale(), "{:?}", second.missing());
}

#[tokio::test(flavor = "multi_thread")]
async fn it_fails_and_stays_the_first_of_its_key() {
    let doorway = stuck().await;
    let gate = doorway.gate().deadline(SOON).build().unwrap();
    for _ in 0..2 {
        let error = tokio::time::timeout(LIMIT, gate.recv()).await.unwrap().unwrap_err();
        assert!(error.is_late(), "{error}");
        assert!(error.to_string().contains("notices [0] @0"), "{error}");
        assert_eq!(gate.parked(), 2);
    }
    doorway.posts.heal("eu").unwrap();
    assert_eq!(handle(&gate, 2).await["alice"], ["a1", "a2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_goes_to_the_dead_letters_as_it_is() {
    let doorway = stuck().await;
    doorway.topology.create_topic("late", 1, 1, &[]).await.unwrap();
    let gate = doorway.gate().deadline(SOON).on_late(OnLate::DeadLetter("late".into())).build().unwrap();
    assert_eq!(handle(&gate, 1).await["alice"], ["a2"]);
    gate.close().await.unwrap();
    assert_eq!(doorway.committed(0).await, Some(2));

    // Whoever looks after the letters waits like any other.
    let letters = Gate::builder(&doorway.notices, &doorway.registry);
    let letters = letters.config(&doorway.config()).topics(["late"]).deadline(LIMIT).build().unwrap();
    until_parked(&letters, 1).await;
    doorway.posts.heal("eu").unwrap();
    let letter = next(&letters).await;
    assert_eq!((letter.key(), value(&letter).as_str()), (Some(&b"alice"[..]), "a1"));
    let headers = letter.headers();
    let (_, reason) = headers.iter().find(|(name, _)| *name == DEAD_LETTER_HEADER).unwrap();
    let reason = String::from_utf8(reason.unwrap().to_vec()).unwrap();
    assert!(reason.starts_with("notices [0] @0: ") && reason.contains("posts"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_topic_for_dead_letters_it_is_kept() {
    let doorway = stuck().await;
    let gate = doorway.gate().deadline(SOON).on_late(OnLate::DeadLetter("missing".into())).build().unwrap();
    let error = tokio::time::timeout(LIMIT, gate.recv()).await.unwrap().unwrap_err();
    assert!(error.to_string().contains("no dead letter"), "{error}");
    doorway.posts.heal("eu").unwrap();
    assert_eq!(handle(&gate, 2).await["alice"], ["a1", "a2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_is_not_waited_for() {
    let doorway = stuck().await;
    // The replica becomes the primary without the post.
    doorway.posts.fail_over("eu").unwrap();
    let registry = antipode_barrier::Registry::builder().store(doorway.posts.reading_from(["eu"]).unwrap());
    let registry = registry.build().await.unwrap();
    let gate = Gate::builder(&doorway.notices, &registry).config(&doorway.config()).topics([TOPIC]);
    // The test itself has less patience than this.
    let gate = gate.deadline(LIMIT * 10).on_late(OnLate::Deliver).build().unwrap();
    let delivery = next(&gate).await;
    assert!(delivery.missing().unwrap().is_lost(), "{:?}", delivery.missing());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poisoned_header_waits_for_all_that_the_primary_has() {
    let doorway = Doorway::open(1).await;
    doorway.posts.cut("eu").unwrap();
    doorway.posts.shim().put("post", "hello").await.unwrap();
    let poison = OwnedHeaders::new().insert(Header { key: LINEAGE_HEADER, value: Some("1.poison") });
    let record = FutureRecord::to(TOPIC).payload("p").key("alice").headers(poison).partition(0);
    doorway.producer.inner().send(record, LIMIT).await.unwrap();
    doorway.notice(0, "bob", "b").await;
    let gate = doorway.gate().build().unwrap();
    assert_eq!(handle(&gate, 1).await["bob"], ["b"]);
    silence(&gate).await;
    doorway.posts.heal("eu").unwrap();
    let delivery = next(&gate).await;
    assert_eq!(value(&delivery), "p");
    assert_eq!(*delivery.lineage(), Lineage::everything());
    assert!(doorway.sees("post").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_stores_that_the_handler_reads_are_waited_for() {
    let doorway = stuck().await;
    let gate = doorway.gate().stores(["comments".parse().unwrap()]).build().unwrap();
    assert_eq!(handle(&gate, 2).await["alice"], ["a1", "a2"]);
}

#[tokio::test]
async fn a_configuration_that_would_lose_records_is_refused() {
    let registry = antipode_barrier::Registry::builder().build().await.unwrap();
    let mut config = antipode_kafka::rdkafka::ClientConfig::new();
    config.set("bootstrap.servers", "127.0.0.1:1").set("group.id", "readers");
    let store = KafkaStore::builder(TOPIC).topic(TOPIC).config(&config).build().unwrap();
    let refused = |config: &antipode_kafka::rdkafka::ClientConfig| {
        let gate = Gate::builder(&store, &registry).config(config).topics([TOPIC]).build();
        gate.unwrap_err().to_string()
    };
    for setting in ["enable.auto.commit", "enable.auto.offset.store"] {
        let message = refused(config.clone().set(setting, "true"));
        assert!(message.contains(setting) && message.contains("notices"), "{message}");
        let gate = Gate::builder(&store, &registry).config(config.clone().set(setting, "false"));
        assert!(gate.topics([TOPIC]).build().is_ok());
    }
    assert!(refused(config.clone().set("group.id", "")).contains("group.id"));
    let message = Gate::builder(&store, &registry).config(&config).build().unwrap_err().to_string();
    assert!(message.contains(".topics(..)"), "{message}");
}
