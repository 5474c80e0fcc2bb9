//! The workload runs against servers that are there, as late as they are, and leaves nothing on them.

use std::time::Duration;

use antipode_docker::{
    KafkaOptions, KafkaTopology, MongoOptions, MongoTopology, PostgresOptions, PostgresTopology,
    RedisOptions, RedisTopology,
};
use mongodb::bson::{Document, doc};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use serde_json::Value;

use crate::command;

/// Later than a busy machine is.
const LAG: Duration = Duration::from_millis(400);
const LIMIT: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_the_run_stays_on_them_and_no_password_gets_out() {
    let redis = RedisTopology::start(RedisOptions::default().replicas(1)).await.unwrap();
    let postgres = PostgresTopology::start(PostgresOptions::default().standbys(1)).await.unwrap();
    redis.link(0).set_delay_to_client(LAG);
    postgres.link(0).set_delay_to_client(LAG);
    let to_postgres = sqlx::PgPool::connect(&postgres.primary().url()).await.unwrap();
    sqlx::query("CREATE TABLE theirs (id int)").execute(&to_postgres).await.unwrap();
    let mut to_redis = redis.primary().connect().await.unwrap();
    let () = redis::cmd("SET").arg("theirs").arg(1).query_async(&mut to_redis).await.unwrap();

    let with_password = |url: String| url.replace("postgres@", "postgres:hunter2@");
    let [primary, standby] = [postgres.primary().url(), postgres.standby(0).url()].map(with_password);
    assert!(primary.contains("hunter2"));
    let on_postgres = format!("--postgres={primary},{standby}");
    let on_redis = format!("--redis={},{}", redis.primary().url(), redis.replica(0).url());
    let report = tempfile::NamedTempFile::new().unwrap();
    let shown = run(&[
        "--matrix",
        "--posts=postgres,redis",
        "--notifier=memory,redis,postgres",
        "--variant=update",
        "--modes=off,barrier,sleep,wait",
        "--report",
        report.path().to_str().unwrap(),
        &on_postgres,
        &on_redis,
    ])
    .await
    .unwrap();

    check_cells(&shown, 6);
    let page = std::fs::read_to_string(report).unwrap();
    assert!(!shown.to_string().contains("hunter2") && !page.contains("hunter2"));
    assert!(page.contains("as late as the servers are"));
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut to_redis).await.unwrap();
    assert_eq!(keys, ["theirs"]);
    assert_eq!(on_primary(&to_postgres).await, ["theirs"]);

    // These would not wait for the standby: what the mode is for would be measured without it.
    let refused = run(&["--posts=postgres", "--modes=off,remote-apply", &on_postgres]).await.unwrap_err();
    assert!(refused.contains("synchronous_standby_names is empty"), "{refused}");
    assert!(!refused.contains("hunter2"), "{refused}");
    assert_eq!(on_primary(&to_postgres).await, ["theirs"], "a run that fails cleans up as well");

    let nobody = "mongodb://me:hunter2@127.0.0.1:1/?serverSelectionTimeoutMS=500";
    let nobody = format!("--mongodb={nobody},{nobody}");
    let refused = run(&["--posts=postgres", "--notifier=mongodb", &on_postgres, &nobody]).await.unwrap_err();
    assert!(refused.contains("mongodb: cannot") && !refused.contains("hunter2"), "{refused}");
    assert_eq!(on_primary(&to_postgres).await, ["theirs"], "and one that cannot begin");

    // An application's own.
    sqlx::query("CREATE SCHEMA antipode").execute(&to_postgres).await.unwrap();
    run(&["--posts=postgres", "--modes=off", &on_postgres]).await.unwrap();
    assert_eq!(on_primary(&to_postgres).await, ["antipode", "theirs"], "a schema that was there stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn nor_on_a_replica_set_and_a_broker() {
    let mongo = MongoTopology::start(MongoOptions::default().replicas(2)).await.unwrap();
    let kafka = KafkaTopology::start(KafkaOptions::default()).await.unwrap();
    mongo.link(0).set_delay_to_client(LAG);
    let to_set = mongodb::Client::with_uri_str(mongo.url()).await.unwrap();
    let theirs = to_set.database("theirs").collection::<Document>("theirs");
    theirs.insert_one(doc! { "_id": 1 }).await.unwrap();
    kafka.create_topic("theirs", 1, 1, &[]).await.unwrap();

    let on_mongodb = format!("--mongodb={},{}", mongo.url(), mongo.replica(0).url());
    let on_kafka = format!("--kafka={}", kafka.bootstrap());
    let shown = run(&[
        "--matrix",
        "--posts=mongodb",
        "--notifier=memory,mongodb,kafka",
        "--variant=update",
        "--modes=off,barrier,sleep",
        &on_mongodb,
        &on_kafka,
    ])
    .await
    .unwrap();

    check_cells(&shown, 3);
    let databases = to_set.list_database_names().await.unwrap();
    assert_eq!(databases, ["admin", "config", "local", "theirs"]);
    let asking: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", kafka.bootstrap()).create().unwrap();
    let (topics, groups) = tokio::task::spawn_blocking(move || {
        let there = asking.fetch_metadata(None, LIMIT).unwrap();
        // The broker's own begin so: it makes them when the first consumer comes.
        let topics = there.topics().iter().map(|topic| topic.name()).filter(|name| !name.starts_with("__"));
        let groups = asking.fetch_group_list(None, LIMIT).unwrap();
        (topics.map(str::to_owned).collect::<Vec<_>>(), groups.groups().len())
    })
    .await
    .unwrap();
    assert_eq!((topics, groups), (vec!["theirs".to_owned()], 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_interrupted_run_left_is_not_taken_for_a_post_of_this_one() {
    let redis = RedisTopology::start(RedisOptions::default().replicas(1)).await.unwrap();
    let mut primary = redis.primary().connect().await.unwrap();
    let posts = (0..10).map(|number| format!("0-{number}"));
    let left = ["Raw", "Shim"].map(|access| format!("0-warm-{access}")).into_iter().chain(posts);
    for post in left {
        let body = format!("{post} 1");
        let () = redis::cmd("SET")
            .arg(format!("antipode-benchmark:{post}"))
            .arg(body)
            .query_async(&mut primary)
            .await
            .unwrap();
    }
    let reached: u64 = redis::cmd("WAIT").arg(1).arg(20_000).query_async(&mut primary).await.unwrap();
    assert_eq!(reached, 1);
    // The replica has it all still when the run begins, which removes it.
    redis.link(0).set_delay_to_client(Duration::from_secs(2));
    let given = format!("--redis={},{}", redis.primary().url(), redis.replica(0).url());
    let shown = run(&["--posts=redis", "--modes=off", &given]).await.unwrap();
    assert_eq!(shown["modes"]["off"]["violations"], 10, "{shown}");
}

/// The figures of a run of ten rounds; or what it complained of.
async fn run(arguments: &[&str]) -> Result<Value, String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    let json = ["--json", file.path().to_str().unwrap()];
    let all = [&["run", "post-notification", "--rounds=10"], arguments, &json].concat();
    let all: Vec<String> = all.into_iter().map(str::to_owned).collect();
    let ended = tokio::task::spawn_blocking(move || {
        command::antipode(&all.iter().map(String::as_str).collect::<Vec<_>>())
    });
    let output = ended.await.unwrap();
    match output.status.success() {
        true => Ok(serde_json::from_reader(file).unwrap()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

fn check_cells(shown: &Value, count: usize) {
    let cells = shown["cells"].as_array().unwrap();
    assert_eq!(cells.len(), count, "{shown}");
    for cell in cells {
        assert!(cell["lag_ms"].is_null() && cell["modes"].get("sleep").is_none(), "{cell}");
        let outcomes = &cell["modes"]["barrier"]["outcomes"];
        assert_eq!((&cell["modes"]["barrier"]["violations"], &outcomes["visible"]), (&0.into(), &10.into()));
        if cell["notifier"] == "memory" {
            // Nothing overtakes where the notification takes the same late way as the post.
            assert!(cell["modes"]["off"]["violations"].as_u64().unwrap() > 5, "{cell}");
        }
    }
}

/// The role's tables and schemas.
async fn on_primary(postgres: &sqlx::PgPool) -> Vec<String> {
    let there =
        "SELECT relname::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
        UNION SELECT nspname::text FROM pg_namespace WHERE nspname = 'antipode' ORDER BY 1";
    sqlx::query_scalar(there).fetch_all(postgres).await.unwrap()
}
