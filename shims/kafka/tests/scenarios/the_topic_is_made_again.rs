//! A topic is deleted and made again: same name, same offsets, other records.

use antipode_kafka::Visible;
use antipode_kafka::rdkafka::consumer::{CommitMode, Consumer};
use antipode_lineage::LineageScope;

use crate::stage::{self, PATIENCE, Stage, TOPIC, barrier, builder, receive, record, registry, written};

async fn made_again(stage: &Stage, records: usize) {
    stage.topology.delete_topic(TOPIC).await.unwrap();
    stage.topology.create_topic(TOPIC, 1, 1, &[]).await.unwrap();
    let other = builder(&stage.topology).build().unwrap();
    let producer = other.producer(&stage.config()).unwrap();
    for _ in 0..records {
        written(&producer, "new").await;
    }
}

#[tokio::test]
async fn a_record_of_the_deleted_topic_is_lost() {
    let stage = Stage::start().await;
    let before = registry(&stage.store).await;
    let [mut lost, at_start] = [written(&stage.producer(), "old").await; 2];
    barrier(&before, lost).await.unwrap();
    // Of an earlier leader, as far as anyone knows: the topic is gone with all its leaders' records.
    lost.epoch.term = at_start.epoch.term;
    made_again(&stage, 5).await;

    let error = barrier(&before, lost).await.unwrap_err();
    assert!(error.is_lost(), "the store had seen the topic: {error}");
    let after = registry(&builder(&stage.topology).build().unwrap()).await;
    let error = barrier(&after, lost).await.unwrap_err();
    assert!(error.is_indeterminate(), "a store that starts now has not: {error}");

    let producer = stage.producer();
    let scope = LineageScope::new();
    scope.run(producer.send(record("newer"), PATIENCE)).await.unwrap();
    let write = stage::placed(&scope).await;
    assert_ne!(write.epoch.history, lost.epoch.history, "the old store writes into the new topic");
    barrier(&before, write).await.unwrap();
    barrier(&after, write).await.unwrap();
}

/// What a consumer had come to in the old topic says nothing of the new one.
#[tokio::test]
async fn what_was_consumed_of_the_deleted_topic_does_not_count() {
    let stage = Stage::start().await;
    let delivered = stage.store(Visible::Delivered);
    let processed = stage.store(Visible::Processed { group: "mailer".into() });
    let producer = stage.producer();
    for _ in 0..9 {
        written(&producer, "old").await;
    }
    let consumer = stage.consumer(&delivered, "mailer");
    while receive(&consumer).await.1 < 8 {}
    let positions = consumer.position().unwrap();
    consumer.commit(&positions, CommitMode::Sync).unwrap();
    let (at_hand, done) = (registry(&delivered).await, registry(&processed).await);
    consumer.unsubscribe();
    made_again(&stage, 3).await;
    let other = builder(&stage.topology).build().unwrap();
    let write = written(&other.producer(&stage.config()).unwrap(), "new").await;
    for registry in [&at_hand, &done] {
        let error = stage::glance(registry, write).await;
        assert!(error.is_timeout(), "nobody consumed it: {error}");
    }
}
