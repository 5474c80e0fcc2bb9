//! Leaders change in good order, or stand still: nothing is lost, and nobody waits for ever.

use antipode_docker::KafkaOptions;
use antipode_kafka::Visible;
use antipode_lineage::Lineage;

use crate::stage::{MOMENT, PATIENCE, Stage, TOPIC, barrier, builder, receive, registry, written};

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_goes_on_over_a_change_of_leaders() {
    let stage = Stage::with(KafkaOptions::default().brokers(3), 1, 3, &[("min.insync.replicas", "2")]).await;
    let delivered = stage.store(Visible::Delivered);
    let (available, at_hand) = (registry(&stage.store).await, registry(&delivered).await);
    let producer = stage.producer();
    let old = written(&producer, "before").await;
    let waiting = tokio::spawn({
        let at_hand = at_hand.clone();
        async move { barrier(&at_hand, old).await }
    });
    while at_hand.waiting() == 0 {
        tokio::time::sleep(MOMENT / 10).await;
    }
    stage.topology.move_leader(TOPIC, 0).await.unwrap();
    let new = written(&producer, "after").await;
    assert!(!waiting.is_finished(), "nobody has got the record yet");

    let consumer = stage.consumer(&delivered, "mailer");
    receive(&consumer).await;
    waiting.await.unwrap().unwrap();
    barrier(&available, old).await.unwrap();
    receive(&consumer).await;
    // The writer may not know in whose time it was acknowledged: then it says so.
    for registry in [&available, &at_hand] {
        match barrier(registry, new).await {
            Ok(_) => {}
            Err(error) => assert!(new.is_unplaced() && error.is_indeterminate(), "{new}: {error}"),
        }
    }
    let placed = written(&producer, "later").await;
    assert!(placed.epoch.term > old.epoch.term && !placed.is_unplaced(), "{placed} after {old}");
    barrier(&available, placed).await.unwrap();
    let fresh = registry(&builder(&stage.topology).build().unwrap()).await;
    barrier(&fresh, old).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_stands_still_costs_no_more_than_the_deadline() {
    let stage = Stage::start().await;
    let registry = registry(&stage.store).await;
    let write = written(&stage.producer(), "hello").await;
    stage.topology.broker(0).pause().await.unwrap();
    let unseen = Lineage::from(antipode_lineage::WriteId {
        position: antipode_lineage::Position(write.position.0 + 1),
        ..write
    });
    let ended = tokio::time::timeout(PATIENCE, registry.barrier_on(&unseen).deadline(MOMENT).into_future());
    let error = ended.await.expect("it has a deadline").unwrap_err();
    assert!(error.is_timeout() || error.is_store_down(), "{error}");
    stage.topology.broker(0).resume().await.unwrap();
    barrier(&registry, write).await.unwrap();
}

/// It answers nobody, so who leads now must be learnt from the others.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_stands_still_is_replaced() {
    // However busy the machine is, the followers stay among those who may lead.
    let options = KafkaOptions::default().brokers(3).setting("replica.lag.time.max.ms", "30000");
    let stage = Stage::with(options, 1, 3, &[]).await;
    let registry = registry(&stage.store).await;
    let producer = stage.producer();
    barrier(&registry, written(&producer, "hello").await).await.unwrap();
    // Not seen by any barrier yet.
    let write = written(&producer, "hello again").await;
    let leader = stage.topology.leader(TOPIC, 0).await.unwrap().unwrap();
    stage.topology.broker(leader).pause().await.unwrap();
    barrier(&registry, write).await.unwrap();
    stage.topology.broker(leader).resume().await.unwrap();
}
