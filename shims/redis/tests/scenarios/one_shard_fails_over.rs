//! Positions per shard of a cluster, and a failover of one of them.

use antipode_barrier::Registry;
use antipode_docker::{
    Member, RedisClusterOptions, RedisClusterTopology, RedisOptions, RedisTopology, Takeover,
};
use antipode_lineage::{Lineage, LineageScope, WriteId};
use antipode_redis::RedisStore;
use antipode_redis::redis::AsyncCommands;

use crate::clustered::{self, Clustered, KEYS, barrier, client, glance, name, peek, registry, store};

#[tokio::test]
async fn each_shard_has_its_positions_and_only_those_of_the_lineage_are_waited_for() {
    let stage = Clustered::start(1).await;
    let registry = stage.registry().await;
    // What the switchboard of the topology lets through, it lets through one by one.
    stage.topology.link(1, Member::Replica(0)).hang();
    let mut writes = Vec::new();
    for key in KEYS {
        writes.push(stage.write(key, "1").await);
    }
    for (shard, write) in writes.iter().enumerate() {
        let replid = stage.info(stage.topology.primary(shard), "master_replid").await;
        assert!(replid.starts_with(&format!("{:016x}", write.epoch.history)), "{write} is of {replid}");
        assert_eq!(write.shard.0, write.epoch.history);
    }
    barrier(&registry, writes[0]).await.unwrap();
    barrier(&registry, writes[2]).await.unwrap();
    let all = Lineage::from_iter(writes.clone());
    glance(&registry, writes[1]).await;
    assert_eq!(peek(stage.topology.replica(1, 0), KEYS[1]).await, None);
    stage.topology.link(1, Member::Replica(0)).heal();
    registry.barrier_on(&all).await.unwrap();
    assert_eq!(peek(stage.topology.replica(1, 0), KEYS[1]).await.as_deref(), Some("1"));

    // A node that is down takes no other shard with it.
    stage.topology.replica(1, 0).kill().await.unwrap();
    let newer = stage.write(KEYS[0], "2").await;
    barrier(&registry, newer).await.unwrap();
    let newer = stage.write(KEYS[1], "1").await;
    assert!(glance(&registry, newer).await.is_store_down());
    stage.topology.rejoin(stage.topology.replica(1, 0)).await.unwrap();
    barrier(&registry, newer).await.unwrap();

    // A read learns where its replica was, and the lineage of the value's writer.
    let scope = LineageScope::new();
    let mut posts = stage.store.read_connection_within(&scope).await.unwrap();
    let value: String = posts.get(KEYS[1]).await.unwrap();
    assert_eq!(value, "1");
    let lineage = scope.lineage();
    assert!(lineage.covers_write(&writes[1]), "{lineage}");
    assert_eq!(lineage.of_store(name("posts")).len(), 1, "{lineage}");
}

#[tokio::test]
async fn a_write_that_a_shards_failover_lost_is_lost_and_the_other_shards_go_on() {
    let stage = Clustered::start(2).await;
    let store = store(&stage.topology, &[1]);
    let registry = registry(&store).await;
    let other = stage.write(KEYS[1], "1").await;
    let kept = stage.write(KEYS[0], "kept").await;
    for replica in [0, 1] {
        let settled = clustered::store(&stage.topology, &[replica]);
        barrier(&clustered::registry(&settled).await, kept).await.unwrap();
        stage.topology.link(0, Member::Replica(replica)).hang();
    }
    let lost = stage.write(KEYS[0], "lost").await;
    assert_eq!((lost.shard, lost.epoch), (kept.shard, kept.epoch));
    stage.topology.primary(0).kill().await.unwrap();
    for replica in [0, 1] {
        // What the links hold back is lost with the primary.
        stage.topology.link(0, Member::Replica(replica)).cut();
        stage.topology.link(0, Member::Replica(replica)).heal();
    }
    barrier(&registry, other).await.unwrap();
    // Who depends on all there is waits until it is known again what there is.
    glance(&registry, WriteId::unplaced(name("posts"))).await;
    stage.topology.failover(stage.topology.replica(0, 0), Takeover::Alone).await.unwrap();

    let error = barrier(&registry, lost).await.unwrap_err();
    println!("{error}");
    assert!(error.is_lost(), "{error}");
    assert_eq!(peek(stage.topology.replica(0, 0), KEYS[0]).await.as_deref(), Some("kept"));
    barrier(&registry, kept).await.unwrap();
    barrier(&registry, other).await.unwrap();

    // The same connection goes on with the new primary. A bare offset would pass now.
    let later = stage.write(KEYS[0], &"x".repeat(1_000)).await;
    assert!(later.epoch != lost.epoch && later.position > lost.position);
    barrier(&registry, later).await.unwrap();
    assert!(barrier(&registry, lost).await.unwrap_err().is_lost());
    barrier(&registry, Lineage::from_iter([kept, other]).writes()[0]).await.unwrap();

    barrier(&registry, WriteId::unplaced(name("posts"))).await.unwrap();

    // The old primary comes back and follows.
    stage.topology.rejoin(stage.topology.primary(0)).await.unwrap();
    let newer = stage.write(KEYS[0], "newer").await;
    barrier(&registry, newer).await.unwrap();
}

#[tokio::test]
async fn a_failover_that_loses_nothing_is_followed() {
    let stage = Clustered::start(2).await;
    let store = store(&stage.topology, &[1]);
    let registry = registry(&store).await;
    stage.topology.link(0, Member::Replica(1)).hang();
    let write = stage.write(KEYS[0], "1").await;
    glance(&registry, write).await;
    let settled = clustered::store(&stage.topology, &[0]);
    barrier(&clustered::registry(&settled).await, write).await.unwrap();
    stage.topology.primary(0).kill().await.unwrap();
    stage.topology.link(0, Member::Replica(1)).cut();
    stage.topology.link(0, Member::Replica(1)).heal();
    stage.topology.failover(stage.topology.replica(0, 0), Takeover::Alone).await.unwrap();
    barrier(&registry, write).await.unwrap();
    assert_eq!(peek(stage.topology.replica(0, 1), KEYS[0]).await.as_deref(), Some("1"));
}

#[tokio::test]
async fn servers_of_no_cluster_or_of_another_are_refused() {
    let refusal =
        async |store: antipode_redis::RedisClusterStore| match Registry::builder().store(store).build().await
        {
            Err(error) => error.to_string(),
            Ok(_) => panic!("not refused"),
        };
    let alone = RedisTopology::start(RedisOptions::default().replicas(0)).await.unwrap();
    let builder = RedisStore::cluster("posts").node(client(alone.primary()));
    assert!(refusal(builder.build().unwrap()).await.contains("is part of no cluster"));

    let start = || RedisClusterTopology::start(RedisClusterOptions::default().replicas(0));
    let (ours, others) = tokio::try_join!(start(), start()).unwrap();
    let builder = || RedisStore::cluster("posts").node(client(ours.primary(0)));
    let foreign = builder().region("eu", [client(others.primary(0))]);
    assert!(refusal(foreign.build().unwrap()).await.contains("belongs to another cluster"));
    // A node of a region may come back; one of those to learn the others from must answer.
    ours.primary(1).kill().await.unwrap();
    let read = builder().region("eu", [client(ours.primary(1))]);
    Registry::builder().store(read.build().unwrap()).build().await.unwrap();
    ours.primary(0).kill().await.unwrap();
    assert!(refusal(builder().build().unwrap()).await.contains("could not be asked"));
}
