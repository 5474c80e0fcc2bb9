//! A standby takes over, the others follow it, the old primary comes back.

use antipode_docker::{Member, PostgresNode, PostgresOptions, PostgresTopology, TopologyError};

use crate::ask::{eventually, run, sql};

#[tokio::test]
async fn a_standby_takes_over_and_all_others_follow() {
    let topology = PostgresTopology::start(PostgresOptions::default()).await.unwrap();
    let old = topology.primary();
    run(&old.url(), "CREATE TABLE posts (id int PRIMARY KEY); INSERT INTO posts VALUES (1)").await.unwrap();
    shows(topology.standby(0), 1).await;
    shows(topology.standby(1), 1).await;

    // Partitioned, the old primary takes a write that nobody else gets.
    topology.link(0).cut();
    topology.link(1).cut();
    insert(old, 2).await;
    topology.promote(0).await.unwrap();
    let new = topology.standby(0);
    assert!(!new.is_in_recovery().await.unwrap());
    assert!(!old.is_in_recovery().await.unwrap(), "the old primary was left alone");
    insert(new, 3).await;

    // Else it could fetch that write in the moment before it follows.
    topology.link(1).set_target(new.addr());
    topology.link(1).heal();
    topology.follow(1, Member::Replica(0)).await.unwrap();
    shows(topology.standby(1), 3).await;
    lacks(topology.standby(1), 2).await;

    topology.rejoin_as_standby(Member::Primary, Member::Replica(0)).await.unwrap();
    assert!(old.is_in_recovery().await.unwrap());
    insert(new, 4).await;
    shows(old, 4).await;
    lacks(old, 2).await;

    // And back: the second failover in a row, in a third timeline.
    topology.standby(0).kill().await.unwrap();
    let error = topology.promote(0).await.unwrap_err();
    assert!(matches!(error, TopologyError::NotRunning { .. }), "{error}");
    topology.promote(1).await.unwrap();
    insert(topology.standby(1), 5).await;
    let timeline: String =
        sql(&topology.standby(1).url(), "SELECT substr(pg_walfile_name(pg_current_wal_flush_lsn()), 1, 8)")
            .await
            .unwrap();
    assert_eq!(timeline, "00000003");
}

#[tokio::test]
async fn a_standby_of_a_standby() {
    let topology = PostgresTopology::start(PostgresOptions::default()).await.unwrap();
    run(&topology.primary().url(), "CREATE TABLE posts (id int PRIMARY KEY)").await.unwrap();
    topology.follow(1, Member::Replica(0)).await.unwrap();
    assert_eq!(topology.link(1).target(), topology.standby(0).addr());
    insert(topology.primary(), 1).await;
    shows(topology.standby(1), 1).await;

    topology.link(0).cut();
    insert(topology.primary(), 2).await;
    lacks(topology.standby(1), 2).await;
    topology.link(0).heal();
    shows(topology.standby(1), 2).await;
}

#[tokio::test]
async fn a_promoted_standby_does_not_follow() {
    let topology = PostgresTopology::start(PostgresOptions::default().standbys(1)).await.unwrap();
    topology.promote(0).await.unwrap();
    let error = topology.follow(0, Member::Primary).await.unwrap_err();
    assert!(matches!(error, TopologyError::Role { .. }), "{error}");
    let error = topology.promote(1).await.unwrap_err();
    assert!(matches!(error, TopologyError::NoSuchMember { member: Member::Replica(1) }), "{error}");
}

async fn insert(node: &PostgresNode, id: i32) {
    run(&node.url(), &format!("INSERT INTO posts VALUES ({id})")).await.unwrap();
}

async fn has(node: &PostgresNode, id: i32) -> sqlx::Result<bool> {
    sql(&node.url(), &format!("SELECT EXISTS (SELECT FROM posts WHERE id = {id})")).await
}

async fn shows(node: &PostgresNode, id: i32) {
    eventually(&format!("{id} at {}", node.name()), async || has(node, id).await).await;
}

async fn lacks(node: &PostgresNode, id: i32) {
    assert!(!has(node, id).await.unwrap(), "{id} at {}", node.name());
}
