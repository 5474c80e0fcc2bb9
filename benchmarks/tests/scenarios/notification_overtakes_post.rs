//! The command shows the anomaly and its cure, on every store, and says so in JSON.

use serde_json::Value;

use crate::command::{antipode, figures, figures_of_late_replicas};

#[test]
fn on_the_embedded_store() {
    let shown = figures(&["run", "post-notification", "--rounds", "20"], &[]);
    assert_eq!(shown["lag_ms"], 150.0);
    check(&shown, "propagate", 20);
    check(&shown, "off", 20);
    check(&shown, "barrier", 20);
}

#[test]
fn an_update_is_missed_as_well() {
    let arguments = ["--variant", "update", "--modes", "barrier,off,propagate,off"];
    let shown = figures(&["run", "post-notification", "--rounds", "20"], &arguments);
    for mode in ["off", "propagate", "barrier"] {
        check(&shown, mode, 20);
    }
}

#[test]
#[cfg(feature = "redis")]
fn on_redis() {
    on_servers("redis", &["insert", "update"]);
}

#[test]
#[cfg(all(feature = "redis", feature = "postgres"))]
fn on_postgres() {
    on_servers("postgres", &["insert", "update"]);
}

#[cfg(feature = "redis")]
fn on_servers(posts: &str, variants: &[&str]) {
    for variant in variants {
        let stores = ["--posts", posts, "--notifier", "redis", "--variant", variant];
        let extent = ["--rounds", "20", "--modes", "off,propagate,barrier"];
        let arguments = [stores.as_slice(), &extent].concat();
        let shown = figures_of_late_replicas(&["run", "post-notification"], &arguments, |shown| {
            ["off", "propagate"].iter().all(|mode| violations(shown, mode) > 10)
        });
        assert_eq!([&shown["posts"], &shown["notifier"], &shown["variant"]], [posts, "redis", variant]);
        for mode in ["off", "propagate", "barrier"] {
            check(&shown, mode, 20);
        }
    }
}

#[test]
fn a_barrier_that_times_out_fails_the_run() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let json = file.path().to_str().unwrap();
    let arguments = ["run", "post-notification", "--rounds", "5", "--deadline", "1ms", "--json", json];
    let output = antipode(&arguments);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("5 of 5 barriers did not say visible"));
    let shown: Value = serde_json::from_reader(file).unwrap();
    assert_eq!(shown["modes"]["barrier"]["outcomes"]["timeout"], 5);
    assert_eq!(shown["modes"]["barrier"]["reads"], 0, "nothing was read behind them");
}

#[test]
fn a_cell_of_a_matrix_has_the_fields_of_a_single_run() {
    let memory = ["--rounds", "5", "--posts", "memory", "--notifier", "memory", "--variant", "update"];
    let modes = ["--modes", "off,propagate,barrier"];
    let run = ["run", "post-notification"];
    let single = figures(&run, &[memory.as_slice(), &modes].concat());
    let matrix = figures(&run, &[memory.as_slice(), &modes, &["--matrix"]].concat());
    assert_eq!(fields(&matrix), ["cells"]);
    let top = ["workload", "posts", "notifier", "variant", "lag_ms", "rounds", "seed", "versions", "modes"];
    let mode =
        ["violations", "reads", "violation_rate", "violation_interval", "window_ms", "write_ms", "gave_up"];
    let waits = ["outcomes", "prevented", "barrier_wait_ms", "detection_ms", "wire_bytes", "probes"];
    for run in [&single, &matrix["cells"][0]] {
        assert_eq!(missing(run, &top), "", "{run}");
        assert_eq!(fields(&run["modes"]), ["barrier", "off", "propagate"]);
        for figures in run["modes"].as_object().unwrap().values() {
            assert_eq!(missing(figures, &mode), "");
        }
        assert_eq!(missing(&run["modes"]["barrier"], &waits), "");
    }
    assert_eq!(fields(&single), fields(&matrix["cells"][0]));
}

fn fields(figures: &Value) -> Vec<&str> {
    figures.as_object().unwrap().keys().map(String::as_str).collect()
}

fn missing(figures: &Value, needed: &[&str]) -> String {
    needed.iter().filter(|field| figures.get(*field).is_none()).copied().collect::<Vec<_>>().join(", ")
}

#[test]
fn nonsense_is_refused_with_advice() {
    let output = antipode(&["run", "post-notification", "--lag", "150"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("150ms"), "{output:?}");
}

fn violations(shown: &Value, mode: &str) -> u64 {
    shown["modes"][mode]["violations"].as_u64().unwrap()
}

/// What every store must show: stale reads without a barrier, none with one.
fn check(shown: &Value, mode: &str, rounds: u64) {
    let figures = &shown["modes"][mode];
    assert_eq!(figures["reads"], rounds, "{mode}: {shown}");
    let violations = violations(shown, mode);
    for quantile in ["p50", "p99"] {
        assert!(figures["window_ms"][quantile].as_f64().unwrap() > 0.0, "{mode}: {shown}");
    }
    if mode != "off" {
        assert!(figures["wire_bytes"]["max"].as_u64().unwrap() > 0, "{mode}: {shown}");
    }
    if mode != "barrier" {
        assert!(violations > rounds / 2, "{mode}: {shown}");
        return;
    }
    assert_eq!(violations, 0, "{mode}: {shown}");
    assert_eq!(figures["violation_rate"], 0.0);
    let kinds = ["visible", "timeout", "lost", "unreachable", "indeterminate", "store_down"];
    let outcomes = kinds.map(|kind| figures["outcomes"][kind].as_u64().unwrap());
    assert_eq!(outcomes, [rounds, 0, 0, 0, 0, 0], "{shown}");
    for figure in ["barrier_wait_ms", "detection_ms"] {
        assert!(figures[figure]["p99"].as_f64().unwrap() > 0.0, "{figure}: {shown}");
    }
    assert!(figures["probes"].as_u64().unwrap() > 0, "{shown}");
}
