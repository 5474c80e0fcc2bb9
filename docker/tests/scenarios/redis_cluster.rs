//! A Redis Cluster: lag of one replica, slots that move, and failovers of one shard.

use std::time::{Duration, Instant};

use antipode_docker::{
    Member, RedisClusterOptions, RedisClusterTopology, RedisNode, Takeover, TopologyError,
};
use redis::{RedisResult, cmd, pipe};

use crate::ask::{command, eventually};

/// A key of the first shard and its slot.
const KEY: &str = "b";
const SLOT: u16 = 3300;

#[tokio::test]
async fn a_link_delays_and_holds_one_replica_only() {
    let topology = RedisClusterTopology::start(RedisClusterOptions::default().replicas(2)).await.unwrap();
    assert_eq!((topology.shards(), topology.nodes().count()), (3, 9));
    let slot: u16 = command(&topology.primary(0).url(), &format!("CLUSTER KEYSLOT {KEY}")).await.unwrap();
    assert_eq!(slot, SLOT);

    const LAG: Duration = Duration::from_millis(300);
    topology.link(0, Member::Replica(0)).set_delay_to_client(LAG);
    let begun = Instant::now();
    set(&topology.announced_url(topology.primary(0)), "1").await;
    shows(topology.replica(0, 1), "1").await;
    shows(topology.replica(0, 0), "1").await;
    assert!(begun.elapsed() >= LAG, "visible after {:?}", begun.elapsed());

    topology.link(0, Member::Replica(0)).hang();
    set(&topology.primary(0).url(), "2").await;
    shows(topology.replica(0, 1), "2").await;
    assert_eq!(get(topology.replica(0, 0)).await.unwrap().as_deref(), Some("1"));
    topology.link(0, Member::Replica(0)).heal();
    shows(topology.replica(0, 0), "2").await;

    topology.link(0, Member::Replica(0)).cut();
    set(&topology.primary(0).url(), "3").await;
    shows(topology.replica(0, 1), "3").await;
    assert_eq!(get(topology.replica(0, 0)).await.unwrap().as_deref(), Some("2"));
    topology.link(0, Member::Replica(0)).heal();
    shows(topology.replica(0, 0), "3").await;
}

#[tokio::test]
async fn slots_move_with_their_keys() {
    let topology = RedisClusterTopology::start(RedisClusterOptions::default()).await.unwrap();
    let (from, to) = (topology.primary(0), topology.primary(1));
    set(&from.url(), "1").await;
    topology.open_slots(SLOT..=SLOT, from, to).await.unwrap();
    topology.move_keys(SLOT..=SLOT, from, to).await.unwrap();
    let error = get(from).await.unwrap_err();
    assert!(error.to_string().contains("Ask"), "{error}");
    topology.close_slots(SLOT..=SLOT, from, to).await.unwrap();
    shows(topology.replica(1, 0), "1").await;
    for old in [from, topology.replica(0, 0)] {
        let error = get(old).await.unwrap_err();
        let port = topology.announced_url(to);
        let port = port.trim_end_matches('/').rsplit_once(':').unwrap().1;
        assert!(error.to_string().contains("Moved") && error.to_string().contains(port), "{error}");
    }
}

#[tokio::test]
async fn a_shard_fails_over_and_its_primary_comes_back_as_a_replica() {
    let topology = RedisClusterTopology::start(RedisClusterOptions::default().replicas(2)).await.unwrap();
    set(&topology.primary(0).url(), "1").await;
    topology.failover(topology.replica(0, 0), Takeover::Coordinated).await.unwrap();
    set(&topology.replica(0, 0).url(), "2").await;
    shows(topology.primary(0), "2").await;
    shows(topology.replica(0, 1), "2").await;

    // What only the primary has is lost with it.
    topology.link(0, Member::Replica(1)).hang();
    topology.link(0, Member::Primary).hang();
    set(&topology.replica(0, 0).url(), "3").await;
    topology.replica(0, 0).kill().await.unwrap();
    topology.link(0, Member::Replica(1)).cut();
    topology.link(0, Member::Primary).cut();
    topology.link(0, Member::Primary).heal();
    topology.link(0, Member::Replica(1)).heal();
    topology.failover(topology.replica(0, 1), Takeover::Alone).await.unwrap();
    assert_eq!(get(topology.replica(0, 1)).await.unwrap().as_deref(), Some("2"));
    topology.rejoin(topology.replica(0, 0)).await.unwrap();
    shows(topology.replica(0, 0), "2").await;
    set(&topology.replica(0, 1).url(), "4").await;
    shows(topology.replica(0, 0), "4").await;
    shows(topology.primary(0), "4").await;

    topology.primary(1).pause().await.unwrap();
    topology.primary(1).resume().await.unwrap();
    topology.primary(1).kill().await.unwrap();
    let error = topology.failover(topology.primary(1), Takeover::Alone).await.unwrap_err();
    assert!(matches!(error, TopologyError::NotRunning { .. }), "{error}");
}

async fn set(url: &str, value: &str) {
    let () = command(url, &format!("SET {KEY} {value}")).await.unwrap();
}

async fn get(node: &RedisNode) -> RedisResult<Option<String>> {
    let mut connection = node.connect().await.unwrap();
    let ((), value) = pipe()
        .add_command(cmd("READONLY"))
        .add_command(cmd("GET").arg(KEY).clone())
        .query_async(&mut connection)
        .await?;
    Ok(value)
}

async fn shows(node: &RedisNode, value: &str) {
    let shown = async || Ok::<_, redis::RedisError>(get(node).await?.as_deref() == Some(value));
    eventually(&format!("{value} at {}", node.name()), shown).await;
}
