//! A real Prometheus, with the configuration that the containers get, answers every query of the dashboard.
//!
//! It is no part of the usual run. With the programs of Debian's package `prometheus` on the path:
//!
//! `cargo test -p antipode --features metrics,opentelemetry,tower --test observing -- --ignored`

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::Stdio;
use std::time::Duration;

use antipode::metrics::{CAPTURE, DETECTION, Metrics};
use serde_json::Value;
use tokio::process::Command;

use crate::dashboard::{Query, Watched, queries_of_panels};
use crate::grafana::SCRAPES;
use crate::page::prometheus;

const LIMIT: Duration = Duration::from_secs(60);
const TARGET: &str = "host.docker.internal:9898";

/// What a program prints that must succeed.
async fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).kill_on_drop(true).output().await;
    let output = output.unwrap_or_else(|error| panic!("{program}, of Debian's package prometheus: {error}"));
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", text(output.stderr));
    text(output.stdout)
}

fn free() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

/// What the queries are asked of: a Prometheus that scrapes `target` each quarter of a second.
async fn ask(queries: &[Query], target: SocketAddr) {
    let directory = tempfile::tempdir().unwrap();
    let place = |name: &str| directory.path().join(name).display().to_string();
    let config = SCRAPES.replace(TARGET, &target.to_string()).replace("interval: 5s", "interval: 250ms");
    assert!(config.contains("250ms") && !config.contains(TARGET), "{config}");
    std::fs::write(place("prometheus.yaml"), config).unwrap();
    said("promtool", &["check", "config", &place("prometheus.yaml")]).await;

    let listen = free();
    let _server = Command::new("prometheus")
        .arg(format!("--config.file={}", place("prometheus.yaml")))
        .arg(format!("--storage.tsdb.path={}", place("data")))
        .arg(format!("--web.listen-address={listen}"))
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let url = format!("http://{listen}");
    let answer = async |expr: &str| {
        let asked = ["query", "-o", "json", "instant", &url, expr];
        let output = Command::new("promtool").args(asked).kill_on_drop(true).output().await.unwrap();
        serde_json::from_slice::<Vec<Value>>(&output.stdout).map_err(|_| output.stderr)
    };
    // Rates need two scrapes, and what is to be rated between them.
    while !answer("sum(count_over_time(up[5s])) > 8").await.is_ok_and(|found| !found.is_empty()) {
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    for Query { text, metric, legend, .. } in queries {
        // What is left out at zero is there nevertheless.
        let expr = text.trim_end_matches(" > 0").replace("$__rate_interval", "5s").replace("$store", ".*");
        let found =
            answer(&expr).await.unwrap_or_else(|why| panic!("{expr}: {}", String::from_utf8_lossy(&why)));
        assert!(!found.is_empty(), "nothing for {expr}");
        for series in &found {
            let labels = series["metric"].as_object().unwrap();
            assert!(labels.keys().eq(legend), "{labels:?}, not {legend:?}, of {expr}");
        }
        // The embedded store tells at once, and its writes come with their positions.
        let silent = [DETECTION, CAPTURE].iter().any(|name| metric.starts_with(name));
        let known = found.iter().any(|series| series["value"][1] != "NaN");
        assert!(known || silent, "no value for {expr}: {found:?}");
    }
}

#[tokio::test]
#[ignore = "needs the programs prometheus and promtool"]
async fn every_query_of_the_dashboard_is_answered_with_the_labels_of_its_legend() {
    let target = free();
    let (recorder, exporter) = prometheus().with_http_listener(target).build().unwrap();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let watched = Watched::by(Metrics::new()).await;
    let serve = async {
        loop {
            watched.serve().await;
        }
    };
    let queries = queries_of_panels();
    tokio::select! {
        ended = exporter => panic!("nothing to scrape: {:?}", ended.err().map(|_| target)),
        () = serve => {}
        asked = tokio::time::timeout(LIMIT, ask(&queries, target)) => asked.unwrap(),
    }
}
