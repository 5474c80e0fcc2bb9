//! Nothing is left of a topology, whichever way it ends.

use std::{
    fs::{self, Permissions},
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use antipode_docker::{PostgresOptions, PostgresTopology, RedisOptions, RedisTopology};
use tokio::runtime::Runtime;

use crate::ask::{command, eventually, home, processes_in, sql};

/// Set for the process that is killed while it owns topologies.
const ROLE: &str = "ANTIPODE_TEST_OWNER";

/// Precedes the directories in that process's output.
const OWNS: &str = "owns ";

#[test]
fn nothing_is_left_after_a_drop() {
    let runtime = Runtime::new().unwrap();
    let scene = runtime.block_on(Scene::new());
    let homes = runtime.block_on(scene.homes());
    let segments = segments_of(&homes);
    assert!(homes.iter().all(|home| home.exists() && processes_in(home).len() >= 3));
    drop(scene);
    // At once: a drop waits for it.
    homes.iter().for_each(|home| assert_gone(home));
    assert_released(&segments);
}

#[test]
fn nothing_is_left_after_a_drop_of_paused_and_killed_servers() {
    let runtime = Runtime::new().unwrap();
    let scene = runtime.block_on(Scene::new());
    let homes = runtime.block_on(scene.homes());
    let segments = segments_of(&homes);
    runtime.block_on(scene.harm());
    drop(scene);
    homes.iter().for_each(|home| assert_gone(home));
    assert_released(&segments);
}

#[test]
fn nothing_is_left_after_a_panic() {
    let runtime = Runtime::new().unwrap();
    let mut homes = Vec::new();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(async {
            let scene = Scene::new().await;
            homes = scene.homes().await;
            panic!("as a failing test does");
        })
    }));
    assert!(panicked.is_err());
    homes.iter().for_each(|home| assert_gone(home));
}

#[tokio::test]
async fn nothing_is_left_after_the_owner_was_killed() {
    for role in ["harmless", "harmful"] {
        let mut owner = owner(role, &std::env::temp_dir());
        let output = BufReader::new(owner.stdout.take().unwrap());
        let homes: Vec<PathBuf> = output
            .lines()
            .map_while(Result::ok)
            .find_map(|line| {
                let (_, homes) = line.split_once(OWNS)?;
                Some(homes.split(' ').map(PathBuf::from).collect())
            })
            .unwrap();
        let segments = segments_of(&homes);
        assert!(homes.iter().all(|home| home.exists() && !processes_in(home).is_empty()));
        owner.kill().unwrap();
        owner.wait().unwrap();
        for home in &homes {
            eventually("gone", async || Ok::<_, ()>(processes_in(home).is_empty() && !home.exists())).await;
        }
        assert_released(&segments);
    }
}

#[tokio::test]
async fn nothing_is_left_after_an_abandoned_start() {
    // At any moment of it: the future is dropped, or its process killed.
    for millis in [5, 20, 100, 300, 500, 700] {
        for role in ["hasty", "starting"] {
            let directory = tempfile::tempdir().unwrap();
            // Postgres may run as another user.
            fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
            let mut owner = owner(&format!("{role} {millis}"), directory.path());
            if role == "starting" {
                std::thread::sleep(Duration::from_millis(millis));
                owner.kill().unwrap();
            }
            owner.wait().unwrap();
            let empty = || directory.path().read_dir().is_ok_and(|mut entries| entries.next().is_none());
            eventually("gone", async || Ok::<_, ()>(processes_in(directory.path()).is_empty() && empty()))
                .await;
        }
    }
}

/// This test program again, as the owner of topologies; see [`be_the_owner`].
fn owner(role: &str, directory: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "left_behind::be_the_owner", "--nocapture"])
        .env(ROLE, role)
        .env("TMPDIR", directory)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Not a test, but the process that is killed in one.
#[tokio::test]
async fn be_the_owner() {
    let Ok(role) = std::env::var(ROLE) else { return };
    if let Some((_, millis)) = role.split_once(' ') {
        let start = PostgresTopology::start(PostgresOptions::default());
        let limit = if role.starts_with("hasty") { millis.parse().unwrap() } else { 60_000 };
        let _ = tokio::time::timeout(Duration::from_millis(limit), start).await;
        return;
    }
    let scene = Scene::new().await;
    let homes: Vec<String> = scene.homes().await.iter().map(|home| home.display().to_string()).collect();
    if role == "harmful" {
        scene.harm().await;
    }
    println!("{OWNS}{}", homes.join(" "));
    std::future::pending::<()>().await;
}

struct Scene {
    postgres: PostgresTopology,
    redis: RedisTopology,
}

impl Scene {
    async fn new() -> Self {
        Self {
            postgres: PostgresTopology::start(PostgresOptions::default()).await.unwrap(),
            redis: RedisTopology::start(RedisOptions::default()).await.unwrap(),
        }
    }

    async fn homes(&self) -> Vec<PathBuf> {
        let postgres: String = sql(&self.postgres.primary().url(), "SHOW data_directory").await.unwrap();
        let (_, redis): (String, String) =
            command(&self.redis.primary().url(), "CONFIG GET dir").await.unwrap();
        vec![home(&postgres), home(&redis)]
    }

    /// Leaves servers in every state that they can be in.
    async fn harm(&self) {
        self.postgres.primary().pause().await.unwrap();
        self.postgres.standby(0).kill().await.unwrap();
        self.redis.primary().pause().await.unwrap();
        self.redis.replica(0).kill().await.unwrap();
        self.redis.replica(1).stop().await.unwrap();
    }
}

fn assert_gone(home: &Path) {
    assert_eq!(processes_in(home), Vec::<String>::new(), "in {}", home.display());
    assert!(!home.exists(), "{} is left", home.display());
}

/// The shared memory segments of the Postgres servers that are running in these directories.
fn segments_of(homes: &[PathBuf]) -> Vec<String> {
    let servers = homes.iter().flat_map(|home| home.read_dir().unwrap()).flatten();
    let segments: Vec<String> = servers
        .filter_map(|server| fs::read_to_string(server.path().join("postmaster.pid")).ok())
        .filter_map(|file| Some(file.lines().nth(6)?.split_whitespace().nth(1)?.to_owned()))
        .collect();
    assert_eq!(segments.len(), 3, "one for each server");
    segments
}

fn assert_released(segments: &[String]) {
    let all = fs::read_to_string("/proc/sysvipc/shm").unwrap();
    let mut held = all.lines().filter_map(|line| line.split_whitespace().nth(1));
    assert_eq!(held.find(|id| segments.iter().any(|segment| segment == id)), None);
}
