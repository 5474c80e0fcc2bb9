//! What every topology of a primary and its replicas does: how it replicates, what pausing, killing and
//! partitioning a server does to it, and how a replica takes over.

use std::{
    error::Error,
    time::{Duration, Instant},
};

use antipode_docker::{Member, Node, Proxy, TopologyError};
use tokio::time::timeout;

use crate::ask::eventually;

/// A running topology, in which a write is a number that was not there before.
pub(crate) trait Replicated {
    type Store;

    fn node(&self, member: Member) -> &Node<Self::Store>;
    fn link(&self, index: usize) -> &Proxy;
    fn url(node: &Node<Self::Store>) -> String;
    async fn put(node: &Node<Self::Store>, id: i32);
    async fn has(node: &Node<Self::Store>, id: i32) -> Result<bool, Box<dyn Error>>;
    async fn is_replica(node: &Node<Self::Store>) -> Result<bool, TopologyError>;

    async fn promote(&self, index: usize) -> Result<(), TopologyError>;
    async fn follow(&self, index: usize, upstream: Member) -> Result<(), TopologyError>;
    /// Makes the primary of the beginning a replica.
    async fn rejoin(&self, upstream: Member);

    fn primary(&self) -> &Node<Self::Store> {
        self.node(Member::Primary)
    }

    fn replica(&self, index: usize) -> &Node<Self::Store> {
        self.node(Member::Replica(index))
    }
}

pub(crate) async fn shows<T: Replicated>(node: &Node<T::Store>, id: i32) {
    eventually(&format!("{id} at {}", node.name()), async || T::has(node, id).await).await;
}

async fn lacks<T: Replicated>(node: &Node<T::Store>, id: i32) {
    assert!(!T::has(node, id).await.unwrap(), "{id} at {}", node.name());
}

/// Of two replicas.
pub(crate) async fn each_replica_lags_by_its_own_link<T: Replicated>(topology: &T) {
    const LAG: Duration = Duration::from_millis(300);
    assert!(!T::is_replica(topology.primary()).await.unwrap());
    assert!(T::is_replica(topology.replica(1)).await.unwrap());
    topology.link(0).set_delay_to_client(LAG);
    let begun = Instant::now();
    T::put(topology.primary(), 1).await;
    shows::<T>(topology.replica(1), 1).await;
    shows::<T>(topology.replica(0), 1).await;
    assert!(begun.elapsed() >= LAG, "visible after {:?}", begun.elapsed());
}

/// The first of two.
pub(crate) async fn a_partitioned_replica_catches_up<T: Replicated>(topology: &T) {
    let faults: [fn(&Proxy); 2] = [Proxy::cut, Proxy::hang];
    for (fault, id) in faults.into_iter().zip(1..) {
        fault(topology.link(0));
        T::put(topology.primary(), id).await;
        shows::<T>(topology.replica(1), id).await;
        lacks::<T>(topology.replica(0), id).await;
        topology.link(0).heal();
        shows::<T>(topology.replica(0), id).await;
    }
    // Within what an upstream sends at once, over and over.
    for id in 3..10 {
        topology.link(0).reset_after(20);
        T::put(topology.primary(), id).await;
    }
    shows::<T>(topology.replica(0), 9).await;
}

pub(crate) async fn a_paused_server_accepts_and_does_not_answer<T: Replicated>(topology: &T) {
    let replica = topology.replica(0);
    replica.pause().await.unwrap();
    assert!(replica.is_running());
    let question = T::has(replica, 1);
    tokio::pin!(question);
    assert!(timeout(Duration::from_millis(300), &mut question).await.is_err(), "it answered");
    T::put(topology.primary(), 1).await;
    replica.resume().await.unwrap();
    question.await.unwrap();
    shows::<T>(replica, 1).await;

    // A frozen server can be stopped and killed.
    replica.pause().await.unwrap();
    replica.stop().await.unwrap();
    assert!(!replica.is_running());
    replica.restart().await.unwrap();
    replica.pause().await.unwrap();
    replica.kill().await.unwrap();
    assert!(!replica.is_running());
    for error in [replica.pause().await.unwrap_err(), T::is_replica(replica).await.unwrap_err()] {
        assert!(matches!(error, TopologyError::NotRunning { .. }), "{error}");
        assert!(error.to_string().contains("replica-0 is not running"), "{error}");
    }
    replica.restart().await.unwrap();
    shows::<T>(replica, 1).await;
}

/// Of one replica. The check looks for the number at a server that came back.
pub(crate) async fn servers_come_back_with_their_port_and_role<T: Replicated>(
    topology: &T,
    check: impl AsyncFn(&Node<T::Store>, i32),
) {
    for (node, id) in [topology.replica(0), topology.primary()].into_iter().zip(1..) {
        let (url, role) = (T::url(node), T::is_replica(node).await.unwrap());
        T::put(topology.primary(), id).await;
        shows::<T>(node, id).await;
        for way in ["restart", "stop", "kill"] {
            match way {
                "stop" => node.stop().await.unwrap(),
                "kill" => node.kill().await.unwrap(),
                _ => {}
            }
            assert_eq!(node.is_running(), way == "restart");
            node.restart().await.unwrap();
            assert_eq!(T::url(node), url);
            assert_eq!(T::is_replica(node).await.unwrap(), role);
            check(node, id).await;
        }
    }
    // And they still replicate.
    T::put(topology.primary(), 3).await;
    shows::<T>(topology.replica(0), 3).await;
}

/// The first of two replicas; the second one follows it, and the old primary comes back. Then the second one
/// takes over.
pub(crate) async fn a_replica_takes_over_and_all_others_follow<T: Replicated>(topology: &T) {
    let (old, new, other) = (topology.primary(), topology.replica(0), topology.replica(1));
    T::put(old, 1).await;
    shows::<T>(new, 1).await;
    shows::<T>(other, 1).await;

    // Partitioned, the old primary takes a write that nobody else gets.
    topology.link(0).cut();
    topology.link(1).cut();
    T::put(old, 2).await;
    topology.promote(0).await.unwrap();
    assert!(!T::is_replica(new).await.unwrap());
    assert!(!T::is_replica(old).await.unwrap(), "the old primary was left alone");
    T::put(new, 3).await;

    // Else it could fetch that write in the moment before it follows.
    topology.link(1).set_target(new.addr());
    topology.link(1).heal();
    topology.follow(1, Member::Replica(0)).await.unwrap();
    shows::<T>(other, 3).await;
    lacks::<T>(other, 2).await;

    topology.rejoin(Member::Replica(0)).await;
    assert!(T::is_replica(old).await.unwrap());
    T::put(new, 4).await;
    shows::<T>(old, 4).await;
    lacks::<T>(old, 2).await;

    // The second failover in a row.
    new.kill().await.unwrap();
    let error = topology.promote(0).await.unwrap_err();
    assert!(matches!(error, TopologyError::NotRunning { .. }), "{error}");
    topology.promote(1).await.unwrap();
    T::put(other, 5).await;
}

/// The second of two replicas follows the first one.
pub(crate) async fn a_replica_of_a_replica<T: Replicated>(topology: &T) {
    topology.follow(1, Member::Replica(0)).await.unwrap();
    assert_eq!(topology.link(1).target(), topology.replica(0).addr());
    T::put(topology.primary(), 1).await;
    shows::<T>(topology.replica(1), 1).await;

    topology.link(0).cut();
    T::put(topology.primary(), 2).await;
    lacks::<T>(topology.replica(1), 2).await;
    topology.link(0).heal();
    shows::<T>(topology.replica(1), 2).await;

    let error = topology.promote(2).await.unwrap_err();
    assert!(matches!(error, TopologyError::NoSuchMember { member: Member::Replica(2) }), "{error}");
}

/// What the start of a topology failed with, of a setting that the server refuses.
pub(crate) fn says_why(started: Result<impl Sized, TopologyError>, server: &str, setting: &str) {
    let Err(error) = started else { panic!("{server} starts with such a {setting}") };
    assert!(matches!(error, TopologyError::Exited { .. }), "{error}");
    let message = error.to_string();
    assert!(message.contains(server) && message.contains(setting), "{message}");
    assert!(!message.contains('\n'), "{message}");
}
