//! An election cuts a write off that only the old primary had (`w: 1`): it is lost, and never called
//! visible, whoever is asked. What a majority had goes through the same election.

use std::time::Duration;

use antipode_barrier::{BarrierError, Registry};
use antipode_docker::{Member, MongoOptions, MongoTopology};
use antipode_lineage::{Lineage, LineageScope};
use antipode_mongodb::MongoStore;
use antipode_mongodb::mongodb::Client;
use antipode_mongodb::mongodb::bson::{Document, doc};
use antipode_mongodb::mongodb::options::{Acknowledgment, WriteConcern};

/// Well beyond what a healthy set takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Long enough for a few probes, for barriers that must not succeed.
const SHORT: Duration = Duration::from_millis(1500);

struct Scene {
    topology: MongoTopology,
    set: Client,
}

impl Scene {
    async fn begin() -> Self {
        let topology = MongoTopology::start(MongoOptions::default()).await.unwrap();
        let set = Client::with_uri_str(topology.url()).await.unwrap();
        Self { topology, set }
    }

    /// A process that reads from these members.
    async fn store(&self, members: &[Member]) -> MongoStore {
        let mut builder = MongoStore::builder("posts").primary(self.set.clone());
        for member in members {
            let url = self.topology.node(*member).unwrap().url();
            builder = builder.replica(format!("{member}-1"), Client::with_uri_str(url).await.unwrap());
        }
        builder.build().unwrap()
    }

    async fn registry(&self, members: &[Member]) -> Registry {
        Registry::builder().deadline(PATIENCE).store(self.store(members).await).build().await.unwrap()
    }

    /// Writes a document of this id.
    async fn put(&self, id: i32, w: Acknowledgment) -> Lineage {
        let scope = LineageScope::new();
        let concern = WriteConcern::builder().w(w).w_timeout(PATIENCE).build();
        let posts = self.store(&[]).await.database("test").collection::<Document>("posts");
        scope.run(posts.insert_one(doc! { "_id": id }).write_concern(concern).into_future()).await.unwrap();
        scope.settled().await
    }

    async fn has(&self, member: Member, id: i32) -> bool {
        let url = self.topology.node(member).unwrap().url();
        let posts = Client::with_uri_str(url).await.unwrap().database("test").collection::<Document>("posts");
        posts.find_one(doc! { "_id": id }).await.unwrap().is_some()
    }

    /// A write that both replicas are cut off from, after one that both have. Their links stay cut.
    async fn lose(&self, id: i32, kept: &Lineage) -> Lineage {
        for index in [0, 1] {
            // Who has less of the log than the other one is not elected.
            self.registry(&[Member::Replica(index)]).await.barrier_on(kept).await.unwrap();
        }
        // The one that will be elected last: nobody may have more of the log.
        for index in [1, 0] {
            self.topology.link(index).hang();
        }
        let lost = self.put(id, Acknowledgment::Nodes(1)).await;
        for index in [0, 1] {
            self.topology.link(index).cut();
        }
        lost
    }

    /// Another primary is elected while the old one lives on, by itself and with all that it has.
    async fn elect_another(&self) {
        self.topology.entrance(Member::Primary).unwrap().cut();
        self.topology.primary_link().cut();
        for index in [0, 1] {
            self.topology.link(index).heal();
        }
        self.topology.promote(0).await.unwrap();
    }
}

async fn refused(registry: &Registry, lineage: &Lineage) -> BarrierError {
    registry.barrier_on(lineage).deadline(SHORT).await.expect_err("the write is gone")
}

#[tokio::test]
async fn a_write_of_the_old_primary_alone_is_lost_and_a_majoritys_is_not() {
    use Member::{Primary, Replica};
    let scene = Scene::begin().await;
    let before = scene.registry(&[Replica(0), Replica(1)]).await;
    let old_before = scene.registry(&[Primary]).await;
    let kept = scene.put(1, Acknowledgment::Majority).await;
    assert!(!kept.is_weak());
    let lost = scene.lose(2, &kept).await;
    assert!(lost.is_weak(), "a majority was not waited for");

    scene.elect_another().await;
    let later = scene.put(3, Acknowledgment::Majority).await;
    let after = scene.registry(&[Replica(0), Replica(1)]).await;
    let old_after = scene.registry(&[Primary]).await;
    for registry in [&before, &after] {
        let error = refused(registry, &lost).await;
        assert!(error.is_lost(), "{error}");
        registry.barrier_on(&kept).await.unwrap();
        registry.barrier_on(&later).await.unwrap();
    }
    // The old primary still shows it, but not for long.
    assert!(scene.has(Primary, 2).await);
    let error = refused(&old_after, &lost).await;
    assert!(error.is_lost(), "{error}");

    scene.topology.primary_link().heal();
    scene.topology.entrance(Primary).unwrap().heal();
    scene.topology.rejoin(Primary).await.unwrap();
    for registry in [&old_before, &old_after] {
        registry.barrier_on(&later).await.unwrap();
        let error = refused(registry, &lost).await;
        assert!(error.is_lost(), "{error}");
        registry.barrier_on(&kept).await.unwrap();
    }
    assert!(!scene.has(Primary, 2).await, "rolled back");
    assert!(scene.has(Primary, 1).await);
}

#[tokio::test]
async fn the_log_that_began_the_set_tells_where_a_term_ended() {
    use Member::{Primary, Replica};
    let scene = Scene::begin().await;
    // Whoever initiated the set is alone in having its first entry, and nobody else is asked here.
    let client = || async {
        let url = scene.topology.node(Primary).unwrap().url();
        Client::with_uri_str(url).await.unwrap()
    };
    let alone = MongoStore::builder("posts").primary(client().await).replica("primary-1", client().await);
    let alone = Registry::builder().deadline(PATIENCE).store(alone.build().unwrap()).build().await.unwrap();
    let kept = scene.put(1, Acknowledgment::Majority).await;
    let lost = scene.lose(2, &kept).await;
    scene.elect_another().await;
    let later = scene.put(3, Acknowledgment::Majority).await;

    scene.topology.primary_link().heal();
    scene.topology.entrance(Primary).unwrap().heal();
    scene.topology.rejoin(Primary).await.unwrap();
    scene.registry(&[Primary]).await.barrier_on(&later).await.unwrap();
    assert!(!scene.has(Replica(0), 2).await && !scene.has(Primary, 2).await, "rolled back");
    let error = refused(&alone, &lost).await;
    assert!(error.is_lost(), "{error}");
    alone.barrier_on(&kept).await.unwrap();
}

#[tokio::test]
async fn an_election_that_no_majority_has_confirmed_proves_nothing_lost() {
    use Member::Replica;
    let scene = Scene::begin().await;
    let kept = scene.put(1, Acknowledgment::Majority).await;
    let registry = scene.registry(&[Replica(0), Replica(1)]).await;
    registry.barrier_on(&kept).await.unwrap();
    let lost = scene.lose(2, &kept).await;
    scene.topology.primary().kill().await.unwrap();
    // The other replica votes, but gets nothing of the new term: that may yet be undone.
    scene.topology.link(0).heal();
    let confirmed = async { scene.topology.promote(0).await.unwrap() };
    let unconfirmed = async {
        while !scene.topology.replica(0).is_primary().await.unwrap() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let error = refused(&registry, &lost).await;
        assert!(!error.is_lost(), "nothing proves it yet: {error}");
        let reader = scene.store(&[Replica(0)]).await;
        let reader = Registry::builder().deadline(PATIENCE).store(reader).build().await.unwrap();
        let error = refused(&reader, &lost).await;
        assert!(!error.is_lost(), "nothing proves it yet: {error}");
        scene.topology.link(1).heal();
    };
    tokio::join!(confirmed, unconfirmed);
    let error = refused(&registry, &lost).await;
    assert!(error.is_lost(), "{error}");
    registry.barrier_on(&kept).await.unwrap();
}

#[tokio::test]
async fn an_election_while_a_barrier_waits_ends_visible_with_what_a_majority_had() {
    use Member::Replica;
    let scene = Scene::begin().await;
    let registry = scene.registry(&[Replica(1)]).await;
    scene.topology.link(1).hang();
    let kept = scene.put(1, Acknowledgment::Majority).await;
    let barrier = tokio::spawn({
        let (registry, kept) = (registry.clone(), kept.clone());
        async move { registry.barrier_on(&kept).await }
    });
    while registry.waiting() == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    scene.topology.primary().kill().await.unwrap();
    scene.topology.link(1).cut();
    assert!(!scene.has(Replica(1), 1).await && !barrier.is_finished());
    scene.topology.link(1).heal();
    scene.topology.promote(0).await.unwrap();
    barrier.await.unwrap().unwrap();
    assert!(scene.has(Replica(1), 1).await);
}
