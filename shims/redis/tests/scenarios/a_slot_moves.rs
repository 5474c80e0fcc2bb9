//! Slots that move to another shard: before a barrier, while it waits, and while they are read.

use antipode_barrier::Registry;
use antipode_docker::Member;
use antipode_lineage::{LineageScope, WriteId};
use antipode_redis::RedisClusterStore;
use antipode_redis::redis::{AsyncCommands, RedisResult, Script, pipe};

use crate::clustered::{self, Clustered, KEYS, PATIENCE, SLOT, barrier, glance, peek};

const KEY: &str = KEYS[0];

/// A barrier, then a read through its route.
async fn read_behind(registry: &Registry, store: &RedisClusterStore, write: WriteId) -> Option<String> {
    let scope = LineageScope::new();
    scope.add(write);
    let read = async {
        registry.barrier().await.unwrap();
        store.read_connection().await.unwrap().get(KEY).await.unwrap()
    };
    scope.run(read).await
}

/// A write, again if the shim gave it up because its slot was on the move for too long: it was refused.
async fn repeated(mut write: impl AsyncFnMut() -> RedisResult<()>) {
    while let Err(error) = write().await {
        assert_eq!(error.code(), Some("TRYAGAIN"), "{error}");
    }
}

#[tokio::test]
async fn a_barrier_that_waits_meanwhile_ends_when_the_new_owners_replica_has_the_value() {
    let stage = Clustered::start(1).await;
    let registry = stage.registry().await;
    let (old, new) = (stage.topology.primary(0), stage.topology.primary(1));
    let (old_link, new_link) =
        (stage.topology.link(0, Member::Replica(0)), stage.topology.link(1, Member::Replica(0)));
    old_link.hang();
    let write = stage.write(KEY, "1").await;
    let lineage = antipode_lineage::Lineage::from(write);
    let mut waiting = Box::pin(registry.barrier_on(&lineage).deadline(PATIENCE).into_future());
    let early = tokio::time::timeout(clustered::MOMENT, &mut waiting).await;
    assert!(early.is_err(), "the replica has not got it");

    new_link.hang();
    stage.topology.migrate(SLOT..=SLOT, old, new).await.unwrap();
    old_link.heal();
    // Its log is applied at the old owner's replica now, and the value is gone from there.
    let early = tokio::time::timeout(clustered::MOMENT, &mut waiting).await;
    assert!(early.is_err(), "the value is nowhere in the region: {early:?}");
    let (at_old, at_new) = (stage.topology.replica(0, 0), stage.topology.replica(1, 0));
    assert_eq!((peek(at_old, KEY).await, peek(at_new, KEY).await), (None, None));
    new_link.heal();
    waiting.await.unwrap();
    assert_eq!(peek(at_new, KEY).await.as_deref(), Some("1"));

    // Who reads it there depends on its writer, and who writes it is placed in the new owner's log.
    assert_eq!(read_behind(&registry, &stage.store, write).await.as_deref(), Some("1"));
    let moved = stage.write(KEY, "2").await;
    assert_ne!(moved.shard, write.shard);
    let neighbour = stage.write(KEYS[1], "1").await;
    assert_eq!((moved.shard, moved.epoch), (neighbour.shard, neighbour.epoch));
    barrier(&registry, moved).await.unwrap();
    assert_eq!(peek(at_new, KEY).await.as_deref(), Some("2"));
}

#[tokio::test]
async fn a_key_on_its_way_is_read_where_it_is() {
    let stage = Clustered::start(1).await;
    let registry = stage.registry().await;
    let (old, new) = (stage.topology.primary(0), stage.topology.primary(1));
    let write = stage.write(KEY, "1").await;
    barrier(&registry, write).await.unwrap();
    stage.topology.link(1, Member::Replica(0)).hang();
    stage.topology.open_slots(SLOT..=SLOT, old, new).await.unwrap();
    assert_eq!(read_behind(&registry, &stage.store, write).await.as_deref(), Some("1"));
    stage.topology.move_keys(SLOT..=SLOT, old, new).await.unwrap();
    while peek(stage.topology.replica(0, 0), KEY).await.is_some() {
        tokio::task::yield_now().await;
    }
    // By its log the old owner's replica has the write; it has not got the key any more. The key has
    // no lineage, so its place could not hold both: the driver repeats the request until it can.
    let closing = async {
        tokio::time::sleep(clustered::MOMENT).await;
        stage.topology.close_slots(SLOT..=SLOT, old, new).await.unwrap();
    };
    let (read, ()) = tokio::join!(read_behind(&registry, &stage.store, write), closing);
    assert_eq!(read.as_deref(), Some("1"));
}

#[tokio::test]
async fn a_read_that_knows_of_no_move_is_sent_on() {
    let stage = Clustered::start(1).await;
    let registry = stage.registry().await;
    let write = stage.write(KEY, "1").await;
    barrier(&registry, write).await.unwrap();
    let scope = LineageScope::new();
    let mut reads = stage.store.read_connection_within(&scope).await.unwrap();
    assert_eq!(reads.get::<_, Option<String>>(KEY).await.unwrap().as_deref(), Some("1"));
    stage.topology.link(1, Member::Replica(0)).hang();
    let (old, new) = (stage.topology.primary(0), stage.topology.primary(1));
    stage.topology.migrate(SLOT..=SLOT, old, new).await.unwrap();
    // No probe since. The old owner's replica says who has it; that one's replica has nothing yet.
    assert_eq!(reads.get::<_, Option<String>>(KEY).await.unwrap().as_deref(), Some("1"));
    let several: (Option<String>, Option<String>) =
        pipe().get(KEY).get(KEY).query_async(&mut reads).await.unwrap();
    assert_eq!(several, (Some("1".to_owned()), Some("1".to_owned())));
    // Nothing is called visible by the new owner's replica before it has what was moved.
    let error = glance(&registry, stage.write(KEY, "2").await).await;
    assert!(error.is_timeout(), "{error}");
    stage.topology.link(1, Member::Replica(0)).heal();
    let last = stage.write(KEY, "3").await;
    assert_eq!(read_behind(&registry, &stage.store, last).await.as_deref(), Some("3"));
}

#[tokio::test]
async fn what_a_replica_does_not_have_is_asked_for_at_its_primary() {
    let stage = Clustered::start(1).await;
    for shard in 0..3 {
        stage.topology.link(shard, Member::Replica(0)).hang();
    }
    let scope = LineageScope::new();
    let mut reads = stage.store.read_connection_within(&scope).await.unwrap();
    for key in KEYS {
        stage.write(key, "1").await;
        assert_eq!(reads.get::<_, Option<String>>(key).await.unwrap().as_deref(), Some("1"), "{key}");
    }
    assert_eq!(reads.get::<_, Option<String>>("nothing").await.unwrap(), None);
    // Lineages of several shards meet in one request.
    assert_eq!(scope.lineage().writes().len(), 3);
}

#[tokio::test]
async fn reads_are_the_replicas_and_all_else_is_the_primarys() {
    let stage = Clustered::start(1).await;
    let registry = stage.registry().await;
    barrier(&registry, stage.write(KEY, "old").await).await.unwrap();
    stage.topology.link(0, Member::Replica(0)).hang();
    let _ = stage.write(KEY, "new").await;
    let scope = LineageScope::new();
    let mut reads = stage.store.read_connection_within(&scope).await.unwrap();
    let old = Some("old".to_owned());
    assert_eq!(reads.get::<_, Option<String>>(KEY).await.unwrap(), old);
    let both: (Option<String>, u64) = pipe().get(KEY).strlen(KEY).query_async(&mut reads).await.unwrap();
    assert_eq!(both, (old.clone(), 3));

    // Outside of any lineage, too.
    let mut bare = stage.store.read_connection().await.unwrap();
    assert_eq!(bare.get::<_, Option<String>>(KEY).await.unwrap(), old);
    let mut transaction = pipe();
    transaction.atomic().get(KEY).strlen(KEY);
    for connection in [&mut reads, &mut bare] {
        let both: (String, u64) = transaction.query_async(connection).await.unwrap();
        assert_eq!(both, ("new".to_owned(), 3), "a transaction");
    }
    let script = Script::new("return redis.call('APPEND', KEYS[1], 'er')");
    let length: u64 = script.key(KEY).invoke_async(&mut reads).await.unwrap();
    assert_eq!(length, 5, "a script may write");
    let () = reads.append(KEY, "!").await.unwrap();
    assert_eq!(peek(stage.topology.primary(0), KEY).await.as_deref(), Some("newer!"));
    stage.topology.link(0, Member::Replica(0)).heal();
    scope.run(async { registry.barrier().await.unwrap() }).await;
    assert_eq!(reads.get::<_, Option<String>>(KEY).await.unwrap().as_deref(), Some("newer!"));
}

#[tokio::test]
async fn writes_go_on_while_their_slot_moves_and_are_placed_where_they_went() {
    let stage = Clustered::start(1).await;
    let registry = stage.registry().await;
    let (old, new) = (stage.topology.primary(0), stage.topology.primary(1));
    let scope = LineageScope::new();
    let mut posts = stage.store.connection().await.unwrap().within(scope.clone());
    // A lineage that is stored beside the values, so that there are two keys to move.
    let _ = stage.write(KEYS[2], "1").await;
    let _: Option<String> = posts.get(KEYS[2]).await.unwrap();
    let done = tokio::sync::Notify::new();
    let writing = async {
        let mut count = 0;
        let mut log = String::new();
        loop {
            let key = format!("{{{KEY}}}:{count}");
            repeated(async || posts.set(&key, count).await).await;
            let piece = format!("{count},");
            repeated(async || posts.append(KEY, &piece).await).await;
            log += &piece;
            count += 1;
            if tokio::time::timeout(std::time::Duration::from_millis(1), done.notified()).await.is_ok() {
                return (count, log);
            }
        }
    };
    let moving = async {
        tokio::time::sleep(clustered::MOMENT).await;
        stage.topology.migrate(SLOT..=SLOT, old, new).await.unwrap();
        tokio::time::sleep(clustered::MOMENT).await;
        done.notify_one();
    };
    let ((count, log), ()) = tokio::join!(writing, moving);
    println!("{count} writes of each kind; {}", scope.lineage());
    // Its last writes are in the new owner's log.
    let neighbour = stage.write(KEYS[1], "1").await;
    assert!(scope.lineage().writes().iter().any(|write| write.shard == neighbour.shard));
    assert!(!scope.lineage().writes().iter().any(WriteId::is_unplaced), "{}", scope.lineage());
    let read = async {
        registry.barrier().await.unwrap();
        let replica = stage.topology.replica(1, 0);
        assert_eq!(peek(replica, KEY).await.as_deref(), Some(&*log));
        for written in 0..count {
            let key = format!("{{{KEY}}}:{written}");
            assert_eq!(peek(replica, &key).await, Some(written.to_string()));
        }
    };
    scope.run(read).await;
}

#[tokio::test]
async fn a_transaction_finds_the_new_owner() {
    let stage = Clustered::start(1).await;
    let registry = stage.registry().await;
    let _ = stage.write(KEY, "1").await;
    stage.topology.migrate(SLOT..=SLOT, stage.topology.primary(0), stage.topology.primary(1)).await.unwrap();
    let scope = LineageScope::new();
    let mut posts = stage.store.connection().await.unwrap().within(scope.clone());
    let mut both = pipe();
    both.atomic().append(KEY, "2").get(KEY);
    let (length, value): (u64, String) = both.query_async(&mut posts).await.unwrap();
    assert_eq!((length, value.as_str()), (2, "12"));
    scope.run(async { registry.barrier().await.unwrap() }).await;
    assert_eq!(peek(stage.topology.replica(1, 0), KEY).await.as_deref(), Some("12"));
}

#[tokio::test]
async fn a_slot_that_stays_on_the_move_refuses_new_keys_and_keeps_nobody_waiting() {
    let stage = Clustered::start(1).await;
    let (old, new) = (stage.topology.primary(0), stage.topology.primary(1));
    stage.topology.open_slots(SLOT..=SLOT, old, new).await.unwrap();
    let scope = LineageScope::new();
    let mut posts = stage.store.connection().await.unwrap().within(scope.clone());
    let set = tokio::time::timeout(PATIENCE, posts.set::<_, _, ()>(KEY, "1")).await;
    let error = set.expect("refused in the end").unwrap_err();
    assert_eq!(error.code(), Some("TRYAGAIN"), "{error}");
    assert!(scope.lineage().is_empty(), "nothing was written");
}
