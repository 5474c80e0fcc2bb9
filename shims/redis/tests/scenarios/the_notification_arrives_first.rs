//! Streams: each entry carries the lineage of its writer.

use antipode_lineage::{Lineage, LineageScope};
use antipode_redis::redis::streams::{
    StreamAutoClaimReply, StreamId, StreamRangeReply, StreamReadOptions, StreamReadReply,
};
use antipode_redis::redis::{AsyncCommands, Client, RedisResult, Value, cmd};
use antipode_redis::{LINEAGE_FIELD, stream_lineage};

use crate::stage::{PATIENCE, Stage, depending, foreign, name, placed, raw_client, registry};

#[tokio::test]
async fn an_entry_carries_its_writers_lineage_to_whoever_handles_it() {
    let stage = Stage::start().await;
    let registry = registry(&stage.store).await;
    let mut ids = Vec::new();
    for order in [3, 9] {
        let writer = depending(foreign(order));
        let mut notes = stage.store.connection().await.unwrap().within(writer.clone());
        let id: String = notes.xadd("notes", "*", &[("post", order)]).await.unwrap();
        ids.push(id);
        assert!(!placed(&writer).is_unplaced());
        registry.barrier_on(&placed(&writer).into()).await.unwrap();
    }
    let plain: usize =
        stage.raw().await.xadd("notes", "9999999999999-1", &[("post", 0)]).await.map(|_: String| 0).unwrap();
    assert_eq!(plain, 0);

    let mut worker = stage.store.connection().await.unwrap().leaving_entries();
    let loop_of_worker = LineageScope::new();
    let reading = loop_of_worker.run(worker.xread(&["notes"], &["0"]));
    let batch: StreamReadReply = reading.await.unwrap();
    assert!(loop_of_worker.lineage().is_empty(), "entries are left to those who handle them");
    let batch_again: StreamReadReply = worker.xread(&["notes"], &["0"]).await.unwrap();
    assert_eq!(batch_again.keys[0].ids.len(), batch.keys[0].ids.len());
    let entries = &batch.keys[0].ids;
    assert_eq!(
        entries.iter().map(|entry| &entry.id).take(2).collect::<Vec<_>>(),
        ids.iter().collect::<Vec<_>>()
    );
    let depends = |entry: &StreamId| worker.entry_lineage(entry).unwrap();
    for (entry, order) in entries.iter().zip([3, 9]) {
        assert_eq!(entry.map["post"], Value::BulkString(order.to_string().into_bytes()));
        assert!(entry.contains_key(LINEAGE_FIELD), "the field stays visible");
        assert_eq!(stream_lineage(entry).unwrap().unwrap(), Lineage::from(foreign(order)));
        let lineage = depends(entry);
        assert_eq!(lineage.of_store(foreign(0).store), [foreign(order)], "its own, not its neighbour's");
        let [place] = lineage.of_store(name("posts")) else { panic!("no place: {lineage}") };
        assert!(!place.is_unplaced());
    }
    assert_eq!(stream_lineage(&entries[2]), None, "written without the shim");
    assert_eq!(stage.store.missed(), 0, "such a worker needs no lineage of its own");
}

#[tokio::test]
async fn a_request_that_reads_a_stream_depends_on_every_entry_it_read() {
    let stage = Stage::start().await;
    for order in [3, 9] {
        let mut notes = stage.store.connection().await.unwrap().within(depending(foreign(order)));
        let _: String = notes.xadd("notes", format!("{order}-1"), &[("post", order)]).await.unwrap();
    }
    let mut raw = stage.raw().await;
    let () = raw.xgroup_create("notes", "group", "0").await.unwrap();
    for protocol in ["resp2", "resp3"] {
        let url = format!("{}?protocol={protocol}", stage.topology.primary().url());
        let connection = raw_client(&Client::open(url).unwrap()).await;
        let read = async |words: &str| {
            let scope = LineageScope::new();
            let mut command = cmd("XREADGROUP");
            command.clone_from(&redis_command(words));
            let reply: Value = command
                .query_async(&mut stage.store.shim(connection.clone()).within(scope.clone()))
                .await
                .unwrap();
            let lineage = scope.lineage();
            assert_eq!(lineage.of_store(name("posts")).len(), 1, "a place: {words}");
            (lineage.of_store(foreign(0).store).first().map(|write| write.position.0), reply)
        };
        for (words, greatest) in [
            ("XRANGE notes - +", Some(9)),
            ("XRANGE notes - 3-1", Some(3)),
            ("XREVRANGE notes + - COUNT 1", Some(9)),
            ("XREAD COUNT 1 STREAMS notes 0", Some(3)),
            ("XREAD BLOCK 10 STREAMS notes 3-1", Some(9)),
            ("XREAD BLOCK 10 STREAMS notes 9-1", None),
            ("XREADGROUP GROUP group worker COUNT 1 STREAMS notes >", Some(3)),
            ("XAUTOCLAIM notes group other 0 0", Some(3)),
            ("XCLAIM notes group worker 0 3-1", Some(3)),
            ("XACK notes group 3-1", None),
            ("XLEN notes", None),
            ("XINFO STREAM notes FULL", Some(9)),
            ("XGROUP SETID notes group 0", None),
        ] {
            assert_eq!(read(words).await.0, greatest, "{protocol}: {words}");
        }
    }
    let keys: Vec<String> = raw.keys("antipode*").await.unwrap();
    assert_eq!(keys, [""; 0], "streams need no companions");
}

fn redis_command(words: &str) -> antipode_redis::redis::Cmd {
    let mut command = antipode_redis::redis::Cmd::new();
    command.arg(words.split(' ').collect::<Vec<_>>());
    command
}

#[tokio::test]
async fn a_blocking_read_returns_with_the_place_after_the_entry() {
    let stage = Stage::start().await;
    let registry = registry(&stage.store).await;
    let scope = LineageScope::new();
    let mut reader = stage.store.shim(stage.raw().await).within(scope.clone());
    let options = StreamReadOptions::default().block(20_000);
    let writer = depending(foreign(5));
    let mut notes = stage.store.connection().await.unwrap().within(writer.clone());
    let writing = async {
        while stage.info(stage.topology.primary(), "blocked_clients").await != "1" {
            tokio::task::yield_now().await;
        }
        let _: String = notes.xadd("notes", "*", &[("post", 1)]).await.unwrap();
    };
    let reading = reader.xread_options(&["notes"], &["$"], &options);
    let (batch, ()): (RedisResult<StreamReadReply>, ()) = tokio::join!(reading, writing);
    assert_eq!(batch.unwrap().keys[0].ids.len(), 1);
    let seen = scope.lineage();
    assert!(seen.covers_write(&foreign(5)), "{seen}");
    assert!(seen.covers_write(&placed(&writer)), "asked for when the block ended: {seen}");
    scope.run(async { registry.barrier().deadline(PATIENCE).await }).await.unwrap();
}

#[tokio::test]
async fn an_entry_whose_lineage_cannot_be_read_is_not_taken_for_one_without() {
    let stage = Stage::start().await;
    let mut raw = stage.raw().await;
    let _: String = raw.xadd("notes", "*", &[(LINEAGE_FIELD, "junk")]).await.unwrap();
    let scope = LineageScope::new();
    let mut notes = stage.store.connection().await.unwrap().within(scope.clone());
    let range: StreamRangeReply = notes.xrange_all("notes").await.unwrap();
    assert!(scope.lineage().has_overflowed());
    let error = stream_lineage(&range.ids[0]).unwrap().unwrap_err();
    assert!(error.to_string().contains(&range.ids[0].id), "{error}");
    assert_eq!(notes.entry_lineage(&range.ids[0]), Err(error));
    let _: StreamAutoClaimReply = {
        let () = raw.xgroup_create("notes", "group", "0").await.unwrap();
        notes.xautoclaim_options("notes", "group", "worker", 0, "0", Default::default()).await.unwrap()
    };
}
