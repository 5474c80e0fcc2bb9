//! Whoever sees a value, by whatever command, depends on what its writer depended on.

use std::time::Duration;

use antipode_docker::RedisOptions;
use antipode_lineage::LineageScope;
use antipode_redis::redis::{AsyncCommands, cmd, pipe};

use crate::companion::{alone, command, order};
use crate::stage::{PATIENCE, Stage, depending, foreign, raw};

#[tokio::test]
async fn whoever_sees_a_value_depends_on_its_writer() {
    let (stage, _raw) = alone().await;
    for (setup, sees) in [
        ("SET a 1", "GET a"),
        ("SET a 1", "MGET b a"),
        ("SET a 1", "TYPE a"),
        ("SET a 1", "INCR a"),
        ("SET a 1", "GETSET a 2"),
        ("SET a 1", "SET a 2 GET"),
        ("SET a 1", "GETDEL a"),
        ("SET a 1", "GETEX a"),
        ("SET a 1", "OBJECT ENCODING a"),
        ("SET a 1", "EVAL_RO return(redis.call('GET',KEYS[1])) 1 a"),
        ("SET a 1", "EVAL return(redis.call('GET',KEYS[1])) 1 a"),
        ("RPUSH a 1", "LPOP a"),
        ("RPUSH a 1", "LMPOP 2 b a LEFT"),
        ("RPUSH a 1", "BLPOP b a 1"),
        ("RPUSH a 1", "BLMOVE a b LEFT RIGHT 1"),
        ("ZADD a 1 1", "BZPOPMIN a 1"),
        ("ZADD a 1 1", "ZUNION 2 b a"),
        ("SADD a 1", "SPOP a"),
        ("HSET a f 1", "HSCAN a 0"),
    ] {
        let () = command("DEL a b").query_async(&mut stage.writer(0).await).await.unwrap();
        let () = stage.run(9, setup).await;
        assert_eq!(stage.learnt(sees).await, 9, "{sees}");
    }
    let () = stage.run(9, "SET a 1").await;
    for blind in ["SET a 2", "MSET a 2", "EXPIRE a 100"] {
        assert_eq!(stage.learnt(blind).await, 0, "{blind} sees nothing");
    }
}

/// Two workers block on one list; the first to ask for the lineage finds the list gone.
#[tokio::test]
async fn everyone_served_by_a_blocking_pop_learns_where_the_element_is_from() {
    let (stage, _raw) = alone().await;
    let worker = async || {
        let scope = LineageScope::new();
        let mut jobs = stage.store.shim(raw(stage.topology.primary()).await).within(scope.clone());
        let popped: Option<(String, String)> = jobs.blpop("jobs", 20.0).await.unwrap();
        assert!(popped.is_some());
        order(&scope.lineage())
    };
    let producer = async {
        while stage.info(stage.topology.primary(), "blocked_clients").await != "3" {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let () = stage.run(9, "RPUSH jobs a b c").await;
    };
    let (one, two, three, ()) = tokio::join!(worker(), worker(), worker(), producer);
    assert_eq!([one, two, three], [9, 9, 9]);
}

/// Writers replace the value by turns, and with it what it depends on: less, then more again. The
/// server reads a key of this size by itself and serves others before it reads on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_is_never_seen_with_the_lineage_of_another() {
    let (stage, _raw) = alone().await;
    let key = format!("{:>50000}", "post");
    for atomic in [false, true] {
        let write = async |order: u64| {
            let connection = raw(stage.topology.primary()).await;
            for _ in 0..400 {
                let mut posts = stage.store.shim(connection.clone()).within(depending(foreign(order)));
                let mut batch = pipe();
                batch.set(&key, order).set("other", order);
                if atomic {
                    batch.atomic();
                }
                let () = batch.query_async(&mut posts).await.unwrap();
            }
        };
        let read = async || {
            let connection = raw(stage.topology.primary()).await;
            let mut seen = [0, 0];
            for _ in 0..800 {
                let scope = LineageScope::new();
                let mut posts = stage.store.shim(connection.clone()).within(scope.clone());
                let mut batch = pipe();
                batch.get(&key);
                if atomic {
                    batch.atomic();
                }
                let (value,): (Option<u64>,) = batch.query_async(&mut posts).await.unwrap();
                let value = value.unwrap_or_default();
                assert!(order(&scope.lineage()) >= value, "{value} seen with {}", scope.lineage());
                seen[usize::from(value == 9)] += 1;
            }
            assert!(seen[0] > 0 && seen[1] > 0, "no turns: {seen:?}");
        };
        tokio::join!(write(5), write(9), read(), read());
    }
}

/// Between `WATCH` and the transaction the shim has no transactions of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watched_value_is_never_seen_with_less_than_its_lineage() {
    let stage = Stage::with(RedisOptions::default().replicas(1)).await;
    let key = format!("{:>50000}", "post");
    let write = async |order: u64| {
        let connection = raw(stage.topology.primary()).await;
        for _ in 0..800 {
            let mut posts = stage.store.shim(connection.clone()).within(depending(foreign(order)));
            let () = posts.set(&key, order).await.unwrap();
        }
    };
    let read = async || {
        let mut posts = stage.store.shim(raw(stage.topology.primary()).await);
        for _ in 0..800 {
            let scope = LineageScope::new();
            let watch = scope.run(cmd("WATCH").arg("other").exec_async(&mut posts)).await;
            let value: Option<u64> = scope.run(posts.get(&key)).await.unwrap();
            let seen = scope.lineage();
            let covered = seen.covers_write(&foreign(value.unwrap_or_default()));
            assert!(watch.is_ok() && (value.is_none() || covered), "{value:?} seen with {seen}");
        }
    };
    tokio::join!(write(5), write(9), read(), read());
    // When nobody writes, it is seen with no more.
    let mut quiet = stage.store.shim(stage.raw().await);
    let exact = async {
        loop {
            let scope = LineageScope::new();
            let () = scope.run(cmd("WATCH").arg("other").exec_async(&mut quiet)).await.unwrap();
            let () = scope.run(quiet.get(&key)).await.unwrap();
            if !scope.lineage().has_overflowed() {
                return order(&scope.lineage());
            }
        }
    };
    let order = tokio::time::timeout(PATIENCE, exact).await.unwrap();
    assert!([5, 9].contains(&order));
}

/// `SORT` by other keys reads what no one can tell beforehand.
#[tokio::test]
async fn a_sort_by_other_keys_depends_on_everything() {
    let (stage, _raw) = alone().await;
    let () = stage.run(9, "RPUSH list 1 2").await;
    assert_eq!(stage.learnt("SORT list").await, 9);
    let scope = LineageScope::new();
    let mut posts = stage.store.connection().await.unwrap().within(scope.clone());
    let () = command("SORT list BY weight_*").query_async(&mut posts).await.unwrap();
    assert!(scope.lineage().has_overflowed());
}
