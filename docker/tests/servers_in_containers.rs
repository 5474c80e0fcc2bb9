//! The topologies on the Docker engine: the same nodes, links and faults as with processes.
//!
//! Ignored without an engine; `docker/test` runs them where one answers.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod ask;
mod documents;

use std::time::Duration;

use antipode_docker::{
    Member, MongoOptions, MongoTopology, PostgresNode, PostgresOptions, PostgresTopology, Provider,
    RedisNode, RedisOptions, RedisTopology,
};
use ask::{command, eventually, run, sql};

#[tokio::test]
#[ignore = "needs a Docker engine"]
async fn a_redis_replica_is_cut_off_frozen_and_takes_over() {
    let topology = redis(2).await;
    let old = topology.primary();
    let address = old.addr();
    set(old, 1).await;
    shows(topology.replica(0), 1).await;
    shows(topology.replica(1), 1).await;

    // The links are between them.
    topology.link(0).cut();
    set(old, 2).await;
    shows(topology.replica(1), 2).await;
    assert!(!has(topology.replica(0), 2).await.unwrap());
    topology.link(0).heal();
    shows(topology.replica(0), 2).await;

    // Frozen, it answers nothing; to freeze or to thaw it twice is no error.
    topology.replica(0).pause().await.unwrap();
    topology.replica(0).pause().await.unwrap();
    assert!(topology.replica(0).is_running());
    let asked = tokio::time::timeout(Duration::from_millis(300), has(topology.replica(0), 2)).await;
    assert!(asked.is_err() || asked.unwrap().is_err(), "a frozen server has answered");
    topology.replica(0).resume().await.unwrap();
    topology.replica(0).resume().await.unwrap();
    shows(topology.replica(0), 2).await;

    old.kill().await.unwrap();
    assert!(!old.is_running());
    topology.promote(0).await.unwrap();
    topology.follow(1, Member::Replica(0)).await.unwrap();
    set(topology.replica(0), 3).await;
    shows(topology.replica(1), 3).await;

    topology.rejoin_as_replica(Member::Primary, Member::Replica(0)).await.unwrap();
    assert_eq!(old.addr(), address);
    assert!(old.is_replica().await.unwrap());
    shows(old, 3).await;

    // Settings and roles are kept over a restart.
    topology.replica(0).set_setting("maxmemory", "50mb").await.unwrap();
    topology.replica(0).restart().await.unwrap();
    let (_, kept): (String, String) =
        command(&topology.replica(0).url(), "CONFIG GET maxmemory").await.unwrap();
    assert_eq!(kept, "52428800");
}

#[tokio::test]
#[ignore = "needs a Docker engine"]
async fn a_frozen_server_can_be_killed_and_stopped() {
    let topology = redis(1).await;
    topology.primary().pause().await.unwrap();
    topology.primary().kill().await.unwrap();
    let error = topology.primary().pause().await.unwrap_err();
    assert!(error.to_string().contains("not running"), "{error}");
    topology.replica(0).pause().await.unwrap();
    topology.replica(0).stop().await.unwrap();
    assert!(!topology.replica(0).is_running());
    topology.primary().restart().await.unwrap();
    set(topology.primary(), 1).await;
}

#[tokio::test]
#[ignore = "needs a Docker engine"]
async fn a_postgres_standby_lags_and_takes_over() {
    let options = PostgresOptions::default().standbys(2).provider(Provider::Containers);
    let topology = PostgresTopology::start(options).await.unwrap();
    let old = topology.primary();
    let address = old.addr();
    run(&old.url(), "CREATE TABLE posts (key int)").await.unwrap();
    run(&old.url(), "INSERT INTO posts VALUES (1)").await.unwrap();
    posts_are(topology.standby(0), 1).await;
    posts_are(topology.standby(1), 1).await;

    topology.link(0).cut();
    run(&old.url(), "INSERT INTO posts VALUES (2)").await.unwrap();
    posts_are(topology.standby(1), 2).await;
    assert_eq!(posts(topology.standby(0)).await.unwrap(), 1);
    topology.link(0).heal();
    posts_are(topology.standby(0), 2).await;

    topology.standby(1).stop().await.unwrap();
    topology.standby(1).restart().await.unwrap();
    posts_are(topology.standby(1), 2).await;

    old.kill().await.unwrap();
    topology.promote(0).await.unwrap();
    topology.follow(1, Member::Replica(0)).await.unwrap();
    run(&topology.standby(0).url(), "INSERT INTO posts VALUES (3)").await.unwrap();
    posts_are(topology.standby(1), 3).await;
    topology.rejoin_as_standby(Member::Primary, Member::Replica(0)).await.unwrap();
    assert_eq!(old.addr(), address);
    posts_are(old, 3).await;
}

#[tokio::test]
#[ignore = "needs a Docker engine"]
async fn a_server_that_does_not_start_says_why() {
    let options = RedisOptions::default().provider(Provider::Containers).setting("maxmemory", "nonsense");
    let error = RedisTopology::start(options).await.unwrap_err();
    assert!(error.to_string().contains("maxmemory"), "{error}");
}

#[tokio::test]
#[ignore = "needs a Docker engine"]
async fn a_mongodb_write_that_was_cut_off_is_rolled_back() {
    let options = MongoOptions::default().provider(Provider::Containers);
    let topology = MongoTopology::start(options).await.unwrap();
    documents::put_for_good(&topology, 1).await;
    documents::shows(topology.replica(0), 1).await;
    // The one that is to be elected last: nobody may have more than it.
    for index in [1, 0] {
        topology.link(index).hang();
    }
    documents::put(topology.url(), 2).await.unwrap();
    topology.primary().kill().await.unwrap();
    for index in [0, 1] {
        topology.link(index).cut();
        topology.link(index).heal();
    }
    topology.promote(0).await.unwrap();
    documents::put_for_good(&topology, 3).await;
    topology.rejoin(Member::Primary).await.unwrap();
    documents::shows(topology.primary(), 3).await;
    assert!(!documents::has(topology.primary(), 2).await);
}

async fn redis(replicas: usize) -> RedisTopology {
    let options = RedisOptions::default().replicas(replicas).provider(Provider::Containers);
    RedisTopology::start(options).await.unwrap()
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

async fn posts(node: &PostgresNode) -> sqlx::Result<i64> {
    sql(&node.url(), "SELECT count(*) FROM posts").await
}

async fn posts_are(node: &PostgresNode, count: i64) {
    eventually(&format!("{count} posts at {}", node.name()), async || {
        posts(node).await.map(|posts| posts == count)
    })
    .await;
}
