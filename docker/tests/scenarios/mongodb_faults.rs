//! Replication, and what pausing, stopping and partitioning a member does to it.

use std::time::{Duration, Instant};

use antipode_docker::{FailPoint, Member, MongoOptions, MongoTopology, TopologyError};

use crate::documents::{has, put, put_for_good, shows};

#[tokio::test]
async fn each_replica_lags_by_its_own_link_with_the_chosen_settings() {
    let options = MongoOptions::default().setting("ttlMonitorEnabled", "false");
    let topology = MongoTopology::start(options).await.unwrap();
    assert_eq!(topology.leader().await.unwrap(), Member::Primary);
    assert!(!topology.replica(1).is_primary().await.unwrap());
    put_for_good(&topology, 0).await;
    shows(topology.replica(0), 0).await;
    shows(topology.replica(1), 0).await;

    const LAG: Duration = Duration::from_millis(400);
    topology.link(0).set_delay_to_client(LAG);
    let begun = Instant::now();
    put(topology.url(), 1).await.unwrap();
    shows(topology.replica(1), 1).await;
    assert!(!has(topology.replica(0), 1).await || begun.elapsed() >= LAG);
    shows(topology.replica(0), 1).await;
    assert!(begun.elapsed() >= LAG, "visible after {:?}", begun.elapsed());
}

#[tokio::test]
async fn a_partitioned_replica_catches_up_and_nobody_is_elected_meanwhile() {
    let topology = MongoTopology::start(MongoOptions::default()).await.unwrap();
    topology.link(0).hang();
    put(topology.url(), 1).await.unwrap();
    shows(topology.replica(1), 1).await;
    // Several times as long as an election would take.
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert!(!has(topology.replica(0), 1).await);
    topology.link(0).heal();
    shows(topology.replica(0), 1).await;

    topology.link(0).cut();
    put(topology.url(), 2).await.unwrap();
    shows(topology.replica(1), 2).await;
    assert!(!has(topology.replica(0), 2).await);
    topology.link(0).heal();
    shows(topology.replica(0), 2).await;
    assert_eq!(topology.leader().await.unwrap(), Member::Primary);
}

#[tokio::test]
async fn fail_points_and_signals_stop_a_replica_until_they_are_undone() {
    let topology = MongoTopology::start(MongoOptions::default()).await.unwrap();
    let replica = topology.replica(0);
    for (id, point) in [(1, FailPoint::StopApplying), (2, FailPoint::StopFetching)] {
        replica.fail(point).await.unwrap();
        put(topology.url(), id).await.unwrap();
        shows(topology.replica(1), id).await;
        assert!(!has(replica, id).await, "{point:?}");
        replica.mend(point).await.unwrap();
        shows(replica, id).await;
    }
    replica.pause().await.unwrap();
    put_for_good(&topology, 3).await;
    replica.resume().await.unwrap();
    shows(replica, 3).await;

    replica.stop().await.unwrap();
    assert!(matches!(replica.fail(FailPoint::StopApplying).await, Err(TopologyError::NotRunning { .. })));
    put_for_good(&topology, 4).await;
    replica.restart().await.unwrap();
    shows(replica, 4).await;
}
