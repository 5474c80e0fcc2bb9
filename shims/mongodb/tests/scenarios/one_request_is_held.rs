//! A thousand barriers wait at a member that lags: it is asked a few times, and not a thousand.

use std::time::Duration;

use antipode_barrier::Registry;
use antipode_docker::{MongoOptions, MongoTopology};
use antipode_lineage::LineageScope;
use antipode_mongodb::MongoStore;
use antipode_mongodb::mongodb::Client;
use antipode_mongodb::mongodb::bson::{Document, doc};
use futures_util::future::join_all;

#[tokio::test(flavor = "multi_thread")]
async fn a_member_holds_one_request_for_all_who_wait() {
    let topology = MongoTopology::start(MongoOptions::default()).await.unwrap();
    let replica = Client::with_uri_str(topology.replica(1).url()).await.unwrap();
    let set = Client::with_uri_str(topology.url()).await.unwrap();
    let store = MongoStore::builder("posts").primary(set).replica("eu", replica.clone()).build().unwrap();
    let registry = Registry::builder().deadline(Duration::from_secs(60)).store(store.clone());
    let registry = registry.build().await.unwrap();
    topology.link(1).hang();
    let scope = LineageScope::new();
    let posts = store.database("test").collection::<Document>("posts");
    scope.run(posts.insert_one(doc! { "_id": 1 }).into_future()).await.unwrap();
    let lineage = scope.settled().await;

    let finds = async || {
        let status = replica.database("admin").run_command(doc! { "serverStatus": 1 }).await.unwrap();
        // Also those that are held and given up.
        let commands = status.get_document("metrics").unwrap().get_document("commands").unwrap();
        commands.get_document("find").unwrap().get_i64("total").unwrap()
    };
    let before = finds().await;
    let barriers = join_all((0..1000).map(|_| {
        let (registry, lineage) = (registry.clone(), lineage.clone());
        tokio::spawn(async move { registry.barrier_on(&lineage).await })
    }));
    let healed = async {
        while registry.waiting() < 1000 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // The member gives up the first one after a while, and is asked again.
        while finds().await < before + 3 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        topology.link(1).heal();
    };
    let both = async { tokio::join!(barriers, healed) };
    let (barriers, ()) = tokio::time::timeout(Duration::from_secs(60), both).await.unwrap();
    for barrier in barriers {
        barrier.unwrap().unwrap();
    }
    let asked = finds().await - before;
    assert!((3..100).contains(&asked), "1000 barriers made {asked} requests");
    assert!(posts.find_one(doc! { "_id": 1 }).await.unwrap().is_some());
}
