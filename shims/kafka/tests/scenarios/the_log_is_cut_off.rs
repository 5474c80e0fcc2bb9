//! A leader dies with records that nobody else has: other records take their offsets.

use antipode_docker::KafkaOptions;
use antipode_kafka::{KafkaProducer, Visible, WeakAcks};
use antipode_lineage::{LineageScope, WriteId};

use crate::stage::{
    PATIENCE, Stage, TOPIC, barrier, builder, config, placed, receive, record, registry, written,
};

/// A producer that is satisfied with the leader's own copy.
fn careless(stage: &Stage) -> KafkaProducer {
    let store = builder(&stage.topology).weak_acks(WeakAcks::Mark).build().unwrap();
    store.producer(config(&stage.topology).set("acks", "1").set("linger.ms", "0")).unwrap()
}

async fn weak(producer: &KafkaProducer, payload: &str) -> WriteId {
    let scope = LineageScope::new();
    scope.run(producer.send(record(payload), PATIENCE)).await.unwrap();
    assert!(scope.lineage().is_weak(), "acks=1 is marked");
    placed(&scope).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_a_new_leader_does_not_have_is_lost() {
    let stage = Stage::with(KafkaOptions::default().brokers(3), 1, 3, &[]).await;
    let before = registry(&stage.store).await;
    let at_hand = registry(&stage.store(Visible::Delivered)).await;
    let kept = written(&stage.producer(), "kept").await;
    barrier(&before, kept).await.unwrap();
    let careless = careless(&stage);
    weak(&careless, "also kept").await;

    let leader = stage.topology.leader(TOPIC, 0).await.unwrap().unwrap();
    stage.topology.replication(leader).cut();
    let lost = weak(&careless, "lost").await;
    assert!(!lost.is_unplaced(), "{lost}");
    let waiting = tokio::spawn({
        let before = before.clone();
        async move { barrier(&before, lost).await }
    });
    stage.topology.fail_over(TOPIC, 0).await.unwrap();
    stage.topology.replication(leader).heal();

    // In its place, and past it.
    let fresh = builder(&stage.topology).build().unwrap();
    let producer = fresh.producer(&stage.config()).unwrap();
    let mut other = written(&producer, "other").await;
    while other.is_unplaced() || other.position <= lost.position {
        other = written(&producer, "other").await;
    }
    assert_ne!(other.epoch, lost.epoch);
    let after = registry(&fresh).await;
    for (registry, whose) in [(&before, "who was there before"), (&after, "who starts now")] {
        let error = barrier(registry, lost).await.unwrap_err();
        assert!(error.is_lost(), "{whose}: {error}");
        barrier(registry, kept).await.unwrap();
        barrier(registry, other).await.unwrap();
    }
    let error = waiting.await.unwrap().unwrap_err();
    assert!(error.is_lost() || error.is_timeout(), "it ended a wait under way: {error}");
    let error = barrier(&at_hand, lost).await.unwrap_err();
    assert!(error.is_lost(), "delivered or not: {error}");

    let consumer = stage.consumer(&fresh, "mailer");
    for expected in ["kept", "also kept"] {
        assert_eq!(receive(&consumer).await.0, expected);
    }
    assert_eq!(receive(&consumer).await.0, "other", "the record is really gone");
}
