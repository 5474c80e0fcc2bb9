//! What is stored beside values, and what becomes of it as they change.

use std::time::Duration;

use antipode_lineage::{LineageScope, MAX_BRANCHES, WriteId};
use antipode_redis::redis::aio::MultiplexedConnection;
use antipode_redis::redis::{AsyncCommands, Script, Value, cmd, pipe};

use crate::companion::{alone, command, order};
use crate::stage::{Stage, depending, foreign, name};

#[tokio::test]
async fn a_full_replacement_overwrites_and_a_partial_update_joins() {
    let (stage, _raw) = alone().await;
    for (key, create, change, joined) in [
        ("string", "SET string a", "APPEND string b", true),
        ("number", "SET number 1", "INCR number", true),
        ("list", "RPUSH list a", "LPUSH list b", true),
        ("set", "SADD set a", "SADD set b", true),
        ("hash", "HSET hash a 1", "HDEL hash b", true),
        ("again", "SET again a", "SET again b", false),
        ("many", "MSET many a", "MSET many b other c", false),
        ("timed", "SET timed a", "SET timed b EX 100", false),
        ("kept", "SET kept a PX 100000", "SET kept b KEEPTTL", false),
        ("setex", "SETEX setex 100 a", "PSETEX setex 100000 b", false),
    ] {
        let () = stage.run(9, create).await;
        assert_eq!(stage.beside(key).await, 9, "{create}");
        let () = stage.run(5, change).await;
        assert_eq!(stage.beside(key).await, if joined { 9 } else { 5 }, "{change} after {create}");
        let () = stage.run(12, change).await;
        assert_eq!(stage.beside(key).await, 12, "{change}");
    }
}

/// What a replaced value depended on is gone with it, in whichever store it was.
#[tokio::test]
async fn nothing_is_left_of_what_a_replaced_value_depended_on() {
    let (stage, _raw) = alone().await;
    let refund = WriteId { store: name("refunds"), ..foreign(3) };
    for replacement in
        ["SET post b", "MSET post b", "SET post b EX 100", "SET post b KEEPTTL", "SETEX post 100 b"]
    {
        let () = stage.run(9, "SET post a").await;
        let mut posts = stage.store.connection().await.unwrap().within(depending(refund));
        let () = command(replacement).query_async(&mut posts).await.unwrap();
        let scope = LineageScope::new();
        let mut posts = stage.store.connection().await.unwrap().within(scope.clone());
        let () = posts.get("post").await.unwrap();
        let seen = scope.lineage();
        assert!(seen.covers_write(&refund) && order(&seen) == 0, "{replacement}: {seen}");
    }
}

/// A value that stays must keep its lineage, whatever was attempted on it.
#[tokio::test]
async fn a_replacement_that_fails_leaves_the_lineage_of_the_value_that_stays() {
    let (stage, _raw) = alone().await;
    let () = stage.run(9, "SET post a").await;
    let () = stage.run(9, "RPUSH list a").await;
    for attempt in [
        "SET post b EX -5",
        "SET post b EX 99999999999999999",
        "SET post b NX",
        "SET post b NX GET",
        "SET list b GET",
        "SETNX post b",
        "SETEX post 0 b",
        "PSETEX post 9223372036854775807 b",
        "MSETNX post b other c",
        "MSET post b other",
        "SUNIONSTORE post list list",
        "RESTORE post 0 junk",
        "RENAME nothing post",
        "RENAMENX list post",
        "COPY list post",
        "MSET post",
    ] {
        let _ = command(attempt).query_async::<Value>(&mut stage.writer(5).await).await;
        assert_eq!(stage.learnt("GET post").await, 9, "{attempt}");
        assert_eq!(stage.learnt("LRANGE list 0 -1").await, 9, "{attempt}");
    }
}

/// What a server does not even queue was not executed, so it joins nothing.
#[tokio::test]
async fn a_refused_update_leaves_the_lineage_as_it_was() {
    let (stage, _raw) = alone().await;
    let () = stage.run(5, "HSET hash a 1").await;
    for attempt in ["HSET hash a", "APPEND hash"] {
        let refused = command(attempt).query_async::<Value>(&mut stage.writer(9).await).await;
        assert!(refused.is_err());
        assert_eq!(stage.beside("hash").await, 5, "{attempt}");
    }
}

#[tokio::test]
async fn the_lineage_goes_with_its_key_and_expires_with_it() {
    let (stage, mut raw) = alone().await;
    for (change, expires) in [
        ("SET post a EX 1000", true),
        ("APPEND post b", true),
        ("PERSIST post", false),
        ("PEXPIRE post 500000", true),
        ("GETEX post EX 700", true),
        ("SET post b", false),
        ("EXPIREAT post 99999999999", true),
        ("SET post c PX 100000", true),
        ("SET post d KEEPTTL", true),
        ("MSET post e", false),
        ("SETEX post 900 f", true),
    ] {
        let () = stage.run(9, change).await;
        let (key, companion) = lifetimes(&mut raw, "post").await;
        assert!((key..key + 1_000).contains(&companion), "{change}: {key} {companion}");
        assert_eq!(key > 0, expires, "{change}");
    }
    for gone in ["DEL post", "UNLINK post", "GETDEL post", "SET post a EXAT 1", "EXPIRE post -1"] {
        let () = stage.run(9, "SET post a").await;
        assert_eq!(lifetimes(&mut raw, "post").await, (-1, -1));
        let _: Value = stage.run(5, gone).await;
        assert_eq!(lifetimes(&mut raw, "post").await, (-2, -2), "{gone}");
    }
    let () = stage.run(9, "SET post a PX 30").await;
    tokio::time::sleep(Duration::from_millis(60)).await;
    assert_eq!(lifetimes(&mut raw, "post").await, (-2, -2), "both have expired");
    let () = stage.run(5, "APPEND post b").await;
    assert_eq!(stage.beside("post").await, 5, "nothing is left of a value that expired");
}

/// When a key and its companion expire.
async fn lifetimes(raw: &mut MultiplexedConnection, key: &str) -> (i64, i64) {
    let times = [key, &format!("antipode:{{{key}}}")].map(|key| cmd("PEXPIRETIME").arg(key).clone());
    (times[0].query_async(raw).await.unwrap(), times[1].query_async(raw).await.unwrap())
}

#[tokio::test]
async fn lineage_flows_from_key_to_key() {
    let (stage, _raw) = alone().await;
    for (setup, change, from) in [
        ("SET a 1", "RENAME a b", "b"),
        ("SET a 1", "COPY a b", "b"),
        ("RPUSH a 1", "LMOVE a b LEFT LEFT", "b"),
        ("RPUSH a 1", "RPOPLPUSH a b", "b"),
        ("SADD a 1", "SUNIONSTORE b c a", "b"),
        ("SADD a 1", "SMOVE a b 1", "b"),
        ("ZADD a 1 1", "ZUNIONSTORE b 2 c a", "b"),
        ("ZADD a 1 1", "ZRANGESTORE b a 0 -1", "b"),
        ("SET a 1", "BITOP NOT b a", "b"),
        ("PFADD a 1", "PFMERGE b a", "b"),
        ("RPUSH a 1", "SORT a STORE b", "b"),
        ("GEOADD a 1 1 x", "GEOSEARCHSTORE b a FROMLONLAT 1 1 BYRADIUS 1 km ASC", "b"),
        ("GEOADD a 1 1 x", "GEORADIUS a 1 1 1 km STORE b", "b"),
        ("SET a 1", "EVALSHA_OR_EVAL", "b"),
    ] {
        let () = command("DEL a b c").query_async(&mut stage.writer(0).await).await.unwrap();
        let () = stage.run(9, setup).await;
        if change == "EVALSHA_OR_EVAL" {
            let script = Script::new("return redis.call('SET', KEYS[2], redis.call('GET', KEYS[1]))");
            let mut posts = stage.writer(5).await;
            let () = script.key("a").key("b").invoke_async(&mut posts).await.unwrap();
        } else {
            let _: Value = stage.run(5, change).await;
        }
        assert_eq!(stage.beside(from).await, 9, "{change}");
    }
    let () = stage.run(9, "MSET x 1 y 2").await;
    let () = stage.run(5, "MSET y 3").await;
    assert_eq!((stage.beside("x").await, stage.beside("y").await), (9, 5));
}

#[tokio::test]
async fn a_reader_and_a_writer_without_the_shim_go_on_as_before() {
    let (stage, mut raw) = alone().await;
    let () = stage.run(9, "SET post a").await;
    let post: String = raw.get("post").await.unwrap();
    let kind: String = cmd("TYPE").arg("post").query_async(&mut raw).await.unwrap();
    assert_eq!((post.as_str(), kind.as_str()), ("a", "string"));
    let () = raw.set("post", "b").await.unwrap();
    assert_eq!(stage.learnt("GET post").await, 9, "what the shim does not see keeps what was there");
    let () = raw.del("post").await.unwrap();
    let () = stage.run(5, "SET post c").await;
    assert_eq!(stage.learnt("GET post").await, 5);
}

#[tokio::test]
async fn a_lineage_that_was_tampered_with_stands_for_everything() {
    let (stage, mut raw) = alone().await;
    let () = stage.run(9, "SET post a").await;
    for text in ["orders/0/7/1=9 ", "orders/0/7/1=00 ", "junk=0000000000000001 ", "not a lineage"] {
        let () = raw.set("antipode:{post}", text).await.unwrap();
        assert!(spoilt(&stage).await, "{text}");
        // What is joined to it does not mend it, whether it is appended or rewritten.
        let () = stage.run(5, "SETRANGE post 0 b").await;
        assert!(spoilt(&stage).await, "{text}, appended to");
        let () = stage.run(6, "EXPIRE post 1000").await;
        assert!(spoilt(&stage).await, "{text}, tidied up");
    }
    let () = raw.del("antipode:{post}").await.unwrap();
    let () = raw.rpush("antipode:{post}", "not a text").await.unwrap();
    assert!(spoilt(&stage).await);
    let refused = command("APPEND post b").query_async::<()>(&mut stage.writer(5).await).await;
    assert!(
        refused.unwrap_err().to_string().contains("WRONGTYPE"),
        "a lineage that cannot be stored is told"
    );
}

/// Whether a reader of the post depends on everything.
async fn spoilt(stage: &Stage) -> bool {
    let scope = LineageScope::new();
    let mut posts = stage.store.connection().await.unwrap().within(scope.clone());
    let () = posts.get("post").await.unwrap();
    scope.lineage().has_overflowed()
}

/// More shards than a lineage holds become everything, and companions stay small.
#[tokio::test]
async fn a_companion_does_not_grow_without_end() {
    let (stage, mut raw) = alone().await;
    let one = "0000000000000001";
    for key in 0..40 {
        let mut text: String = (0..300).map(|shard| format!("orders/{shard}/{key}/1={one} ")).collect();
        text += &format!("!weak={one} ");
        let () = raw.sadd(key, key).await.unwrap();
        let () = raw.set(format!("antipode:{{{key}}}"), text).await.unwrap();
    }
    let all: Vec<String> = (0..40).map(|key| key.to_string()).collect();
    for union in ["SUNIONSTORE few 1 2".to_owned(), format!("SUNIONSTORE many {}", all.join(" "))] {
        let () = stage.run(9, &union).await;
        let key = union.split(' ').nth(1).unwrap();
        assert_eq!(fields(&mut raw, key).await, ["!everything", "!weak"], "{key}");
    }
    let () = stage.run(10, "SREM few 1").await;
    assert_eq!(fields(&mut raw, "few").await.len(), 3, "what comes later is joined");
}

/// The fields of what is stored beside a key.
async fn fields(raw: &mut MultiplexedConnection, key: &str) -> Vec<String> {
    let text: String = raw.get(format!("antipode:{{{key}}}")).await.unwrap();
    let field = |pair: &str| pair.split_once('=').unwrap().0.to_owned();
    let mut fields: Vec<_> = text.split_terminator(' ').map(field).collect();
    fields.sort();
    fields
}

/// Nobody counts what is appended; it is tidied up by chance.
#[tokio::test]
async fn what_is_appended_is_tidied_up_now_and_then() {
    let (stage, mut raw) = alone().await;
    let mut posts = stage.writer(5).await;
    let mut longest: usize = 0;
    for _ in 0..40 {
        let mut pushes = pipe();
        for number in 0..50 {
            pushes.rpush("list", number).ignore();
        }
        let () = pushes.query_async(&mut posts).await.unwrap();
        longest = longest.max(raw.strlen("antipode:{list}").await.unwrap());
    }
    assert!(longest < 60_000, "{longest} bytes of 2,000 writes");
    let () = stage.run(6, "EXPIRE list 1000").await;
    assert_eq!(fields(&mut raw, "list").await.len(), 2, "the order, and the list itself");
    assert_eq!(stage.beside("list").await, 6);
}

/// A list that a pop emptied keeps its lineage for a while; one that was filled again, for good.
#[tokio::test]
async fn what_comes_back_does_not_inherit_a_lifetime() {
    let (stage, mut raw) = alone().await;
    for (fill, empty) in [("RPUSH list a", "LPOP list"), ("ZADD scores 1 a", "ZPOPMIN scores")] {
        let key = fill.split(' ').nth(1).unwrap();
        let () = stage.run(9, fill).await;
        let _: Value = stage.run(9, empty).await;
        assert!(lifetimes(&mut raw, key).await.1 > 0, "{empty}");
        let () = stage.run(5, fill).await;
        assert_eq!(lifetimes(&mut raw, key).await, (-1, -1), "{fill}");
    }
}

/// The second request is spared where a key was seen to expire, or was given a lifetime.
#[tokio::test]
async fn keys_that_expire_are_remembered() {
    let (stage, mut raw) = alone().await;
    let () = raw.set_ex("seen", "a", 1_000).await.unwrap();
    let () = stage.run(9, "SET given a EX 1000").await;
    for key in ["seen", "given"] {
        for _ in 0..10 {
            let () = stage.run(5, &format!("APPEND {key} b")).await;
        }
    }
    let done: String = cmd("INFO").arg("commandstats").query_async(&mut raw).await.unwrap();
    let persisted = done.lines().find_map(|line| line.strip_prefix("cmdstat_persist:calls="));
    let persisted = persisted.map_or(0, |rest| rest.split(',').next().unwrap().parse().unwrap());
    assert!(persisted <= 1, "{persisted} times for good");
}

/// What is done without the shim leaves the companion with another lifetime than its key.
#[tokio::test]
async fn a_companion_out_of_step_is_brought_in_step_by_the_next_write() {
    let (stage, mut raw) = alone().await;
    let write = async |key: &str, atomic: bool| {
        let mut write = pipe();
        write.cmd("APPEND").arg(key).arg("b").cmd("APPEND").arg(key).arg("c");
        if atomic {
            write.atomic();
        }
        let _: Vec<Value> = write.query_async(&mut stage.writer(5).await).await.unwrap();
    };
    for (key, atomic) in [("one", false), ("two", true)] {
        let () = raw.set_ex(key, "a", 1_000).await.unwrap();
        write(key, atomic).await;
        let (of_key, companion) = lifetimes(&mut raw, key).await;
        assert!(of_key > 0 && companion == of_key, "{of_key} {companion}");
        let () = raw.persist(key).await.unwrap();
        write(key, atomic).await;
        assert_eq!(lifetimes(&mut raw, key).await, (-1, -1));
    }
    // One that is refused at a key that is not there leaves nothing beside it.
    let refused = command("SETRANGE gone -1 a").query_async::<()>(&mut stage.writer(5).await).await;
    assert!(refused.is_err());
    assert_eq!(lifetimes(&mut raw, "gone").await, (-2, -2));
}

#[tokio::test]
async fn branches_beside_a_value_are_forgotten_before_its_writes() {
    let (stage, mut raw) = alone().await;
    let append = async |id: usize| {
        let scope = depending(foreign(7));
        scope.add_branch(format!("orders/refund/{id:032x}").parse().unwrap());
        let mut posts = stage.store.connection().await.unwrap().within(scope);
        let () = posts.append("busy", "x").await.unwrap();
    };
    for id in 0..MAX_BRANCHES {
        append(id).await;
    }
    let read = async || {
        let scope = LineageScope::new();
        let () = stage.store.connection().await.unwrap().within(scope.clone()).get("busy").await.unwrap();
        assert_eq!(order(&scope.lineage()), 7);
        scope.lineage()
    };
    assert_eq!(read().await.branches().len(), MAX_BRANCHES);
    append(MAX_BRANCHES).await;
    assert!(read().await.has_forgotten_branches());
    let () = stage.run(7, "EXPIRE busy 1000").await;
    let held = fields(&mut raw, "busy").await;
    assert!(held.len() < 5, "{held:?}");
}

/// The lineages are brought up to date after all commands of a transaction: by then the keys on the way are gone.
#[tokio::test]
async fn what_is_moved_on_in_one_request_takes_its_lineage_along() {
    let (stage, mut raw) = alone().await;
    for (setup, moves, to) in [
        ("SADD a 1", "SUNIONSTORE t a,RENAME t b", "b"),
        ("SET a 1", "RENAME a t,RENAME t b", "b"),
        ("SET a 1", "COPY a t,RENAME t b", "b"),
        ("SADD a 1", "SMOVE a t 1,SMOVE t b 1", "b"),
        ("RPUSH a 1", "RPOPLPUSH a t,RPOPLPUSH t b", "b"),
        ("SET a 1", "APPEND a x,RENAME a b", "b"),
        ("SET a 1", "APPEND a x,RENAME a t,RENAME t b", "b"),
    ] {
        for atomic in [false, true] {
            let () = command("DEL a t b antipode:{t}").query_async(&mut stage.writer(0).await).await.unwrap();
            let () = stage.run(9, setup).await;
            let mut batch = pipe();
            for words in moves.split(',') {
                batch.add_command(command(words));
            }
            if atomic {
                batch.atomic();
            }
            let _: Vec<Value> = batch.query_async(&mut stage.writer(5).await).await.unwrap();
            assert_eq!(stage.beside(to).await, 9, "{moves}, atomic: {atomic}");
            // What was on the way is forgotten by itself.
            assert_ne!(lifetimes(&mut raw, "t").await.1, -1, "{moves}, atomic: {atomic}");
        }
    }
}

#[tokio::test]
async fn transactions_and_pipelines_carry_lineage_command_by_command() {
    let (stage, _raw) = alone().await;
    for atomic in [false, true] {
        let () = stage.run(9, "MSET old 1 gone 1").await;
        let () = command("DEL new list").query_async(&mut stage.writer(0).await).await.unwrap();
        let scope = depending(foreign(5));
        let mut posts = stage.store.connection().await.unwrap().within(scope.clone());
        let mut batch = pipe();
        batch.cmd("SET").arg("new").arg(1).cmd("APPEND").arg("old").arg(2);
        batch.cmd("DEL").arg("gone").cmd("RPUSH").arg("list").arg(1).cmd("GET").arg("new");
        if atomic {
            batch.atomic();
        }
        let () = batch.query_async(&mut posts).await.unwrap();
        assert_eq!(order(&scope.lineage()), 5, "it saw only what it wrote");
        let beside = [stage.beside("new").await, stage.beside("old").await, stage.beside("list").await];
        assert_eq!(beside, [5, 9, 5], "atomic: {atomic}");
        assert_eq!(stage.beside("gone").await, 0);
        let reader = LineageScope::new();
        let mut posts = stage.store.connection().await.unwrap().within(reader.clone());
        let mut batch = pipe();
        batch.cmd("GET").arg("old").cmd("SET").arg("old").arg(3);
        if atomic {
            batch.atomic();
        }
        let () = batch.query_async(&mut posts).await.unwrap();
        assert_eq!(order(&reader.lineage()), 9);
    }
}

#[tokio::test]
async fn a_pipeline_that_replaces_values_replaces_their_lineage() {
    let (stage, _raw) = alone().await;
    for atomic in [false, true] {
        let () = stage.run(9, "MSET a 1 b 1 moved 1").await;
        let scope = depending(foreign(5));
        let mut posts = stage.store.connection().await.unwrap().within(scope);
        let mut batch = pipe();
        // Each takes its key's lineage along before the next one replaces it.
        batch.cmd("RENAME").arg("moved").arg("here").cmd("SET").arg("moved").arg(2);
        batch.cmd("SET").arg("a").arg(2).cmd("MSET").arg("b").arg(2).arg("a").arg(3);
        if atomic {
            batch.atomic();
        }
        let () = batch.query_async(&mut posts).await.unwrap();
        let beside = |key| stage.beside(key);
        assert_eq!([beside("a").await, beside("b").await, beside("moved").await], [5; 3], "atomic: {atomic}");
        assert_eq!(beside("here").await, 9, "atomic: {atomic}");
    }
}
