//! The examples as users run them: each says what was violated without and with, and succeeds only if that is so.
//!
//! `cargo test` builds them, unless it is told which targets to test: then one that is missing or old fails here.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::unwrap_used, reason = "a test fails by it")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::sync::mpsc;

/// From the start of the servers to their end.
const LIMIT: Duration = Duration::from_secs(120);

#[tokio::test]
async fn a_post_is_on_the_page_of_its_announcement() {
    let said = run("post_notification", &["40"]).await;
    assert!(count(&said, " announced posts were not there", "plain:") > 0, "{said}");
    assert_eq!(count(&said, " announced posts were not there", "protected:"), 0, "{said}");
}

#[tokio::test]
async fn a_worker_finds_the_posts_that_it_is_told_of() {
    let said = run("kafka_worker", &[]).await;
    assert!(count(&said, " of 20 posts", "plain consumer:") > 0, "{said}");
    assert_eq!(count(&said, " of 20 posts", "worker with gate:"), 0, "{said}");
    assert!(said.contains("handled: 20, failed: 0"), "{said}");
}

#[tokio::test]
async fn a_caller_finds_in_europe_what_its_calls_and_streams_wrote() {
    let said = run("tonic_pair", &[]).await;
    for after in [" of 20 were not there after a call", " after a stream"] {
        assert!(count(&said, after, "without lineage:") > 0, "{said}");
        assert_eq!(count(&said, after, "with lineage:"), 0, "{said}");
    }
}

#[tokio::test]
async fn a_refund_after_the_reply_is_there_or_said_to_be_abandoned() {
    let said = run("refund", &[]).await;
    assert!(count(&said, " of 50 refunds", "barrier:") > 0, "{said}");
    assert_eq!(count(&said, " of 50 refunds", "whole barrier:"), 0, "{said}");
    assert!(said.lines().last().is_some_and(|last| last.ends_with("was abandoned")), "{said}");
}

/// To a receiver of traces that knows of bytes only: names and texts stand in them as they are.
#[tokio::test]
async fn a_watched_service_shows_its_barriers_and_sends_their_spans() {
    let (sender, mut traces) = mpsc::unbounded_channel();
    let receive = async move |body: Bytes| drop(sender.send(String::from_utf8_lossy(&body).into_owned()));
    let receiver = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", receiver.local_addr().unwrap());
    let receiver = axum::serve(receiver, Router::new().route("/v1/traces", post(receive)));
    let metrics = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let _watched = Command::new(program("watched"))
        .arg(metrics.port().to_string())
        .env_remove("POSTGRES")
        .envs([("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()), ("OTEL_BSP_SCHEDULE_DELAY", "200")])
        .kill_on_drop(true)
        .spawn()
        .unwrap();

    let spans =
        ["publish", "follow a notice", "barrier", "store_wait", "antipode.write", "a stranger's request"];
    let mut missing = spans.to_vec();
    let mut page = String::new();
    let all = async {
        while !missing.is_empty() {
            let trace = traces.recv().await.unwrap();
            missing.retain(|name| !trace.contains(name));
        }
        let answer = reqwest::get(format!("http://{metrics}/metrics")).await.unwrap();
        page = answer.text().await.unwrap();
    };
    let came = tokio::select! {
        came = tokio::time::timeout(LIMIT, all) => came.is_ok(),
        _ = receiver.into_future() => false,
    };
    assert!(came, "no trace has {missing:?}");
    for series in [
        r#"antipode_barrier_wait_seconds_count{outcome="visible"}"#,
        r#"antipode_store_failures_total{store="posts",outcome="timeout"}"#,
        r#"antipode_edge_faults_total{fault="unreadable",treated="as_everything"}"#,
        r#"antipode_operations_without_lineage_total{store="posts"}"#,
    ] {
        let value = page.lines().find_map(|line| line.strip_prefix(series));
        assert!(value.is_some_and(|value| value.trim() != "0"), "{series} in {page}");
    }
}

/// Runs an example to its end: what it said.
async fn run(example: &str, arguments: &[&str]) -> String {
    let mut run = Command::new(program(example));
    // Its input stays open: it ends what it started by itself.
    run.args(arguments).stdin(Stdio::piped()).kill_on_drop(true);
    let run = tokio::time::timeout(LIMIT, run.output()).await;
    let run = run.unwrap_or_else(|_| panic!("{example} did not end within {LIMIT:?}")).unwrap();
    let said = String::from_utf8_lossy(&run.stdout).into_owned();
    assert!(
        run.status.success(),
        "{example}: {}\n{said}{}",
        run.status,
        String::from_utf8_lossy(&run.stderr)
    );
    said
}

/// An example, as it is now.
fn program(example: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let program = test.ancestors().nth(2).expect("target/…").join("examples").join(example);
    assert!(is_current(&program), "{example}: cargo build --workspace --all-features --examples");
    program
}

/// Whether a program is there, and no older than its sources. Cargo lists them beside it.
fn is_current(program: &Path) -> bool {
    let changed = |path: &Path| fs::metadata(path).and_then(|file| file.modified()).ok();
    let sources = fs::read_to_string(program.with_extension("d")).unwrap_or_default();
    let sources = sources.split_once(": ").map_or("", |(_, sources)| sources);
    let mut sources = sources.split_whitespace().map(PathBuf::from).peekable();
    sources.peek().is_some() && sources.all(|source| changed(&source) <= changed(program))
}

/// The number before this text, in the line that begins so.
fn count(said: &str, before: &str, line: &str) -> u32 {
    let number = |line: &str| line.split_once(before)?.0.split_whitespace().last()?.parse().ok();
    let mut lines = said.lines().filter(|said| said.trim_start().starts_with(line));
    lines.find_map(number).unwrap_or_else(|| panic!("no number before {before:?} in {line:?}:\n{said}"))
}
