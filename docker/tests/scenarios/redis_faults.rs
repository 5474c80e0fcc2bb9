//! Replication, and what pausing, killing and partitioning a Redis does to it.

use std::time::{Duration, Instant};

use antipode_docker::{RedisNode, RedisOptions, RedisTopology, TopologyError};
use tokio::time::timeout;

use crate::ask::{command, eventually};

#[tokio::test]
async fn replicas_replicate_with_the_chosen_lag_and_settings() {
    let options = RedisOptions::default().setting("maxmemory", "100mb").setting("save", "3600 1 300 100");
    let topology = RedisTopology::start(options).await.unwrap();
    assert_eq!(topology.replicas().len(), 2);
    for node in [topology.primary(), topology.replica(0), topology.replica(1)] {
        let (_, setting): (String, String) = command(&node.url(), "CONFIG GET maxmemory").await.unwrap();
        assert_eq!(setting, "104857600", "{}", node.name());
        assert_eq!(node.url(), format!("redis://127.0.0.1:{}/", node.port()));
    }
    assert!(!topology.primary().is_replica().await.unwrap());
    assert!(topology.replica(1).is_replica().await.unwrap());

    const LAG: Duration = Duration::from_millis(300);
    topology.link(0).set_delay_to_client(LAG);
    let begun = Instant::now();
    set(topology.primary(), 1).await;
    shows(topology.replica(1), 1).await;
    shows(topology.replica(0), 1).await;
    assert!(begun.elapsed() >= LAG, "visible after {:?}", begun.elapsed());
}

#[tokio::test]
async fn a_partitioned_replica_catches_up_with_the_missing_part() {
    let topology = RedisTopology::start(RedisOptions::default()).await.unwrap();
    let full = full_synchronisations(topology.primary()).await;
    topology.link(0).cut();
    set(topology.primary(), 1).await;
    shows(topology.replica(1), 1).await;
    assert!(!has(topology.replica(0), 1).await.unwrap());
    topology.link(0).heal();
    shows(topology.replica(0), 1).await;

    topology.link(0).hang();
    set(topology.primary(), 2).await;
    shows(topology.replica(1), 2).await;
    assert!(!has(topology.replica(0), 2).await.unwrap());
    topology.link(0).heal();
    shows(topology.replica(0), 2).await;

    // Within a command of the replication stream, over and over.
    for key in 3..10 {
        topology.link(0).reset_after(20);
        set(topology.primary(), key).await;
    }
    shows(topology.replica(0), 9).await;
    assert_eq!(full_synchronisations(topology.primary()).await, full);
}

#[tokio::test]
async fn a_paused_server_accepts_and_does_not_answer() {
    let topology = RedisTopology::start(RedisOptions::default().replicas(1)).await.unwrap();
    let replica = topology.replica(0);
    replica.pause().await.unwrap();
    assert!(replica.is_running());
    assert!(timeout(Duration::from_millis(300), has(replica, 1)).await.is_err(), "it answered");
    set(topology.primary(), 1).await;
    replica.resume().await.unwrap();
    shows(replica, 1).await;

    // A frozen server can be stopped and killed.
    replica.pause().await.unwrap();
    replica.stop().await.unwrap();
    assert!(!replica.is_running());
    replica.restart().await.unwrap();
    replica.pause().await.unwrap();
    replica.kill().await.unwrap();
    assert!(!replica.is_running());
    for error in [replica.pause().await.unwrap_err(), replica.is_replica().await.unwrap_err()] {
        assert!(matches!(error, TopologyError::NotRunning { .. }), "{error}");
        assert!(error.to_string().contains("redis replica-0 is not running"), "{error}");
    }
    replica.restart().await.unwrap();
    shows(replica, 1).await;
}

#[tokio::test]
async fn servers_come_back_with_their_port_and_role() {
    let topology = RedisTopology::start(RedisOptions::default().replicas(1)).await.unwrap();
    for node in [topology.replica(0), topology.primary()] {
        let url = node.url();
        let replica = node.is_replica().await.unwrap();
        set(topology.primary(), 1).await;
        for way in ["restart", "stop", "kill"] {
            match way {
                "stop" => node.stop().await.unwrap(),
                "kill" => node.kill().await.unwrap(),
                _ => {}
            }
            assert_eq!(node.is_running(), way == "restart");
            node.restart().await.unwrap();
            assert_eq!(node.url(), url);
            assert_eq!(node.is_replica().await.unwrap(), replica);
            // Nothing is persisted: a replica gets everything again, a primary has lost it.
            match replica {
                true => shows(node, 1).await,
                false => assert!(!has(node, 1).await.unwrap()),
            }
        }
    }
    // And they still replicate.
    set(topology.primary(), 2).await;
    shows(topology.replica(0), 2).await;
}

#[tokio::test]
async fn a_primary_keeps_its_data_if_it_is_told_to() {
    let options = RedisOptions::default().replicas(0).setting("appendonly", "yes");
    let topology = RedisTopology::start(options).await.unwrap();
    set(topology.primary(), 1).await;
    topology.primary().restart().await.unwrap();
    shows(topology.primary(), 1).await;
}

#[tokio::test]
async fn settings_can_be_changed() {
    let topology = RedisTopology::start(RedisOptions::default().replicas(0)).await.unwrap();
    let primary = topology.primary();
    primary.set_setting("maxmemory", "50mb").await.unwrap();
    primary.restart().await.unwrap();
    let (_, setting): (String, String) = command(&primary.url(), "CONFIG GET maxmemory").await.unwrap();
    assert_eq!(setting, "52428800");
    let error = primary.set_setting("no-such-setting", "1").await.unwrap_err();
    assert!(matches!(error, TopologyError::Client { .. }), "{error}");
}

#[tokio::test]
async fn a_server_that_does_not_start_says_why() {
    let options = RedisOptions::default().replicas(0).setting("maxmemory", "much");
    let error = RedisTopology::start(options).await.unwrap_err();
    assert!(matches!(error, TopologyError::Exited { .. }), "{error}");
    let message = error.to_string();
    assert!(message.contains("redis primary") && message.contains("maxmemory"), "{message}");
    assert!(!message.contains('\n'), "{message}");
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

async fn full_synchronisations(node: &RedisNode) -> String {
    let stats: String = command(&node.url(), "INFO stats").await.unwrap();
    stats.lines().find(|line| line.starts_with("sync_full:")).unwrap().to_owned()
}
