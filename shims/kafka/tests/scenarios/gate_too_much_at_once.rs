//! More waits at a gate than the registry lets wait, and more than is looked at in one go.

use antipode_barrier::Registry;
use antipode_kafka::{Gate, OnLate};

use crate::doorway::{Doorway, LIMIT, TOPIC, handle, next, silence, until_parked, value};

/// More than are parked until others get their turn.
const MANY: usize = 150;

#[tokio::test(flavor = "multi_thread")]
async fn a_barrier_that_was_refused_because_too_many_wait_is_put_off_and_its_record_not_late() {
    let doorway = Doorway::open(1).await;
    doorway.posts.cut("eu").unwrap();
    for at in 0..3 {
        doorway.post(0, &format!("key {at}"), &format!("p{at}")).await;
    }
    let read = doorway.posts.reading_from(["eu"]).unwrap();
    let registry = Registry::builder().store(read).max_waiting(1).build().await.unwrap();
    let gate = Gate::builder(&doorway.notices, &registry).config(&doorway.config()).topics([TOPIC]);
    let gate = gate.deadline(LIMIT).on_late(OnLate::Deliver).build().unwrap();
    until_parked(&gate, 3).await;
    silence(&gate).await;
    doorway.posts.heal("eu").unwrap();
    for _ in 0..3 {
        let delivery = next(&gate).await;
        assert!(!delivery.is_stale(), "{}: {:?}", value(&delivery), delivery.missing());
        delivery.done();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_once_gets_what_stands_behind_many_that_are_parked() {
    let doorway = Doorway::open(1).await;
    doorway.posts.cut("eu").unwrap();
    for at in 0..MANY {
        doorway.post(0, &format!("key {at}"), &format!("p{at}")).await;
    }
    doorway.notice(0, "bob", "free").await;
    // Nothing else wakes it.
    let gate = doorway.gate().commit_every(LIMIT * 10).build().unwrap();
    let delivery = next(&gate).await;
    assert_eq!((value(&delivery).as_str(), gate.parked()), ("free", MANY));
    delivery.done();
    doorway.posts.heal("eu").unwrap();
    assert_eq!(handle(&gate, MANY).await.len(), MANY);
}
