//! A post is not replicated yet: what belongs to its notice waits, nothing else does.

use std::collections::BTreeSet;
use std::time::Duration;

use antipode_kafka::Keyless;
use futures_util::future::join_all;

use crate::doorway::{self, Doorway, handle, next, silence, until_committed, until_parked, value};

const HANDLERS: usize = 8;
const BACKLOG: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn other_keys_pass_a_stuck_one_and_its_own_stay_in_order() {
    let doorway = Doorway::open(1).await;
    doorway.posts.cut("eu").unwrap();
    doorway.post(0, "alice", "a1").await;
    doorway.notice(0, "alice", "a2").await;
    doorway.notice(0, "bob", "b1").await;
    doorway.notice(0, "carol", "c1").await;
    doorway.notice(0, "bob", "b2").await;
    let gate = doorway.gate().build().unwrap();
    let passed = handle(&gate, 3).await;
    assert_eq!(passed["bob"], ["b1", "b2"]);
    assert_eq!(passed["carol"], ["c1"]);
    assert_eq!(gate.parked(), 2);
    silence(&gate).await;
    assert!(!doorway.sees("a1").await);

    doorway.posts.heal("eu").unwrap();
    let delivery = next(&gate).await;
    assert!(delivery.has_waited() && !delivery.is_stale());
    assert_eq!(value(&delivery), "a1");
    assert!(doorway.sees("a1").await);
    // The next one of a key comes when the one before is done.
    silence(&gate).await;
    delivery.done();
    assert_eq!(handle(&gate, 1).await["alice"], ["a2"]);
    assert_eq!(gate.parked(), 0);
    gate.close().await.unwrap();
    assert_eq!(doorway.committed(0).await, Some(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_handler_that_waits_gets_one_of_the_records_that_come_free_together() {
    let doorway = Doorway::open(1).await;
    doorway.posts.cut("eu").unwrap();
    for at in 0..HANDLERS {
        doorway.post(0, &format!("key {at}"), &format!("p{at}")).await;
    }
    let gate = doorway.gate().build().unwrap();
    until_parked(&gate, HANDLERS).await;
    let heal = async {
        tokio::time::sleep(doorway::SILENCE / 10).await;
        doorway.posts.heal("eu").unwrap();
    };
    // None of them calls again.
    let (handed, ()) = tokio::join!(join_all((0..HANDLERS).map(|_| next(&gate))), heal);
    let values: BTreeSet<String> = handed.iter().map(|delivery| value(delivery)).collect();
    assert_eq!(values.len(), HANDLERS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_does_not_keep_a_record_that_has_come_free() {
    let doorway = Doorway::open(1).await;
    doorway.posts.cut("eu").unwrap();
    doorway.post(0, "alice", "a").await;
    for at in 0..BACKLOG {
        doorway.notice(0, "bob", &format!("b{at}")).await;
    }
    let gate = doorway.gate().build().unwrap();
    let first = next(&gate).await;
    until_parked(&gate, BACKLOG).await;
    doorway.posts.heal("eu").unwrap();
    first.done();
    let mut order = Vec::new();
    while order.len() < BACKLOG {
        let delivery = next(&gate).await;
        order.push(value(&delivery));
        // Replication takes a moment.
        tokio::time::sleep(Duration::from_millis(100)).await;
        delivery.done();
    }
    let at = order.iter().position(|value| value == "a").expect("it came");
    assert!(at < BACKLOG - 1, "{order:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_backlog_does_not_cost_the_place_in_the_group() {
    let doorway = Doorway::open(1).await;
    for at in 0..BACKLOG {
        doorway.notice(0, "bob", &format!("b{at}")).await;
    }
    let mut config = doorway.config();
    config.set("max.poll.interval.ms", "6000");
    let gate = doorway.gate().config(&config).build().unwrap();
    let first = next(&gate).await;
    until_parked(&gate, BACKLOG - 1).await;
    first.done();
    for at in 1..BACKLOG {
        let delivery = next(&gate).await;
        assert_eq!((value(&delivery), delivery.attempts()), (format!("b{at}"), 0));
        tokio::time::sleep(Duration::from_millis(500)).await;
        delivery.done();
    }
    gate.close().await.unwrap();
    assert_eq!(doorway.committed(0).await, Some(BACKLOG as i64));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commit_stands_at_the_first_record_that_is_not_done() {
    let doorway = Doorway::open(1).await;
    doorway.notice(0, "bob", "b1").await;
    doorway.posts.cut("eu").unwrap();
    doorway.post(0, "alice", "a1").await;
    doorway.notice(0, "bob", "b2").await;
    let gate = doorway.gate().commit_every(doorway::SILENCE / 5).build().unwrap();
    assert_eq!(handle(&gate, 2).await["bob"], ["b1", "b2"]);
    until_committed(&doorway, &gate, 0, 1).await;
    gate.close().await.unwrap();
    assert_eq!(doorway.committed(0).await, Some(1));

    // The next one in the group begins there.
    doorway.posts.heal("eu").unwrap();
    let gate = doorway.gate().build().unwrap();
    let again = handle(&gate, 2).await;
    assert_eq!((&again["alice"][..], &again["bob"][..]), (&["a1".into()][..], &["b2".into()][..]));
    gate.close().await.unwrap();
    assert_eq!(doorway.committed(0).await, Some(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_partition_is_paused_and_loses_nothing() {
    let doorway = Doorway::open(2).await;
    doorway.posts.cut("eu").unwrap();
    for at in 0..40 {
        doorway.post(0, &format!("key {}", at % 3), &format!("p{at}")).await;
    }
    let gate = doorway.gate().capacity(10).build().unwrap();
    until_parked(&gate, 10).await;
    silence(&gate).await;
    assert_eq!((gate.parked(), gate.paused()), (10, 1));
    // The other partition flows.
    doorway.notice(1, "bob", "b1").await;
    assert_eq!(handle(&gate, 1).await["bob"], ["b1"]);
    assert_eq!((gate.parked(), gate.paused()), (10, 1));

    doorway.posts.heal("eu").unwrap();
    let handled = handle(&gate, 40).await;
    for key in 0..3 {
        let expected: Vec<String> = (key..40).step_by(3).map(|at| format!("p{at}")).collect();
        assert_eq!(handled[&format!("key {key}")], expected);
    }
    assert_eq!((gate.parked(), gate.paused()), (0, 0));
    gate.close().await.unwrap();
    assert_eq!(doorway.committed(0).await, Some(40));
}

#[tokio::test(flavor = "multi_thread")]
async fn handling_does_not_run_ahead_of_a_stuck_record_without_end() {
    let doorway = Doorway::open(1).await;
    doorway.posts.cut("eu").unwrap();
    doorway.post(0, "alice", "a1").await;
    for at in 0..30 {
        doorway.notice(0, "bob", &format!("b{at}")).await;
    }
    let gate = doorway.gate().ahead(11).build().unwrap();
    assert_eq!(handle(&gate, 10).await["bob"].len(), 10);
    silence(&gate).await;
    assert_eq!((gate.parked(), gate.paused()), (1, 1));
    doorway.posts.heal("eu").unwrap();
    let handled = handle(&gate, 21).await;
    assert_eq!(handled["alice"], ["a1"]);
    assert_eq!(handled["bob"], (10..30).map(|at| format!("b{at}")).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn records_without_a_key_are_in_order_unless_they_are_independent() {
    let doorway = Doorway::open(1).await;
    doorway.posts.cut("eu").unwrap();
    let stuck = async {
        doorway.posts.shim().put("stuck", "hello").await.unwrap();
        doorway.send(0, None, "stuck").await;
    };
    antipode_lineage::LineageScope::new().run(stuck).await;
    antipode_lineage::LineageScope::new().run(doorway.send(0, None, "free")).await;
    let gate = doorway.gate().build().unwrap();
    until_parked(&gate, 2).await;
    silence(&gate).await;
    gate.close().await.unwrap();
    let gate = doorway.gate().keyless(Keyless::Independent).build().unwrap();
    assert_eq!(handle(&gate, 1).await[""], ["free"]);
    doorway.posts.heal("eu").unwrap();
    assert_eq!(handle(&gate, 1).await[""], ["stuck"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_was_dropped_comes_again_first() {
    let doorway = Doorway::open(1).await;
    for at in 1..=3 {
        doorway.notice(0, "alice", &format!("a{at}")).await;
    }
    let gate = doorway.gate().build().unwrap();
    for attempts in 0..3 {
        let delivery = next(&gate).await;
        assert_eq!((value(&delivery).as_str(), delivery.attempts()), ("a1", attempts));
        // In another task, as a handler that panics.
        drop(delivery.into_owned());
    }
    assert_eq!(handle(&gate, 3).await["alice"], ["a1", "a2", "a3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_recv_loses_nothing() {
    let doorway = Doorway::open(1).await;
    let gate = doorway.gate().build().unwrap();
    let sending = async {
        for at in 0..200 {
            match at % 2 {
                0 => doorway.notice(0, &format!("key {}", at % 5), &at.to_string()).await,
                _ => doorway.post(0, &format!("key {}", at % 5), &at.to_string()).await,
            }
        }
    };
    let receiving = async {
        let mut handled = Vec::new();
        let deadline = tokio::time::Instant::now() + doorway::LIMIT;
        while handled.len() < 200 {
            assert!(tokio::time::Instant::now() < deadline, "only {handled:?}");
            let patience = std::time::Duration::from_micros(300);
            if let Ok(delivery) = tokio::time::timeout(patience, gate.recv()).await {
                let delivery = delivery.unwrap();
                handled.push(value(&delivery).parse::<u32>().unwrap());
                delivery.done();
            }
        }
        handled
    };
    let (mut handled, ()) = futures_util::future::join(receiving, sending).await;
    handled.sort();
    assert_eq!(handled, (0..200).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_is_told_when_another_handler_is_done() {
    let doorway = Doorway::open(1).await;
    doorway.notice(0, "alice", "a1").await;
    doorway.notice(0, "alice", "a2").await;
    // Nothing else wakes it.
    let gate = doorway.gate().commit_every(doorway::LIMIT * 10).build().unwrap();
    let first = next(&gate).await.into_owned();
    let handler = async {
        tokio::time::sleep(doorway::SILENCE).await;
        first.done();
    };
    let (second, ()) = futures_util::future::join(next(&gate), handler).await;
    assert_eq!(value(&second), "a2");
}
