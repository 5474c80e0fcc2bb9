//! What a record takes along, and what its reader comes to depend on.

use antipode_kafka::rdkafka::consumer::{CommitMode, Consumer, StreamConsumer};
use antipode_kafka::rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use antipode_kafka::rdkafka::producer::{FutureProducer, FutureRecord};
use antipode_kafka::{LINEAGE_HEADER, Visible, header_lineage, partition_shard};
use antipode_lineage::{Lineage, LineageCodec, LineageScope, Position};

use crate::stage::{
    PATIENCE, Stage, TOPIC, barrier, builder, depending, foreign, glance, placed, receive, record, registry,
    written,
};

#[tokio::test]
async fn a_reader_depends_on_what_the_writer_did_and_on_the_record() {
    let stage = Stage::start().await;
    let writer = depending(foreign(5));
    writer.run(stage.producer().send(record("hello"), PATIENCE)).await.unwrap();
    let write = placed(&writer).await;
    assert_eq!(write.shard, partition_shard(TOPIC, 0).unwrap());
    assert_eq!(write.position, Position(1));
    assert!(!write.is_unplaced());

    let other = builder(&stage.topology).build().unwrap();
    let consumer = stage.consumer(&other, "mailer");
    let received = consumer.recv().await.unwrap();
    assert_eq!(received.payload(), Some(b"hello".as_slice()));
    assert_eq!(received.writer_lineage(), foreign(5).into());
    let mut both = Lineage::from(foreign(5));
    both.add(write);
    assert_eq!(received.scope().settled().await, both, "another process gives the record the same place");
    assert_eq!(received.lineage(), both);
    barrier(&registry(&other).await, write).await.unwrap();
}

#[tokio::test]
async fn a_forwarded_record_has_one_lineage() {
    let stage = Stage::start().await;
    let producer = stage.producer();
    let old = LineageCodec::plain().encode(&foreign(3).into());
    let headers = OwnedHeaders::new()
        .insert(Header { key: LINEAGE_HEADER, value: Some(&old) })
        .insert(Header { key: "trace", value: Some("1") });
    let forwarded = record("hello").headers(headers);
    depending(foreign(9)).run(producer.send(forwarded, PATIENCE)).await.unwrap();
    let consumer = stage.consumer(&stage.store, "mailer");
    let received = consumer.recv().await.unwrap();
    let names: Vec<&str> = received.headers().unwrap().iter().map(|header| header.key).collect();
    assert_eq!(names, ["trace", LINEAGE_HEADER]);
    assert_eq!(received.writer_lineage(), foreign(9).into());
}

/// The plain driver writes and reads the same topic.
#[tokio::test]
async fn those_without_the_shim_go_on_as_before() {
    let stage = Stage::start().await;
    let plain: FutureProducer = stage.config().create().unwrap();
    plain.send(record("plain"), PATIENCE).await.unwrap();
    let junk = OwnedHeaders::new().insert(Header { key: LINEAGE_HEADER, value: Some("junk!") });
    plain.send(record("junk").headers(junk), PATIENCE).await.unwrap();
    depending(foreign(1)).run(stage.producer().send(record("shim"), PATIENCE)).await.unwrap();

    let consumer = stage.consumer(&stage.store, "mailer");
    let received = consumer.recv().await.unwrap();
    assert_eq!(received.writer_lineage(), Lineage::new());
    let place = received.scope().settled().await;
    assert_eq!(place.writes()[0].position, Position(1), "its own place is a dependency");
    let received = consumer.recv().await.unwrap();
    assert_eq!(received.writer_lineage(), Lineage::everything());
    assert!(received.scope().settled().await.has_overflowed());

    let reader: StreamConsumer =
        stage.config().set("group.id", "plain").set("auto.offset.reset", "earliest").create().unwrap();
    reader.subscribe(&[TOPIC]).unwrap();
    for expected in ["plain", "junk", "shim"] {
        let received = reader.recv().await.unwrap();
        assert_eq!(received.payload(), Some(expected.as_bytes()));
        if expected == "shim" {
            let lineage = header_lineage(&received, &LineageCodec::plain()).unwrap();
            assert_eq!(lineage, Some(foreign(1).into()));
        }
    }
}

#[tokio::test]
async fn visible_is_what_was_asked_for() {
    let stage = Stage::start().await;
    let delivered = stage.store(Visible::Delivered);
    let processed = stage.store(Visible::Processed { group: "mailer".into() });
    let (available, at_hand, done) =
        (registry(&stage.store).await, registry(&delivered).await, registry(&processed).await);
    let write = written(&stage.producer(), "hello").await;
    barrier(&available, write).await.unwrap();
    assert!(glance(&at_hand, write).await.is_timeout());
    assert!(glance(&done, write).await.is_timeout());

    let consumer = stage.consumer(&delivered, "mailer");
    assert_eq!(receive(&consumer).await, ("hello".to_owned(), 0));
    barrier(&at_hand, write).await.unwrap();
    assert!(glance(&done, write).await.is_timeout());
    let positions = consumer.position().unwrap();
    consumer.commit(&positions, CommitMode::Sync).unwrap();
    barrier(&done, write).await.unwrap();
}

/// Which partition a keyed record goes to is the driver's affair: each is a shard of its own.
#[tokio::test]
async fn many_partitions_are_many_shards() {
    const MANY: i32 = 24;
    let stage = Stage::with(antipode_docker::KafkaOptions::default(), MANY, 1, &[]).await;
    let (producer, registry) = (stage.producer(), registry(&stage.store).await);
    let scope = LineageScope::new();
    scope
        .run(async {
            for round in 0..3 {
                for partition in 0..MANY {
                    let text = format!("{round}/{partition}");
                    let record = FutureRecord::<str, str>::to(TOPIC).partition(partition).payload(&text);
                    producer.send_result(record).map_err(|(error, _)| error).unwrap().await.unwrap();
                }
            }
        })
        .await;
    let lineage = scope.settled().await;
    assert_eq!(lineage.writes().len(), MANY as usize, "one entry a partition: {lineage}");
    assert!(lineage.writes().iter().all(|write| write.position == Position(3)), "{lineage}");
    registry.barrier_on(&lineage).await.unwrap();
    registry.barrier_on(&Lineage::everything()).await.unwrap();
}
