//! A replica takes over, the others follow it, the old primary comes back.

use antipode_docker::{Member, RedisNode, RedisOptions, RedisTopology, TopologyError};

use crate::ask::{command, eventually};

#[tokio::test]
async fn a_replica_takes_over_and_all_others_follow() {
    let topology = RedisTopology::start(RedisOptions::default()).await.unwrap();
    let old = topology.primary();
    set(old, 1).await;
    shows(topology.replica(0), 1).await;
    shows(topology.replica(1), 1).await;

    // Partitioned, the old primary takes a write that nobody else gets.
    topology.link(0).cut();
    topology.link(1).cut();
    set(old, 2).await;
    topology.promote(0).await.unwrap();
    let new = topology.replica(0);
    assert!(!new.is_replica().await.unwrap());
    assert!(!old.is_replica().await.unwrap(), "the old primary was left alone");
    set(new, 3).await;

    topology.link(1).heal();
    topology.follow(1, Member::Replica(0)).await.unwrap();
    shows(topology.replica(1), 3).await;
    lacks(topology.replica(1), 2).await;

    old.kill().await.unwrap();
    topology.rejoin_as_replica(Member::Primary, Member::Replica(0)).await.unwrap();
    assert!(old.is_replica().await.unwrap());
    shows(old, 3).await;
    lacks(old, 2).await;

    // Roles are kept over a restart.
    old.restart().await.unwrap();
    assert!(old.is_replica().await.unwrap());
    new.restart().await.unwrap();
    assert!(!new.is_replica().await.unwrap());

    // The second failover in a row.
    new.kill().await.unwrap();
    let error = topology.promote(0).await.unwrap_err();
    assert!(matches!(error, TopologyError::NotRunning { .. }), "{error}");
    topology.promote(1).await.unwrap();
    set(topology.replica(1), 4).await;
}

#[tokio::test]
async fn following_the_new_primary_is_a_partial_synchronisation() {
    let topology = RedisTopology::start(RedisOptions::default()).await.unwrap();
    set(topology.primary(), 1).await;
    shows(topology.replica(0), 1).await;
    shows(topology.replica(1), 1).await;
    topology.primary().kill().await.unwrap();
    topology.promote(0).await.unwrap();
    topology.follow(1, Member::Replica(0)).await.unwrap();
    let stats: String = command(&topology.replica(0).url(), "INFO stats").await.unwrap();
    assert!(stats.contains("sync_full:0\r\n"), "{stats}");
    assert!(stats.contains("sync_partial_ok:1\r\n"), "{stats}");
}

#[tokio::test]
async fn a_replica_of_a_replica() {
    let topology = RedisTopology::start(RedisOptions::default()).await.unwrap();
    topology.follow(1, Member::Replica(0)).await.unwrap();
    assert_eq!(topology.link(1).target(), topology.replica(0).addr());
    set(topology.primary(), 1).await;
    shows(topology.replica(1), 1).await;

    topology.link(0).cut();
    set(topology.primary(), 2).await;
    lacks(topology.replica(1), 2).await;
    topology.link(0).heal();
    shows(topology.replica(1), 2).await;

    let error = topology.promote(2).await.unwrap_err();
    assert!(matches!(error, TopologyError::NoSuchMember { member: Member::Replica(2) }), "{error}");
}

async fn set(node: &RedisNode, key: u32) {
    let () = command(&node.url(), &format!("SET {key} written")).await.unwrap();
}

async fn has(node: &RedisNode, key: u32) -> redis::RedisResult<bool> {
    command(&node.url(), &format!("EXISTS {key}")).await
}

async fn shows(node: &RedisNode, key: u32) {
    eventually(&format!("{key} at {}", node.name()), async || has(node, key).await).await;
}

async fn lacks(node: &RedisNode, key: u32) {
    assert!(!has(node, key).await.unwrap(), "{key} at {}", node.name());
}
