//! The topologies on the Docker engine: the same nodes, links and faults as with processes.
//!
//! Ignored without an engine; `docker/test` runs them where one answers.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod ask;

use std::{
    io::{BufRead, BufReader, Read},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use antipode_docker::{
    Member, PostgresNode, PostgresOptions, PostgresTopology, Provider, RedisNode, RedisOptions, RedisTopology,
};
use ask::{command, eventually, home, run, sql};
use tokio::runtime::Runtime;

#[tokio::test]
#[ignore = "needs a Docker engine"]
async fn a_redis_replica_is_cut_off_frozen_and_takes_over() {
    let topology = redis(2).await;
    let old = topology.primary();
    let address = old.addr();
    set(old, 1).await;
    shows(topology.replica(0), 1).await;
    shows(topology.replica(1), 1).await;

    // The links are between them.
    topology.link(0).cut();
    set(old, 2).await;
    shows(topology.replica(1), 2).await;
    assert!(!has(topology.replica(0), 2).await.unwrap());
    topology.link(0).heal();
    shows(topology.replica(0), 2).await;

    // Frozen, it answers nothing; to freeze or to thaw it twice is no error.
    topology.replica(0).pause().await.unwrap();
    topology.replica(0).pause().await.unwrap();
    assert!(topology.replica(0).is_running());
    let asked = tokio::time::timeout(Duration::from_millis(300), has(topology.replica(0), 2)).await;
    assert!(asked.is_err() || asked.unwrap().is_err(), "a frozen server has answered");
    topology.replica(0).resume().await.unwrap();
    topology.replica(0).resume().await.unwrap();
    shows(topology.replica(0), 2).await;

    old.kill().await.unwrap();
    assert!(!old.is_running());
    topology.promote(0).await.unwrap();
    topology.follow(1, Member::Replica(0)).await.unwrap();
    set(topology.replica(0), 3).await;
    shows(topology.replica(1), 3).await;

    topology.rejoin_as_replica(Member::Primary, Member::Replica(0)).await.unwrap();
    assert_eq!(old.addr(), address);
    assert!(old.is_replica().await.unwrap());
    shows(old, 3).await;

    // Settings and roles are kept over a restart.
    topology.replica(0).set_setting("maxmemory", "50mb").await.unwrap();
    topology.replica(0).restart().await.unwrap();
    let (_, kept): (String, String) =
        command(&topology.replica(0).url(), "CONFIG GET maxmemory").await.unwrap();
    assert_eq!(kept, "52428800");
}

#[tokio::test]
#[ignore = "needs a Docker engine"]
async fn a_frozen_server_can_be_killed_and_stopped() {
    let topology = redis(1).await;
    topology.primary().pause().await.unwrap();
    topology.primary().kill().await.unwrap();
    let error = topology.primary().pause().await.unwrap_err();
    assert!(error.to_string().contains("not running"), "{error}");
    topology.replica(0).pause().await.unwrap();
    topology.replica(0).stop().await.unwrap();
    assert!(!topology.replica(0).is_running());
    topology.primary().restart().await.unwrap();
    set(topology.primary(), 1).await;
}

#[tokio::test]
#[ignore = "needs a Docker engine"]
async fn a_postgres_standby_lags_and_takes_over() {
    let options = PostgresOptions::default().standbys(2).provider(Provider::Containers);
    let topology = PostgresTopology::start(options).await.unwrap();
    let old = topology.primary();
    let address = old.addr();
    run(&old.url(), "CREATE TABLE posts (key int)").await.unwrap();
    run(&old.url(), "INSERT INTO posts VALUES (1)").await.unwrap();
    posts_are(topology.standby(0), 1).await;
    posts_are(topology.standby(1), 1).await;

    topology.link(0).cut();
    run(&old.url(), "INSERT INTO posts VALUES (2)").await.unwrap();
    posts_are(topology.standby(1), 2).await;
    assert_eq!(posts(topology.standby(0)).await.unwrap(), 1);
    topology.link(0).heal();
    posts_are(topology.standby(0), 2).await;

    topology.standby(1).stop().await.unwrap();
    topology.standby(1).restart().await.unwrap();
    posts_are(topology.standby(1), 2).await;

    old.kill().await.unwrap();
    topology.promote(0).await.unwrap();
    topology.follow(1, Member::Replica(0)).await.unwrap();
    run(&topology.standby(0).url(), "INSERT INTO posts VALUES (3)").await.unwrap();
    posts_are(topology.standby(1), 3).await;
    topology.rejoin_as_standby(Member::Primary, Member::Replica(0)).await.unwrap();
    assert_eq!(old.addr(), address);
    posts_are(old, 3).await;
}

#[tokio::test]
#[ignore = "needs a Docker engine"]
async fn a_server_that_does_not_start_says_why() {
    let options = RedisOptions::default().provider(Provider::Containers).setting("maxmemory", "nonsense");
    let error = RedisTopology::start(options).await.unwrap_err();
    assert!(error.to_string().contains("maxmemory"), "{error}");
}

#[test]
#[ignore = "needs a Docker engine"]
fn no_container_is_left_after_a_drop() {
    let runtime = Runtime::new().unwrap();
    let (topology, home) = runtime.block_on(owned());
    assert_eq!(containers_of(&home).len(), 3);
    // Outside of any runtime.
    drop(topology);
    assert_gone(&home);

    let current = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let home = current.block_on(async {
        let (topology, home) = owned().await;
        topology.primary().pause().await.unwrap();
        topology.replica(0).kill().await.unwrap();
        home
    });
    assert_gone(&home);
}

#[test]
#[ignore = "needs a Docker engine"]
fn no_container_is_left_after_a_panic() {
    let runtime = Runtime::new().unwrap();
    let mut left = PathBuf::new();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(async {
            let (_topology, home) = owned().await;
            left = home;
            panic!("as a failing test does");
        });
    }));
    assert!(panicked.is_err());
    assert_gone(&left);
}

#[tokio::test]
#[ignore = "needs a Docker engine"]
async fn no_container_is_left_after_the_owner_was_killed() {
    let (mut owner, home) = owner(Command::new(std::env::current_exe().unwrap()), "patient");
    assert_eq!(containers_of(&home).len(), 3);
    owner.kill().unwrap();
    owner.wait().unwrap();
    eventually("gone", async || Ok::<_, ()>(containers_of(&home).is_empty() && !home.exists())).await;
}

#[test]
#[ignore = "needs a Docker engine"]
fn no_container_is_left_after_a_drop_where_there_is_no_docker_command() {
    let programs = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/bin/rm", programs.path().join("rm")).unwrap();
    let mut owner_program = Command::new(std::env::current_exe().unwrap());
    owner_program.env("PATH", programs.path());
    let (mut owner, home) = owner(owner_program, "brief");
    assert!(owner.wait().unwrap().success());
    assert_gone(&home);
}

#[test]
fn without_an_engine_the_error_says_what_to_do() {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "be_the_owner", "--nocapture", "--include-ignored"])
        .env(ROLE, "brief")
        .env("DOCKER_HOST", "unix:///nowhere/docker.sock")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(said.contains("redis: no Docker engine answers: start one"), "{said}");
}

/// Says to the process that owns a topology when it may end.
const ROLE: &str = "ANTIPODE_TEST_CONTAINER_OWNER";

/// Precedes the directory in that process's output.
const OWNS: &str = "owns ";

/// This test program again, with the directory of the topology that it owns.
fn owner(mut program: Command, role: &str) -> (Child, PathBuf) {
    let mut owner = program
        .args(["--exact", "be_the_owner", "--nocapture", "--include-ignored"])
        .env(ROLE, role)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(owner.stdout.take().unwrap());
    let home = output
        .by_ref()
        .lines()
        .map_while(Result::ok)
        .find_map(|line| Some(line.split_once(OWNS)?.1.into()))
        .unwrap();
    // It goes on writing.
    owner.stdout = Some(output.into_inner());
    (owner, home)
}

/// Not a test, but the process that owns a topology in one.
#[tokio::test]
#[ignore = "needs a Docker engine"]
async fn be_the_owner() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let (_topology, home) = owned().await;
    println!("{OWNS}{}", home.display());
    if role == "patient" {
        std::future::pending::<()>().await;
    }
}

async fn redis(replicas: usize) -> RedisTopology {
    let options = RedisOptions::default().replicas(replicas).provider(Provider::Containers);
    RedisTopology::start(options).await.unwrap_or_else(|error| panic!("{error}"))
}

/// With its directory.
async fn owned() -> (RedisTopology, PathBuf) {
    let topology = redis(2).await;
    let (_, directory): (String, String) =
        command(&topology.primary().url(), "CONFIG GET dir").await.unwrap();
    let home = home(&directory);
    (topology, home)
}

fn containers_of(home: &Path) -> Vec<String> {
    let label = format!("label=antipode.home={}", home.display());
    let listed =
        Command::new("docker").args(["ps", "--all", "--quiet", "--filter", &label]).output().unwrap();
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    String::from_utf8(listed.stdout).unwrap().lines().map(str::to_owned).collect()
}

fn assert_gone(home: &Path) {
    assert_eq!(containers_of(home), Vec::<String>::new(), "of {}", home.display());
    assert!(!home.exists(), "{} is left", home.display());
}

async fn set(node: &RedisNode, key: u32) {
    let () = command(&node.url(), &format!("SET {key} written")).await.unwrap();
}

async fn has(node: &RedisNode, key: u32) -> redis::RedisResult<bool> {
    command(&node.url(), &format!("EXISTS {key}")).await
}

async fn shows(node: &RedisNode, key: u32) {
    eventually(&format!("{key} at {}", node.name()), async || has(node, key).await).await;
}

async fn posts(node: &PostgresNode) -> sqlx::Result<i64> {
    sql(&node.url(), "SELECT count(*) FROM posts").await
}

async fn posts_are(node: &PostgresNode, count: i64) {
    eventually(&format!("{count} posts at {}", node.name()), async || {
        posts(node).await.map(|posts| posts == count)
    })
    .await;
}
