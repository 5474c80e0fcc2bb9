//! The dashboard asks for what the exporter really renders, and for all of it.

use std::collections::BTreeSet;
use std::time::Duration;

use antipode::edge::Inbound;
use antipode::lineage::{Baggage, Lineage, LineageCodec, LineageScope};
use antipode::memory::{Lag, MemoryStore};
use antipode::metrics::*;
use antipode::prelude::Registry;
use http::{HeaderMap, HeaderValue};
use serde_json::Value;

use crate::page::Page;

const DASHBOARD: &str = include_str!("../../../docker/observe/dashboard.json");
const ALL: [&str; 13] = [
    BARRIER_WAIT,
    STORE_WAIT,
    PREVENTED,
    FAILURES,
    PROBE,
    PROBE_FAILURES,
    REPLICA_LAG,
    DETECTION,
    CAPTURE,
    UNPLACED,
    MISSED,
    EDGE_FAULTS,
    LINEAGE_SIZE,
];

/// One query and the names in it.
#[derive(Debug)]
pub(crate) struct Query {
    pub(crate) text: String,
    pub(crate) metric: String,
    labels: BTreeSet<String>,
    /// Those of them that name a line.
    pub(crate) legend: BTreeSet<String>,
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// What stands between each `open` and the `close` that follows.
fn between<'a>(text: &'a str, open: &'a str, close: char) -> impl Iterator<Item = &'a str> {
    text.split(open).skip(1).map(move |rest| rest.split(close).next().unwrap())
}

fn query(expr: &str, legend: &str) -> Query {
    let metrics: Vec<_> = words(expr).filter(|word| word.starts_with("antipode_")).collect();
    let [metric] = metrics[..] else { panic!("one metric in {expr}") };
    for [open, close] in [['(', ')'], ['{', '}'], ['[', ']']] {
        assert_eq!(expr.matches(open).count(), expr.matches(close).count(), "{expr}");
    }
    let grouped = between(expr, "by (", ')').flat_map(words);
    let selected = between(expr, "{", '}').map(|selector| selector.split(['=', '!']).next().unwrap());
    let legend: BTreeSet<_> = between(legend, "{{", '}').map(ToOwned::to_owned).collect();
    let groups: BTreeSet<_> = between(expr, "by (", ')').flat_map(words).collect();
    assert!(legend.iter().all(|label| groups.contains(label.as_str())), "{legend:?} of {expr}");
    let labels = grouped.chain(selected).map(ToOwned::to_owned).collect();
    Query { text: expr.to_owned(), metric: metric.to_owned(), labels, legend }
}

pub(crate) fn dashboard() -> Value {
    serde_json::from_str(DASHBOARD).unwrap()
}

/// Those of the panels.
pub(crate) fn queries_of_panels() -> Vec<Query> {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    targets.map(|target| query(&text(&target["expr"]), &text(&target["legendFormat"]))).collect()
}

fn queries() -> Vec<Query> {
    let mut queries = queries_of_panels();
    let dashboard = dashboard();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        let values = text(&variable["query"]["query"]);
        let (metric, label) =
            between(&values, "label_values(", ')').next().unwrap().split_once(", ").unwrap();
        let labels = BTreeSet::from([label.to_owned()]);
        queries.push(Query { metric: metric.to_owned(), labels, text: values, legend: BTreeSet::new() });
    }
    queries
}

/// A reader behind a barrier, and its edge.
pub(crate) struct Watched {
    posts: MemoryStore,
    registry: Registry,
    inbound: Inbound,
}

impl Watched {
    const LAG: Duration = Duration::from_millis(50);

    pub(crate) async fn by(metrics: Metrics) -> Self {
        let slow = Lag::of(Self::LAG);
        let posts = MemoryStore::builder("posts").region("us").lagging("eu", slow).build().unwrap();
        let europe = posts.reading_from(["eu"]).unwrap();
        let registry = Registry::builder().store(europe).observer(metrics.clone()).build().await.unwrap();
        Self { posts, registry, inbound: Inbound::accept(LineageCodec::plain()).observer(metrics) }
    }

    /// A barrier that waits, one that fails, a request with a lineage, and one without.
    pub(crate) async fn serve(&self) {
        let write = async || {
            let scope = LineageScope::new();
            self.posts.shim().within(scope.clone()).put("post", "hello").await.unwrap();
            scope.settled().await
        };
        self.registry.barrier_on(&write().await).await.unwrap();
        self.registry.barrier_on(&write().await).deadline(Self::LAG / 5).await.unwrap_err();
        let header = Baggage::default().write(&LineageCodec::plain(), &Lineage::everything()).value;
        let mut headers = HeaderMap::new();
        self.inbound.admit(&headers).unwrap();
        headers.append("baggage", HeaderValue::try_from(header).unwrap());
        self.inbound.admit(&headers).unwrap();
    }
}

async fn rendered() -> String {
    let page = Page::new();
    let (_guard, metrics) = page.metrics();
    Watched::by(metrics).await.serve().await;
    page.text()
}

#[tokio::test(start_paused = true)]
async fn every_query_of_the_dashboard_names_what_is_rendered() {
    let page = rendered().await;
    for Query { text, metric, labels, .. } in queries() {
        let line = page
            .lines()
            .find(|line| line.strip_prefix(&metric).is_some_and(|rest| rest.starts_with(['{', ' '])));
        let Some(line) = line else { panic!("{metric}, of {text}, is not in\n{page}") };
        for label in labels {
            assert!(line.contains(&format!("{label}=\"")), "no {label} in {line}, of {text}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_metric_is_rendered_with_its_help_and_on_the_dashboard() {
    let page = rendered().await;
    let queries = queries();
    for metric in ALL {
        assert!(page.contains(&format!("# HELP {metric} ")) && page.contains(&format!("# TYPE {metric} ")));
        let asked = queries.iter().any(|query| query.metric.starts_with(metric));
        assert!(asked, "{metric} is not on the dashboard");
    }
    let described = page.lines().filter(|line| line.starts_with("# TYPE antipode_"));
    assert_eq!(described.count(), ALL.len(), "{page}");
}

#[test]
fn a_wrong_query_is_seen() {
    let wrong = query(r#"sum by (stor) (rate(antipode_nothing_total{replica!="a"}[5m]))"#, "{{stor}}");
    assert_eq!(wrong.metric, "antipode_nothing_total");
    assert_eq!(wrong.labels, BTreeSet::from(["stor".to_owned(), "replica".to_owned()]));
}
