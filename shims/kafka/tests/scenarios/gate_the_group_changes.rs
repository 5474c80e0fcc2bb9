//! Consumers join and leave a group while records are parked and handled.

use std::collections::BTreeSet;
use std::time::Duration;

use antipode_kafka::Gate;

use crate::doorway::{Doorway, LIMIT, handle, next, until_committed, value};

/// Handles whatever comes, until two gates together have handled so many different stuck records.
async fn share(one: &Gate, other: &Gate, count: usize) -> Vec<(usize, String)> {
    let mut handled = Vec::new();
    let mut seen = BTreeSet::new();
    let deadline = tokio::time::Instant::now() + LIMIT;
    while seen.len() < count {
        assert!(tokio::time::Instant::now() < deadline, "only {handled:?}");
        for (at, gate) in [one, other].into_iter().enumerate() {
            if let Ok(delivery) = tokio::time::timeout(Duration::from_millis(20), gate.recv()).await {
                let delivery = delivery.unwrap();
                seen.extend(Some(value(&delivery)).filter(|value| value.ends_with(".stuck")));
                handled.push((at, value(&delivery)));
                delivery.done();
            }
        }
    }
    handled
}

async fn hands_over(strategy: &str) {
    let doorway = Doorway::open(4).await;
    for partition in 0..4 {
        for at in 0..5 {
            doorway.notice(partition, &format!("key {at}"), &format!("{partition}.{at}")).await;
        }
    }
    let mut config = doorway.config();
    config.set("partition.assignment.strategy", strategy);
    let gate = || doorway.gate().config(&config).commit_every(LIMIT).build().unwrap();
    let first = gate();
    assert_eq!(handle(&first, 20).await.values().map(Vec::len).sum::<usize>(), 20);
    // A handler is at work on this one when its partition goes.
    doorway.posts.cut("eu").unwrap();
    for partition in 0..4 {
        doorway.post(partition, "stuck", &format!("{partition}.stuck")).await;
        doorway.notice(partition, "free", &format!("{partition}.free")).await;
    }
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(next(&first).await.into_owned());
    }
    let second = gate();
    // Nothing was committed before the second one joined: what it gets begins where the first one was.
    let joined = async {
        while second.parked() == 0 {
            for gate in [&first, &second] {
                if let Ok(delivery) = tokio::time::timeout(Duration::from_millis(20), gate.recv()).await {
                    let delivery = delivery.unwrap();
                    assert!(value(&delivery).ends_with(".free"), "{}", value(&delivery));
                    held.push(delivery.into_owned());
                }
            }
        }
    };
    tokio::time::timeout(LIMIT, joined).await.expect("it never joined");
    for delivery in held {
        delivery.done();
    }
    doorway.posts.heal("eu").unwrap();
    let handled = share(&first, &second, 4).await;
    let stuck = handled.iter().filter(|(_, value)| value.ends_with(".stuck"));
    let by: BTreeSet<usize> = stuck.map(|(at, _)| *at).collect();
    assert_eq!(by, BTreeSet::from([0, 1]), "both have partitions");

    first.close().await.unwrap();
    // The second one takes all.
    for partition in 0..4 {
        doorway.notice(partition, "key 1", &format!("{partition}.last")).await;
    }
    let mut last = BTreeSet::new();
    while last.len() < 4 {
        let delivery = next(&second).await;
        if value(&delivery).ends_with(".last") {
            last.insert(value(&delivery));
        }
        delivery.done();
    }
    second.close().await.unwrap();
    for partition in 0..4 {
        assert_eq!(doorway.committed(partition).await, Some(8), "partition {partition}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_are_handed_over_where_they_stand() {
    hands_over("range").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_are_handed_over_one_by_one() {
    hands_over("cooperative-sticky").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_gate_leaves_what_it_did_not_handle() {
    let doorway = Doorway::open(1).await;
    for at in 0..6 {
        doorway.notice(0, &format!("key {}", at % 2), &at.to_string()).await;
    }
    let gate = doorway.gate().commit_every(Duration::from_millis(100)).build().unwrap();
    let first = next(&gate).await.into_owned();
    assert_eq!(value(&first), "0");
    assert_eq!(handle(&gate, 3).await["key 1"], ["1", "3", "5"]);
    first.done();
    assert_eq!(value(&next(&gate).await), "2");
    until_committed(&doorway, &gate, 0, 2).await;
    tokio::task::spawn_blocking(move || drop(gate)).await.unwrap();
    let gate = doorway.gate().build().unwrap();
    let again = handle(&gate, 4).await;
    assert_eq!(
        (&again["key 0"][..], &again["key 1"][..]),
        (&["2".into(), "4".into()][..], &["3".into(), "5".into()][..])
    );
}
