//! Connections that break, time out or are given up between a write and its position.

use std::time::Duration;

use antipode_barrier::OnMissing;
use antipode_docker::{Proxy, RedisOptions};
use antipode_lineage::{LineageScope, WriteId};
use antipode_redis::RedisStore;
use antipode_redis::redis::aio::{ConnectionLike, ConnectionManager, MultiplexedConnection};
use antipode_redis::redis::{AsyncCommands, AsyncConnectionConfig, Client, RedisError, cmd, pipe};

use crate::stage::{self, MOMENT, PATIENCE, Stage, depending, foreign, name, peek, placed, registry};

/// A connection to the primary through a faulty proxy.
async fn through(proxy: &Proxy, limit: Duration) -> MultiplexedConnection {
    let client = Client::open(format!("redis://{}/", proxy.addr())).unwrap();
    let config = AsyncConnectionConfig::new().set_response_timeout(Some(limit));
    client.get_multiplexed_async_connection_with_config(&config).await.unwrap()
}

fn unplaced(scope: &LineageScope) -> bool {
    scope.lineage().of_store(name("posts")) == [WriteId::unplaced(name("posts"))]
}

#[tokio::test]
async fn a_write_of_unknown_outcome_is_waited_for() {
    let stage = Stage::start().await;
    let registry = registry(&stage.reading(&[0])).await;
    let proxy = Proxy::start(stage.topology.primary().addr()).await.unwrap();
    let connection = through(&proxy, PATIENCE).await;
    let mut warm = stage.store.shim(connection.clone()).within(LineageScope::new());
    let () = warm.set("warm", 1).await.unwrap();
    // The write arrives, its reply does not.
    proxy.set_delay_to_client(PATIENCE);
    let scope = depending(foreign(5));
    let mut posts = stage.store.shim(connection.clone()).within(scope.clone());
    let writing = tokio::spawn(async move { posts.set::<_, _, ()>("post", "hello").await });
    while peek::<Option<String>>(stage.topology.primary(), "post").await.is_none() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    proxy.reset();
    let error = writing.await.unwrap().unwrap_err();
    assert!(error.is_io_error() || error.is_connection_dropped(), "{error}");
    assert!(unplaced(&scope), "{:?}", scope.lineage());
    registry.barrier_on(&scope.lineage()).only(&[name("posts")]).await.unwrap();
    let post: Option<String> = peek(stage.topology.replica(0), "post").await;
    assert_eq!(post.as_deref(), Some("hello"));
}

#[tokio::test]
async fn a_write_that_timed_out_is_unplaced_and_a_read_is_nothing() {
    let stage = Stage::with(RedisOptions::default().replicas(1)).await;
    let proxy = Proxy::start(stage.topology.primary().addr()).await.unwrap();
    let connection = through(&proxy, MOMENT).await;
    let scope = LineageScope::new();
    let mut posts = stage.store.shim(connection).within(scope.clone());
    let () = cmd("PING").query_async(&mut posts).await.unwrap();
    proxy.hang();
    let error = posts.get::<_, Option<String>>("post").await.unwrap_err();
    assert!(error.is_timeout(), "{error}");
    assert!(scope.lineage().is_empty());
    let error: RedisError = posts.set::<_, _, ()>("post", 1).await.unwrap_err();
    assert!(error.is_timeout() && unplaced(&scope), "{error}");
    for atomic in [false, true] {
        let scope = LineageScope::new();
        let mut posts = posts.within(scope.clone());
        let mut batch = pipe();
        batch.set("post", 1).get("post");
        if atomic {
            batch.atomic();
        }
        assert!(batch.query_async::<()>(&mut posts).await.is_err());
        assert!(unplaced(&scope), "atomic: {atomic}");
    }
}

#[tokio::test]
async fn a_write_that_is_given_up_half_way_is_unplaced() {
    let stage = Stage::with(RedisOptions::default().replicas(1)).await;
    let proxy = Proxy::start(stage.topology.primary().addr()).await.unwrap();
    let mut connection = through(&proxy, PATIENCE).await;
    let () = cmd("PING").query_async(&mut connection).await.unwrap();
    let mut warm = stage.store.shim(connection.clone()).within(LineageScope::new());
    let () = warm.set("warm", 1).await.unwrap();
    proxy.hang();
    for polls in [1, 2] {
        let scope = LineageScope::new();
        let mut posts = stage.store.shim(connection.clone()).within(scope.clone());
        let mut set = cmd("SET");
        set.arg("post").arg(polls);
        let mut writing = posts.req_packed_command(&set);
        for _ in 0..polls {
            assert!(futures_util::poll!(&mut writing).is_pending());
            tokio::task::yield_now().await;
        }
        drop(writing);
        assert!(unplaced(&scope), "dropped after {polls} polls");
    }
    let scope = LineageScope::new();
    let mut posts = stage.store.shim(connection.clone()).within(scope.clone());
    let mut get = cmd("GET");
    get.arg("post");
    let mut reading = posts.req_packed_command(&get);
    assert!(futures_util::poll!(&mut reading).is_pending());
    drop(reading);
    assert!(scope.lineage().is_empty(), "a read that was given up saw nothing");
}

#[tokio::test]
async fn a_refused_write_leaves_nothing_behind() {
    let stage = Stage::with(RedisOptions::default().replicas(1)).await;
    let scope = LineageScope::new();
    let replica = "replica-0".parse().unwrap();
    let mut wrong = stage.store.connection_to(replica).await.unwrap().within(scope.clone());
    let error = wrong.set::<_, _, ()>("post", 1).await.unwrap_err();
    assert!(error.to_string().to_lowercase().contains("read only"), "{error}");
    let mut batch = pipe();
    batch.atomic().set("post", 1);
    assert!(batch.query_async::<()>(&mut wrong).await.is_err());
    assert!(scope.lineage().is_empty(), "{:?}", scope.lineage());
    // A script that only reads is served by a replica.
    let value: Option<String> = cmd("EVAL")
        .arg("return redis.call('GET', KEYS[1])")
        .arg(1)
        .arg("post")
        .query_async(&mut wrong)
        .await
        .unwrap();
    assert_eq!(value, None);
    assert!(!placed(&scope).is_unplaced());
}

#[tokio::test]
async fn an_acl_that_hides_the_position_leaves_writes_unplaced() {
    let stage = Stage::with(RedisOptions::default().replicas(1)).await;
    let mut raw = stage.raw().await;
    let rights = ["SETUSER", "app", "on", ">secret", "~*", "+@all", "-info"];
    let () = cmd("ACL").arg(&rights).query_async(&mut raw).await.unwrap();
    let url = stage.topology.primary().url().replace("redis://", "redis://app:secret@");
    let scope = LineageScope::new();
    let connection = stage::raw_client(&Client::open(url).unwrap()).await;
    let mut posts = stage.store.shim(connection).within(scope.clone());
    let () = posts.set("post", 1).await.unwrap();
    assert!(unplaced(&scope), "the write stands, its place is unknown");
    let rights = ["SETUSER", "app", "+info", "-eval"];
    let () = cmd("ACL").arg(&rights).query_async(&mut raw).await.unwrap();
    let refused = posts.expire::<_, ()>("post", 100).await;
    assert!(refused.unwrap_err().to_string().contains("eval"));
    let left: i64 = posts.ttl("post").await.unwrap();
    assert_eq!(left, -1, "a write whose lineage may not be stored is not executed");

    // What needs a second request for its lifetime is done without it, and placed.
    let () = raw.set_ex("expiring", "a", 1_000).await.unwrap();
    let scope = LineageScope::new();
    // Now and then one takes the script at once, which is refused as a whole.
    let mut dependent = stage.store.shim(posts.into_inner()).within(scope.clone());
    scope.add(foreign(5));
    let mut attempts = 0;
    while dependent.append::<_, _, ()>("expiring", "b").await.is_err() {
        attempts += 1;
        assert!(attempts < 20, "it is refused by chance only");
    }
    assert!(!placed(&scope).is_unplaced());
    let lasts = cmd("PTTL").arg("antipode:{expiring}").query_async::<i64>(&mut raw).await.unwrap();
    assert_eq!(lasts, -1, "its lineage stays rather too long than too short");
}

/// Commands that were to be one transaction are then executed one by one.
#[tokio::test]
async fn an_acl_that_forbids_transactions_hides_no_write() {
    let stage = Stage::with(RedisOptions::default().replicas(1)).await;
    let mut raw = stage.raw().await;
    let rights = ["SETUSER", "app", "on", ">secret", "~*", "+@all", "-multi"];
    let () = cmd("ACL").arg(&rights).query_async(&mut raw).await.unwrap();
    let url = stage.topology.primary().url().replace("redis://", "redis://app:secret@");
    let connection = stage::raw_client(&Client::open(url).unwrap()).await;
    let posts = stage.store.shim(connection);
    for forbidden in ["-multi", "-exec"] {
        let () = cmd("ACL").arg(&["SETUSER", "app", forbidden]).query_async(&mut raw).await.unwrap();
        for several in [false, true] {
            let scope = LineageScope::new();
            let mut posts = posts.within(scope.clone());
            let mut write = pipe();
            write.incr("post", 1).ignore();
            if several {
                write.incr("other", 1).ignore();
            }
            let () = raw.del(&["post", "other"]).await.unwrap();
            let error = write.query_async::<()>(&mut posts).await.unwrap_err();
            let count: u32 = raw.get("post").await.unwrap();
            assert_eq!(count, 1, "it is not sent again: {forbidden}, several: {several}");
            assert!(error.to_string().to_lowercase().contains("multi"), "{error}");
            assert!(!scope.lineage().is_empty(), "it was executed: {forbidden}, several: {several}");
        }
    }
}

#[tokio::test]
async fn a_command_outside_of_any_lineage_does_what_was_chosen() {
    let stage = Stage::with(RedisOptions::default().replicas(0)).await;
    let () = stage.store.connection().await.unwrap().set("post", 1).await.unwrap();
    assert_eq!(stage.store.missed(), 1);
    let client = Client::open(stage.topology.primary().url()).unwrap();
    let builder = RedisStore::builder("posts").primary(client).on_missing(OnMissing::Error);
    let strict = builder.build().unwrap();
    let mut posts = strict.connection().await.unwrap();
    let error = posts.set::<_, _, ()>("post", 2).await.unwrap_err();
    assert!(error.to_string().contains("posts was used outside of a lineage"), "{error}");
    let () = cmd("PING").query_async(&mut posts).await.unwrap();
    let () = LineageScope::new().run(posts.set("post", 2)).await.unwrap();
}

#[tokio::test]
async fn a_late_reply_is_waited_for_as_long_as_the_store_is_told() {
    let stage = Stage::with(RedisOptions::default().replicas(1)).await;
    let proxy = Proxy::start(stage.topology.primary().addr()).await.unwrap();
    let slow = Client::open(format!("redis://{}/", proxy.addr())).unwrap();
    let store = RedisStore::builder("posts").primary(slow).response_timeout(PATIENCE).build().unwrap();
    let scope = LineageScope::new();
    let mut posts = store.connection().await.unwrap().within(scope.clone());
    // Longer than the driver waits by itself.
    proxy.set_delay_to_client(Duration::from_secs(1));
    let () = posts.set("post", 1).await.unwrap();
    assert!(!placed(&scope).is_unplaced());
}

#[tokio::test]
async fn the_shared_connection_comes_back_by_itself() {
    let stage = Stage::with(RedisOptions::default().replicas(0)).await;
    let scope = LineageScope::new();
    let shared = async || -> antipode_redis::RedisShim<ConnectionManager> {
        stage.store.connection().await.unwrap().within(scope.clone())
    };
    let () = shared().await.set("post", 1).await.unwrap();
    stage.topology.primary().restart().await.unwrap();
    let mut posts = shared().await;
    let again = async {
        while posts.set::<_, _, ()>("post", 2).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, again).await.unwrap();
    let post: String = shared().await.get("post").await.unwrap();
    assert_eq!(post, "2");
}
