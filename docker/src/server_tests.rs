//! Shell scripts in the place of servers.

use std::{
    ffi::OsString,
    time::{Duration, Instant},
};

use futures_util::FutureExt;
use nix::{sys::signal::Signal, unistd::Pid};

use super::*;
use crate::native::Account;

/// Its port 1 is taken.
const PORT_TAKEN: &str = r#"
    [ "$2" = 1 ] && { echo "bind: Address already in use"; exit 1; }
    touch answers
    exec sleep 60
"#;

/// Neither it nor what it has started cares for what it is told.
const STUBBORN: &str = r#"
    trap '' TERM
    sleep 60 & echo $! >child
    touch answers
    while true; do sleep 60; done
"#;

/// Takes leave when it is told to end.
const ORDERLY: &str = r#"
    trap 'touch ../../left; exit' TERM
    touch answers
    while true; do sleep 0.01; done
"#;

fn plan(home: &Home, script: &str) -> Plan {
    let directory = home.path().join("fake");
    fs::create_dir(&directory).unwrap();
    Plan {
        name: "fake".to_owned(),
        program: "/bin/sh".into(),
        arguments: ["-c", script, "fake"].map(OsString::from).into(),
        port: Port::Free { option: "--port" },
        directory,
        account: Account::Own,
        starting: wait::LIMIT,
        stopping: Signal::SIGTERM,
        ending: Signal::SIGTERM,
        probe: |_, directory| async move { directory.join("answers").exists() }.boxed(),
    }
}

fn pid_of(server: &Server) -> Pid {
    match server.reach() {
        Some(Reach::Pid(pid)) => pid,
        other => panic!("no process but {other:?}"),
    }
}

/// Whether it is neither running nor frozen; nobody may have reaped it yet.
fn is_dead(pid: Pid) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "))
}

#[tokio::test]
async fn another_port_is_tried_when_one_is_taken() {
    let home = Arc::new(Home::new("fake", "").unwrap());
    let mut ports = [1, 1, 2].into_iter();
    let choose = || ports.next().ok_or_else(|| io::ErrorKind::AddrNotAvailable.into());
    let server = Server::launch_on(&Runner::Native, &home, plan(&home, PORT_TAKEN), choose).await.unwrap();
    assert_eq!(server.addr().port(), 2);
    assert!(server.is_running());
    server.stop().await.unwrap();
    assert!(!server.is_running());
}

#[tokio::test]
async fn not_for_ever() {
    let home = Arc::new(Home::new("fake", "").unwrap());
    let plan = plan(&home, PORT_TAKEN);
    let error = Server::launch_on(&Runner::Native, &home, plan, || Ok(1)).await.unwrap_err();
    assert!(error.to_string().contains("Address already in use"), "{error}");
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_given_up_after_the_time_it_was_given() {
    let home = Arc::new(Home::new("fake", "").unwrap());
    let limit = Duration::from_millis(50);
    let plan = Plan { starting: limit, ..plan(&home, "exec sleep 60") };
    let error = Server::launch(&Runner::Native, &home, plan).await.unwrap_err();
    assert!(matches!(error, TopologyError::Timeout { limit: waited, .. } if waited == limit), "{error}");
}

#[tokio::test]
async fn a_server_that_does_not_end_is_killed_with_its_children() {
    let home = Arc::new(Home::new("fake", "").unwrap());
    let server = Server::launch(&Runner::Native, &home, plan(&home, STUBBORN)).await.unwrap();
    let child = fs::read_to_string(home.path().join("fake/child")).unwrap();
    let processes = [pid_of(&server), Pid::from_raw(child.trim().parse().unwrap())];
    assert!(!processes.into_iter().any(is_dead));
    drop(server);
    let deadline = Instant::now() + Duration::from_secs(60);
    while !processes.into_iter().all(is_dead) {
        assert!(Instant::now() < deadline, "one of {processes:?} is left");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[tokio::test]
async fn a_frozen_server_ends_in_good_order() {
    let directory = tempfile::tempdir().unwrap();
    let home = Arc::new(Home::within(directory.path(), "fake", "").unwrap());
    let server = Server::launch(&Runner::Native, &home, plan(&home, ORDERLY)).await.unwrap();
    server.pause().await.unwrap();
    drop(server);
    assert!(directory.path().join("left").exists());
}
