//! The workload runs against servers that are there, as late as they are, and leaves nothing on them.
#![cfg(all(feature = "redis", feature = "postgres"))]
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // Helpers may what their tests may.

mod command;

use std::time::Duration;

use antipode_docker::{PostgresOptions, PostgresTopology, RedisOptions, RedisTopology};

const LAG: Duration = Duration::from_millis(100);

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_the_run_stays_on_them_and_no_password_gets_out() {
    let redis = RedisTopology::start(RedisOptions::default().replicas(1)).await.unwrap();
    let postgres = PostgresTopology::start(PostgresOptions::default().standbys(1)).await.unwrap();
    redis.link(0).set_delay_to_client(LAG);
    postgres.link(0).set_delay_to_client(LAG);
    let theirs = "CREATE TABLE theirs (id int)";
    let to_postgres = sqlx::PgPool::connect(&postgres.primary().url()).await.unwrap();
    sqlx::query(theirs).execute(&to_postgres).await.unwrap();
    let mut to_redis =
        redis::Client::open(redis.primary().url()).unwrap().get_multiplexed_async_connection().await.unwrap();
    let () = redis::cmd("SET").arg("theirs").arg(1).query_async(&mut to_redis).await.unwrap();

    let with_password = |url: String| url.replace("postgres@", "postgres:hunter2@");
    let [primary, standby] = [postgres.primary().url(), postgres.standby(0).url()].map(with_password);
    assert!(primary.contains("hunter2"));
    let given = [
        format!("--postgres={primary},{standby}"),
        format!("--redis={},{}", redis.primary().url(), redis.replica(0).url()),
    ];
    let report = tempfile::NamedTempFile::new().unwrap();
    let matrix = [
        ["--matrix", "--rounds=10"].as_slice(),
        &["--posts=postgres,redis", "--notifier=memory,redis,postgres", "--variant=update"],
        &["--modes=off,barrier,sleep,wait", "--report", report.path().to_str().unwrap()],
        &given.each_ref().map(String::as_str),
    ]
    .concat();
    let shown = tokio::task::spawn_blocking({
        let matrix: Vec<String> = matrix.into_iter().map(str::to_owned).collect();
        move || {
            let matrix: Vec<&str> = matrix.iter().map(String::as_str).collect();
            command::figures(&["run", "post-notification"], &matrix)
        }
    });
    let shown = shown.await.unwrap();

    for cell in shown["cells"].as_array().unwrap() {
        assert!(cell["lag_ms"].is_null() && cell["modes"].get("sleep").is_none(), "{cell}");
        let outcomes = &cell["modes"]["barrier"]["outcomes"];
        assert_eq!((&cell["modes"]["barrier"]["violations"], &outcomes["visible"]), (&0.into(), &10.into()));
        if cell["notifier"] == "memory" {
            // Nothing overtakes where the notification takes the same late way as the post.
            assert!(cell["modes"]["off"]["violations"].as_u64().unwrap() > 5, "{cell}");
        }
    }
    let page = std::fs::read_to_string(report).unwrap();
    assert!(!shown.to_string().contains("hunter2") && !page.contains("hunter2"));
    assert!(page.contains("as late as the servers are"));

    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut to_redis).await.unwrap();
    assert_eq!(keys, ["theirs"]);
    let left =
        "SELECT relname::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
        UNION SELECT nspname::text FROM pg_namespace WHERE nspname = 'antipode'";
    let left: Vec<String> = sqlx::query_scalar(left).fetch_all(&to_postgres).await.unwrap();
    assert_eq!(left, ["theirs"], "the role's tables and schemas");
}
