//! What a Postgres and its standbys do: as every replicated store, and of their own.

use std::{
    error::Error,
    time::{Duration, Instant},
};

use antipode_docker::{Member, Node, Postgres, PostgresNode, PostgresOptions, PostgresTopology};
use antipode_docker::{Proxy, TopologyError};
use tokio::time::timeout;

use crate::{
    ask::{eventually, run, sql},
    replicated::{self, Replicated, says_why, shows},
};

impl Replicated for PostgresTopology {
    type Store = Postgres;

    fn node(&self, member: Member) -> &PostgresNode {
        self.node(member).unwrap()
    }

    fn link(&self, index: usize) -> &Proxy {
        self.link(index)
    }

    fn url(node: &PostgresNode) -> String {
        node.url()
    }

    async fn put(node: &PostgresNode, id: i32) {
        run(&node.url(), &format!("INSERT INTO posts VALUES ({id})")).await.unwrap();
    }

    async fn has(node: &PostgresNode, id: i32) -> Result<bool, Box<dyn Error>> {
        Ok(sql(&node.url(), &format!("SELECT EXISTS (SELECT FROM posts WHERE id = {id})")).await?)
    }

    async fn is_replica(node: &PostgresNode) -> Result<bool, TopologyError> {
        node.is_in_recovery().await
    }

    async fn promote(&self, index: usize) -> Result<(), TopologyError> {
        self.promote(index).await
    }

    async fn follow(&self, index: usize, upstream: Member) -> Result<(), TopologyError> {
        self.follow(index, upstream).await
    }

    async fn rejoin(&self, upstream: Member) {
        self.rejoin_as_standby(Member::Primary, upstream).await.unwrap();
    }
}

async fn with_table(options: PostgresOptions) -> PostgresTopology {
    let topology = PostgresTopology::start(options).await.unwrap();
    run(&topology.primary().url(), "CREATE TABLE posts (id int PRIMARY KEY)").await.unwrap();
    for standby in topology.standbys() {
        eventually("the table", async || PostgresTopology::has(standby, 0).await.map(|_| true)).await;
    }
    topology
}

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
    replicated::each_replica_lags_by_its_own_link(&topology).await;
}

#[tokio::test]
async fn a_partitioned_standby_catches_up() {
    replicated::a_partitioned_replica_catches_up(&with_table(PostgresOptions::default()).await).await;
}

#[tokio::test]
async fn a_paused_server_accepts_and_does_not_answer() {
    let topology = with_table(PostgresOptions::default().standbys(1)).await;
    replicated::a_paused_server_accepts_and_does_not_answer(&topology).await;

    // Also its backends and receiver are frozen, so an open connection hangs, too.
    use sqlx::Connection;
    let standby = topology.standby(0);
    let mut connection = sqlx::PgConnection::connect(&standby.url()).await.unwrap();
    standby.pause().await.unwrap();
    assert!(timeout(Duration::from_millis(300), connection.ping()).await.is_err(), "it answered");
}

#[tokio::test]
async fn servers_come_back_with_their_port_role_and_data() {
    let topology = with_table(PostgresOptions::default().standbys(1)).await;
    let has_kept = async |node: &Node<_>, id| shows::<PostgresTopology>(node, id).await;
    replicated::servers_come_back_with_their_port_and_role(&topology, has_kept).await;
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
    PostgresTopology::put(topology.primary(), 1).await;
    shows::<PostgresTopology>(standby, 1).await;
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
    says_why(PostgresTopology::start(options).await, "postgres primary", "shared_buffers");
}

#[tokio::test]
async fn a_standby_takes_over_and_all_others_follow() {
    let topology = with_table(PostgresOptions::default()).await;
    replicated::a_replica_takes_over_and_all_others_follow(&topology).await;
    let timeline = "SELECT substr(pg_walfile_name(pg_current_wal_flush_lsn()), 1, 8)";
    let timeline: String = sql(&topology.standby(1).url(), timeline).await.unwrap();
    assert_eq!(timeline, "00000003");
}

#[tokio::test]
async fn a_standby_of_a_standby() {
    replicated::a_replica_of_a_replica(&with_table(PostgresOptions::default()).await).await;
}

#[tokio::test]
async fn a_promoted_standby_does_not_follow() {
    let topology = PostgresTopology::start(PostgresOptions::default().standbys(1)).await.unwrap();
    topology.promote(0).await.unwrap();
    let error = topology.follow(0, Member::Primary).await.unwrap_err();
    assert!(matches!(error, TopologyError::Role { .. }), "{error}");
}
