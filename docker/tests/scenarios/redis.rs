//! What a Redis and its replicas do: as every replicated store, and of their own.

use std::error::Error;

use antipode_docker::{Member, Node, Proxy, Redis, RedisNode, RedisOptions, RedisTopology, TopologyError};

use crate::{
    ask::command,
    replicated::{self, Replicated, says_why, shows},
};

impl Replicated for RedisTopology {
    type Store = Redis;

    fn node(&self, member: Member) -> &RedisNode {
        self.node(member).unwrap()
    }

    fn link(&self, index: usize) -> &Proxy {
        self.link(index)
    }

    fn url(node: &RedisNode) -> String {
        node.url()
    }

    async fn put(node: &RedisNode, id: i32) {
        let () = command(&node.url(), &format!("SET {id} written")).await.unwrap();
    }

    async fn has(node: &RedisNode, id: i32) -> Result<bool, Box<dyn Error>> {
        Ok(command(&node.url(), &format!("EXISTS {id}")).await?)
    }

    async fn is_replica(node: &RedisNode) -> Result<bool, TopologyError> {
        node.is_replica().await
    }

    async fn promote(&self, index: usize) -> Result<(), TopologyError> {
        self.promote(index).await
    }

    async fn follow(&self, index: usize, upstream: Member) -> Result<(), TopologyError> {
        self.follow(index, upstream).await
    }

    /// It is started for that.
    async fn rejoin(&self, upstream: Member) {
        self.primary().kill().await.unwrap();
        self.rejoin_as_replica(Member::Primary, upstream).await.unwrap();
    }
}

async fn of(replicas: usize) -> RedisTopology {
    RedisTopology::start(RedisOptions::default().replicas(replicas)).await.unwrap()
}

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
    replicated::each_replica_lags_by_its_own_link(&topology).await;
}

#[tokio::test]
async fn a_partitioned_replica_catches_up_with_the_missing_part() {
    let topology = of(2).await;
    let full = full_synchronisations(topology.primary()).await;
    replicated::a_partitioned_replica_catches_up(&topology).await;
    assert_eq!(full_synchronisations(topology.primary()).await, full);
}

#[tokio::test]
async fn a_paused_server_accepts_and_does_not_answer() {
    replicated::a_paused_server_accepts_and_does_not_answer(&of(1).await).await;
}

#[tokio::test]
async fn servers_come_back_with_their_port_and_role() {
    // Nothing is persisted: a replica gets everything again, a primary has lost it.
    let check = async |node: &Node<_>, id| match node.is_replica().await.unwrap() {
        true => shows::<RedisTopology>(node, id).await,
        false => assert!(!RedisTopology::has(node, id).await.unwrap()),
    };
    replicated::servers_come_back_with_their_port_and_role(&of(1).await, check).await;
}

#[tokio::test]
async fn a_primary_keeps_its_data_if_it_is_told_to() {
    let options = RedisOptions::default().replicas(0).setting("appendonly", "yes");
    let topology = RedisTopology::start(options).await.unwrap();
    RedisTopology::put(topology.primary(), 1).await;
    topology.primary().restart().await.unwrap();
    shows::<RedisTopology>(topology.primary(), 1).await;
}

#[tokio::test]
async fn settings_can_be_changed() {
    let topology = of(0).await;
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
    says_why(RedisTopology::start(options).await, "redis primary", "maxmemory");
}

#[tokio::test]
async fn a_replica_takes_over_and_all_others_follow() {
    let topology = of(2).await;
    replicated::a_replica_takes_over_and_all_others_follow(&topology).await;
    // Roles are kept over a restart.
    topology.primary().restart().await.unwrap();
    assert!(topology.primary().is_replica().await.unwrap());
    topology.replica(1).restart().await.unwrap();
    assert!(!topology.replica(1).is_replica().await.unwrap());
}

#[tokio::test]
async fn following_the_new_primary_is_a_partial_synchronisation() {
    let topology = of(2).await;
    RedisTopology::put(topology.primary(), 1).await;
    shows::<RedisTopology>(topology.replica(0), 1).await;
    shows::<RedisTopology>(topology.replica(1), 1).await;
    topology.primary().kill().await.unwrap();
    topology.promote(0).await.unwrap();
    topology.follow(1, Member::Replica(0)).await.unwrap();
    let stats: String = command(&topology.replica(0).url(), "INFO stats").await.unwrap();
    assert!(stats.contains("sync_full:0\r\n"), "{stats}");
    assert!(stats.contains("sync_partial_ok:1\r\n"), "{stats}");
}

#[tokio::test]
async fn a_replica_of_a_replica() {
    replicated::a_replica_of_a_replica(&of(2).await).await;
}

async fn full_synchronisations(node: &RedisNode) -> String {
    let stats: String = command(&node.url(), "INFO stats").await.unwrap();
    stats.lines().find(|line| line.starts_with("sync_full:")).unwrap().to_owned()
}
