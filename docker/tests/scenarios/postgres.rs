//! Replication, and what pausing, killing and partitioning a Postgres does to it.

use std::time::{Duration, Instant};

use antipode_docker::{PostgresNode, PostgresOptions, PostgresTopology, TopologyError};
use tokio::time::timeout;

use crate::ask::{eventually, run, sql};

#[tokio::test]
async fn standbys_replicate_with_the_chosen_lag_and_settings() {
    let options = PostgresOptions::default().setting("synchronous_commit", "off").setting("work_mem", "1MB");
    let topology = with_table(options).await;
    assert_eq!(topology.standbys().len(), 2);
    for node in [topology.primary(), topology.standby(0), topology.standby(1)] {
        let setting: String = sql(&node.url(), "SHOW synchronous_commit").await.unwrap();
        assert_eq!(setting, "off", "{}", node.name());
        assert!(node.url().ends_with(&format!("@127.0.0.1:{}/postgres", node.port())));
    }
    assert!(!topology.primary().is_in_recovery().await.unwrap());
    assert!(topology.standby(1).is_in_recovery().await.unwrap());

    const LAG: Duration = Duration::from_millis(300);
    topology.link(0).set_delay_to_client(LAG);
    let begun = Instant::now();
    insert(topology.primary(), 1).await;
    shows(topology.standby(1), 1).await;
    shows(topology.standby(0), 1).await;
    assert!(begun.elapsed() >= LAG, "visible after {:?}", begun.elapsed());
}

#[tokio::test]
async fn a_partitioned_standby_catches_up() {
    let topology = with_table(PostgresOptions::default()).await;
    topology.link(0).cut();
    insert(topology.primary(), 1).await;
    shows(topology.standby(1), 1).await;
    assert!(!has(topology.standby(0), 1).await.unwrap());
    topology.link(0).heal();
    shows(topology.standby(0), 1).await;

    topology.link(0).hang();
    insert(topology.primary(), 2).await;
    shows(topology.standby(1), 2).await;
    assert!(!has(topology.standby(0), 2).await.unwrap());
    topology.link(0).heal();
    shows(topology.standby(0), 2).await;

    // Within a reply of the walsender, over and over.
    for id in 3..10 {
        topology.link(0).reset_after(40);
        insert(topology.primary(), id).await;
    }
    shows(topology.standby(0), 9).await;
}

#[tokio::test]
async fn a_paused_server_accepts_and_does_not_answer() {
    let topology = with_table(PostgresOptions::default().standbys(1)).await;
    let standby = topology.standby(0);
    standby.pause().await.unwrap();
    assert!(standby.is_running());
    let question = has(standby, 1);
    tokio::pin!(question);
    assert!(timeout(Duration::from_millis(300), &mut question).await.is_err(), "it answered");
    insert(topology.primary(), 1).await;
    standby.resume().await.unwrap();
    question.await.unwrap();
    shows(standby, 1).await;

    // Also its backends and receiver are frozen, so an open connection hangs, too.
    use sqlx::Connection;
    let mut connection = sqlx::PgConnection::connect(&standby.url()).await.unwrap();
    standby.pause().await.unwrap();
    assert!(timeout(Duration::from_millis(300), connection.ping()).await.is_err(), "it answered");

    // A frozen server can be stopped and killed.
    standby.stop().await.unwrap();
    assert!(!standby.is_running());
    standby.restart().await.unwrap();
    standby.pause().await.unwrap();
    standby.kill().await.unwrap();
    assert!(!standby.is_running());
    for error in [standby.pause().await.unwrap_err(), standby.is_in_recovery().await.unwrap_err()] {
        assert!(matches!(error, TopologyError::NotRunning { .. }), "{error}");
        assert!(error.to_string().contains("postgres replica-0 is not running"), "{error}");
    }
    standby.restart().await.unwrap();
    shows(standby, 1).await;
}

#[tokio::test]
async fn servers_come_back_with_their_port_role_and_data() {
    let topology = with_table(PostgresOptions::default().standbys(1)).await;
    for node in [topology.primary(), topology.standby(0)] {
        let url = node.url();
        insert(topology.primary(), i32::from(node.port())).await;
        shows(node, i32::from(node.port())).await;
        let recovering = node.is_in_recovery().await.unwrap();
        for way in ["restart", "stop", "kill"] {
            match way {
                "stop" => node.stop().await.unwrap(),
                "kill" => node.kill().await.unwrap(),
                _ => {}
            }
            assert_eq!(node.is_running(), way == "restart");
            node.restart().await.unwrap();
            assert_eq!(node.url(), url);
            assert_eq!(node.is_in_recovery().await.unwrap(), recovering);
            shows(node, i32::from(node.port())).await;
        }
    }
    // And they still replicate.
    insert(topology.primary(), 1).await;
    shows(topology.standby(0), 1).await;
}

#[tokio::test]
async fn settings_can_be_changed() {
    let topology = with_table(PostgresOptions::default().standbys(1)).await;
    let standby = topology.standby(0);
    const DELAY: Duration = Duration::from_millis(400);
    standby.set_setting("recovery_min_apply_delay", "400ms").await.unwrap();
    // It is reloaded before the next commit is replayed.
    let shown: String = sql(&standby.url(), "SHOW recovery_min_apply_delay").await.unwrap();
    assert_eq!(shown, "400ms");
    let begun = Instant::now();
    insert(topology.primary(), 1).await;
    shows(standby, 1).await;
    assert!(begun.elapsed() >= DELAY, "visible after {:?}", begun.elapsed());

    standby.set_setting("max_connections", "150").await.unwrap();
    standby.restart().await.unwrap();
    let shown: String = sql(&standby.url(), "SHOW max_connections").await.unwrap();
    assert_eq!(shown, "150");

    let error = standby.set_setting("no_such_setting", "1").await.unwrap_err();
    assert!(matches!(error, TopologyError::Client { .. }), "{error}");
}

#[tokio::test]
async fn a_server_that_does_not_start_says_why() {
    let options = PostgresOptions::default().standbys(0).setting("shared_buffers", "much");
    let error = PostgresTopology::start(options).await.unwrap_err();
    assert!(matches!(error, TopologyError::Exited { .. }), "{error}");
    let message = error.to_string();
    assert!(message.contains("postgres primary") && message.contains("shared_buffers"), "{message}");
    assert!(!message.contains('\n'), "{message}");
}

async fn with_table(options: PostgresOptions) -> PostgresTopology {
    let topology = PostgresTopology::start(options).await.unwrap();
    run(&topology.primary().url(), "CREATE TABLE posts (id int PRIMARY KEY)").await.unwrap();
    for standby in topology.standbys() {
        eventually("the table", async || has(standby, 0).await.map(|_| true)).await;
    }
    topology
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
