//! Elections: who is elected, and what becomes of the others.

use antipode_docker::{Member, MongoOptions, MongoTopology};

use crate::documents::{has, put, put_for_good, shows};

#[tokio::test]
async fn a_cut_off_write_is_rolled_back_where_it_was() {
    let topology = MongoTopology::start(MongoOptions::default()).await.unwrap();
    put_for_good(&topology, 1).await;
    shows(topology.replica(0), 1).await;
    // The one that is to be elected last: nobody may have more than it.
    for index in [1, 0] {
        topology.link(index).hang();
    }
    put(topology.url(), 2).await.unwrap();
    topology.primary().kill().await.unwrap();
    for index in [0, 1] {
        topology.link(index).cut();
        topology.link(index).heal();
    }
    topology.promote(0).await.unwrap();
    assert_eq!(topology.leader().await.unwrap(), Member::Replica(0));
    put_for_good(&topology, 3).await;
    assert!(!has(topology.replica(0), 2).await);

    topology.rejoin(Member::Primary).await.unwrap();
    shows(topology.primary(), 3).await;
    assert!(has(topology.primary(), 1).await);
    assert!(!has(topology.primary(), 2).await);
    assert_eq!(topology.leader().await.unwrap(), Member::Replica(0));
}

#[tokio::test]
async fn the_last_member_is_elected_without_the_others() {
    let topology = MongoTopology::start(MongoOptions::default()).await.unwrap();
    put_for_good(&topology, 1).await;
    shows(topology.replica(0), 1).await;
    shows(topology.replica(1), 1).await;
    topology.primary().kill().await.unwrap();
    topology.promote(0).await.unwrap();
    put_for_good(&topology, 2).await;
    shows(topology.replica(1), 2).await;
    topology.replica(0).kill().await.unwrap();
    topology.promote(1).await.unwrap();
    put_for_good(&topology, 3).await;
    assert!(has(topology.replica(1), 2).await);

    topology.rejoin(Member::Primary).await.unwrap();
    shows(topology.primary(), 3).await;
}

#[tokio::test]
async fn a_primary_that_steps_down_is_followed_by_another() {
    let topology = MongoTopology::start(MongoOptions::default()).await.unwrap();
    put_for_good(&topology, 1).await;
    shows(topology.replica(0), 1).await;
    topology.primary().step_down().await.unwrap();
    assert!(!topology.primary().is_primary().await.unwrap());
    put_for_good(&topology, 2).await;
    assert_ne!(topology.leader().await.unwrap(), Member::Primary);
}
