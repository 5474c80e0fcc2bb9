//! What a change of the leader does to the records of a partition.

use std::time::Duration;

use antipode_docker::{KafkaOptions, KafkaTopology};

use crate::talk::{LIMIT, eventually, read, write};

async fn three() -> KafkaTopology {
    let topology = KafkaTopology::start(KafkaOptions::default().brokers(3)).await.unwrap();
    topology.create_topic("posts", 1, 3, &[("unclean.leader.election.enable", "true")]).await.unwrap();
    topology
}

#[tokio::test]
async fn what_all_acknowledged_survives_the_leader() {
    let topology = three().await;
    let all = topology.bootstrap();
    write(&all, "posts", "before", "all").await.unwrap();
    let first = topology.leader("posts", 0).await.unwrap().unwrap();
    let second = topology.fail_over("posts", 0).await.unwrap();
    assert_ne!(first, second);
    write(&all, "posts", "after", "all").await.unwrap();
    topology.broker(first).restart().await.unwrap();
    eventually("in sync again", async || topology.in_sync("posts", 0).await.unwrap().len() == 3).await;
    let third = topology.move_leader("posts", 0).await.unwrap();
    assert_ne!(second, third);
    assert_eq!(read(&all, "posts", 2, LIMIT).await, ["before", "after"]);
}

#[tokio::test]
async fn what_only_the_leader_acknowledged_is_cut_off_after_an_unclean_election() {
    let topology = three().await;
    let all = topology.bootstrap();
    write(&all, "posts", "kept", "all").await.unwrap();
    let leader = topology.leader("posts", 0).await.unwrap().unwrap();
    topology.replication(leader).cut();
    assert_eq!(write(&all, "posts", "lost", "1").await.unwrap(), 1);
    topology.fail_over("posts", 0).await.unwrap();
    // Its place in the log goes to another record.
    assert_eq!(write(&all, "posts", "in its place", "all").await.unwrap(), 1);
    topology.replication(leader).heal();
    topology.broker(leader).restart().await.unwrap();
    eventually("in sync again", async || topology.in_sync("posts", 0).await.unwrap().len() == 3).await;
    assert_eq!(read(&all, "posts", 3, Duration::from_secs(3)).await, ["kept", "in its place"]);
}

#[tokio::test]
async fn followers_held_back_hold_back_the_reader() {
    let topology =
        KafkaTopology::start(KafkaOptions::default().brokers(3).setting("replica.lag.time.max.ms", "60000"))
            .await
            .unwrap();
    topology.create_topic("posts", 1, 3, &[]).await.unwrap();
    let leader = topology.leader("posts", 0).await.unwrap().unwrap();
    topology.replication(leader).hang();
    write(&topology.bootstrap(), "posts", "held", "1").await.unwrap();
    let silence = Duration::from_secs(2);
    assert!(read(&topology.bootstrap(), "posts", 1, silence).await.is_empty());
    topology.replication(leader).heal();
    assert_eq!(read(&topology.bootstrap(), "posts", 1, LIMIT).await, ["held"]);
}
