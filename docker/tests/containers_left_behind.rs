//! No container is left of a topology, whichever way it ends.
//!
//! Ignored without an engine; `docker/test` runs them where one answers.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod ask;

use std::{
    io::{BufRead, BufReader, Read},
    os::unix::fs::symlink,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use antipode_docker::{Provider, RedisOptions, RedisTopology};
use ask::{command, eventually, home};
use tokio::runtime::Runtime;

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
    symlink("/bin/rm", programs.path().join("rm")).unwrap();
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

/// With its directory.
async fn owned() -> (RedisTopology, PathBuf) {
    let options = RedisOptions::default().provider(Provider::Containers);
    let topology = RedisTopology::start(options).await.unwrap_or_else(|error| panic!("{error}"));
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
