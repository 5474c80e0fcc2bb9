//! What is refused when a store is registered, and what the refusal says.

use antipode_barrier::Registry;
use antipode_docker::{RedisOptions, RedisTopology};
use antipode_redis::RedisStore;
use antipode_redis::redis::{Client, cmd};

use crate::stage::{Stage, client, store};

async fn refusal(store: &RedisStore) -> String {
    Registry::builder().store(store.clone()).build().await.unwrap_err().to_string()
}

#[tokio::test]
async fn a_store_that_cannot_keep_the_promise_is_refused() {
    let stage = Stage::start().await;
    let topology = &stage.topology;
    Registry::builder().store(stage.store.clone()).build().await.unwrap();
    let reads_primary = store(topology.primary(), &[("near".into(), client(topology.primary()))]);
    Registry::builder().store(reads_primary).build().await.unwrap();

    let swapped = store(topology.replica(0), &[("eu".into(), client(topology.primary()))]);
    assert!(refusal(&swapped).await.contains("behind primary is a replica"));
    let other = RedisTopology::start(RedisOptions::default().replicas(1)).await.unwrap();
    let alone = store(topology.primary(), &[("eu".into(), client(other.primary()))]);
    assert!(refusal(&alone).await.contains("behind eu is a primary of its own"));
    let foreign = store(topology.primary(), &[("eu".into(), client(other.replica(0)))]);
    assert!(refusal(&foreign).await.contains("behind eu follows another primary"));

    // What is only broken may come back, even if it knows nothing of the primary's new history.
    topology.link(0).cut();
    topology.link(1).cut();
    topology.primary().restart().await.unwrap();
    for replica in topology.replicas() {
        while stage.info(replica, "master_link_status").await == "up" {
            tokio::task::yield_now().await;
        }
    }
    Registry::builder().store(stage.store.clone()).build().await.unwrap();
    topology.replica(1).kill().await.unwrap();
    Registry::builder().store(stage.store.clone()).build().await.unwrap();
    topology.primary().kill().await.unwrap();
    assert!(refusal(&stage.store).await.contains("behind primary could not be asked"));
}

#[tokio::test]
async fn a_cluster_is_refused() {
    let options = RedisOptions::default().replicas(0).setting("cluster-enabled", "yes");
    let topology = RedisTopology::start(options).await.unwrap();
    let refused = refusal(&store(topology.primary(), &[])).await;
    assert!(refused.contains("RedisStore::cluster"), "{refused}");
}

#[tokio::test]
async fn an_acl_that_hides_what_is_needed_is_refused() {
    let stage = Stage::with(RedisOptions::default().replicas(0)).await;
    let mut raw = stage.raw().await;
    let url = stage.topology.primary().url();
    for (rights, problem) in [("-info", "its ACL allows INFO"), ("-command", "its ACL allows COMMAND")] {
        let rights = ["SETUSER", "app", "on", ">secret", "~*", "+@all", rights];
        let () = cmd("ACL").arg(&rights).query_async(&mut raw).await.unwrap();
        let app = Client::open(url.replace("redis://", "redis://app:secret@")).unwrap();
        let store = RedisStore::builder("posts").primary(app).build().unwrap();
        let refused = refusal(&store).await;
        assert!(refused.contains(problem), "{refused}");
        let () = cmd("ACL").arg("DELUSER").arg("app").query_async(&mut raw).await.unwrap();
    }
    let stranger = Client::open(url.replace("redis://", "redis://app:wrong@")).unwrap();
    let store = RedisStore::builder("posts").primary(stranger).build().unwrap();
    assert!(refusal(&store).await.contains("behind primary could not be asked"));
    let stranger = Client::open(url.replace("redis://", "redis://app:wrong@")).unwrap();
    let store = RedisStore::builder("posts").primary(client(stage.topology.primary()));
    let store = store.replica("eu", stranger).build().unwrap();
    assert!(
        refusal(&store).await.contains("behind eu could not be asked"),
        "an answer that says no is no outage"
    );
}
