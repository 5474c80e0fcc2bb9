//! What Grafana is given fits together: it shows an empty panel where it does not.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::dashboard::dashboard;

const SOURCES: &str = include_str!("../../../docker/observe/grafana.yaml");
pub(crate) const SCRAPES: &str = include_str!("../../../docker/observe/prometheus.yaml");

/// The first value of a key, in a file of one line for each.
fn first<'a>(text: &'a str, key: &str) -> &'a str {
    text.lines().find_map(|line| line.trim().strip_prefix(key)?.strip_prefix(": ")).unwrap()
}

fn panels() -> Vec<Value> {
    dashboard()["panels"].as_array().unwrap().clone()
}

#[test]
fn every_panel_asks_the_source_that_is_provisioned() {
    let source = json!({ "type": "prometheus", "uid": first(SOURCES, "uid") });
    assert_eq!(first(SOURCES, "type"), "prometheus");
    for panel in panels() {
        assert_eq!(panel["datasource"], source, "{}", panel["title"]);
    }
    for variable in dashboard()["templating"]["list"].as_array().unwrap() {
        assert_eq!(variable["datasource"], source, "{}", variable["name"]);
    }
}

/// It takes four scrapes for the width of a rate, and knows of 15 seconds between two if nobody tells.
#[test]
fn rates_are_as_wide_as_the_scrapes_need() {
    assert_eq!(first(SOURCES, "timeInterval"), first(SCRAPES, "scrape_interval"));
    for panel in panels() {
        for target in panel["targets"].as_array().unwrap() {
            let expr = target["expr"].as_str().unwrap();
            assert_eq!(expr.matches('[').count(), expr.matches("[$__rate_interval]").count(), "{expr}");
            assert!(!expr.contains("_total") || expr.contains("rate("), "a count says nothing: {expr}");
        }
    }
}

#[test]
fn panels_are_told_apart_and_hide_none() {
    let (mut ids, mut places) = (BTreeSet::new(), BTreeSet::new());
    for panel in panels() {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{}", panel["title"]);
        let at = |side: &str| panel["gridPos"][side].as_u64().unwrap();
        assert!(at("x") + at("w") <= 24, "{} is wider than the page", panel["title"]);
        for cell in (0..at("w")).flat_map(|x| (0..at("h")).map(move |y| (x, y))) {
            assert!(places.insert((at("x") + cell.0, at("y") + cell.1)), "{} hides another", panel["title"]);
        }
        let targets = panel["targets"].as_array().unwrap();
        let letters: BTreeSet<_> = targets.iter().map(|target| target["refId"].as_str().unwrap()).collect();
        assert_eq!(letters.len(), targets.len(), "{}", panel["title"]);
    }
}

#[test]
fn every_panel_has_the_unit_of_what_it_shows() {
    for panel in panels() {
        for target in panel["targets"].as_array().unwrap() {
            let expr = target["expr"].as_str().unwrap();
            let is_value = expr.contains("_bucket") || !expr.contains("rate(");
            let unit = match expr {
                _ if !is_value => "ops",
                _ if expr.contains("_seconds") => "s",
                _ if expr.contains("_bytes") => "bytes",
                _ => panic!("no unit for {expr}"),
            };
            assert_eq!(panel["fieldConfig"]["defaults"]["unit"], unit, "{expr}");
        }
    }
}
