//! Topics, links, and what pausing and restarting does to a Kafka broker.

use std::time::{Duration, Instant};

use antipode_docker::{KafkaOptions, KafkaTopology, TopologyError};

use crate::talk::{LIMIT, read, write};

#[tokio::test]
async fn a_broker_keeps_its_port_and_data_over_every_kind_of_end() {
    let topology = KafkaTopology::start(KafkaOptions::default()).await.unwrap();
    topology.create_topic("posts", 2, 1, &[("retention.ms", "3600000")]).await.unwrap();
    let broker = topology.broker(0);
    assert_eq!(topology.bootstrap(), broker.bootstrap());
    for (at, way) in ["restart", "stop", "kill"].into_iter().enumerate() {
        let offset = write(&topology.bootstrap(), "posts", way, "all").await.unwrap();
        assert_eq!(offset, i64::try_from(at).unwrap());
        match way {
            "stop" => broker.stop().await.unwrap(),
            "kill" => broker.kill().await.unwrap(),
            _ => {}
        }
        assert_eq!(broker.is_running(), way == "restart");
        broker.restart().await.unwrap();
    }
    let values = read(&topology.bootstrap(), "posts", 3, LIMIT).await;
    assert_eq!(values, ["restart", "stop", "kill"]);
}

#[tokio::test]
async fn topics_are_made_and_deleted() {
    let topology = KafkaTopology::start(KafkaOptions::default()).await.unwrap();
    topology.create_topic("posts", 3, 1, &[]).await.unwrap();
    assert_eq!(topology.leader("posts", 2).await.unwrap(), Some(0));
    assert_eq!(topology.in_sync("posts", 2).await.unwrap(), [0]);
    let error = topology.create_topic("posts", 3, 1, &[]).await.unwrap_err();
    assert!(error.to_string().contains("cannot create a topic"), "{error}");
    topology.delete_topic("posts").await.unwrap();
    let error = topology.leader("posts", 0).await.unwrap_err();
    assert!(matches!(error, TopologyError::Client { .. }), "{error}");
    topology.create_topic("posts", 1, 1, &[]).await.unwrap();
    assert_eq!(write(&topology.bootstrap(), "posts", "again", "all").await.unwrap(), 0);
}

#[tokio::test]
async fn a_link_carries_all_that_its_clients_read() {
    const LAG: Duration = Duration::from_millis(400);
    let topology = KafkaTopology::start(KafkaOptions::default()).await.unwrap();
    topology.create_topic("posts", 1, 1, &[]).await.unwrap();
    write(&topology.bootstrap(), "posts", "one", "all").await.unwrap();
    topology.link(0).set_delay_to_client(LAG);
    let begun = Instant::now();
    assert_eq!(read(&topology.bootstrap_through_links(), "posts", 1, LIMIT).await, ["one"]);
    assert!(begun.elapsed() >= LAG, "read after {:?}", begun.elapsed());

    topology.link(0).cut();
    let silence = Duration::from_secs(2);
    assert!(read(&topology.bootstrap_through_links(), "posts", 1, silence).await.is_empty());
    assert_eq!(read(&topology.bootstrap(), "posts", 1, LIMIT).await, ["one"]);
}

#[tokio::test]
async fn a_broker_that_does_not_start_says_why() {
    let options = KafkaOptions::default().setting("num.io.threads", "many");
    let error = KafkaTopology::start(options).await.unwrap_err();
    let message = error.to_string();
    assert!(message.contains("kafka broker-0") && message.contains("num.io.threads"), "{message}");
    assert!(!message.contains('\n'), "{message}");
}
