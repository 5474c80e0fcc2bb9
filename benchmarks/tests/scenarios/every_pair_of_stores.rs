//! The matrix shows every pair of stores in every variant, with its figures.

use serde_json::Value;

use crate::command;

/// The cells of a small matrix, each checked for what every cell must show.
fn cells(arguments: &[&str]) -> Vec<Value> {
    let matrix = ["run", "post-notification", "--matrix", "--rounds", "15"];
    let shown = command::figures_of_late_replicas(&matrix, arguments, |shown| {
        shown["cells"].as_array().unwrap().iter().all(|cell| violations(cell, "off") > 7)
    });
    let cells = shown["cells"].as_array().unwrap().clone();
    for cell in &cells {
        let (off, barrier) = (&cell["modes"]["off"], &cell["modes"]["barrier"]);
        assert!(off["violations"].as_u64().unwrap() > 7, "{cell}");
        assert_eq!((&barrier["violations"], &barrier["reads"]), (&0.into(), &15.into()), "{cell}");
        assert_eq!(barrier["outcomes"]["visible"], 15, "{cell}");
        for mode in cell["modes"].as_object().unwrap().values() {
            assert!(mode["write_ms"]["p99"].as_f64().unwrap() > 0.0, "{cell}");
        }
    }
    cells
}

fn violations(cell: &Value, mode: &str) -> u64 {
    cell["modes"][mode]["violations"].as_u64().unwrap()
}

#[test]
fn in_the_embedded_store_with_the_alternatives() {
    let cells = cells(&["--posts", "memory", "--notifier", "memory"]);
    let variants: Vec<&str> = cells.iter().map(|cell| cell["variant"].as_str().unwrap()).collect();
    assert_eq!(variants, ["insert", "update", "delete"]);
    for cell in &cells {
        assert_eq!(violations(cell, "sleep"), 0, "{cell}");
        // Existence says nothing of a new version, nor of a deletion.
        let fooled = cell["variant"] != "insert";
        assert_eq!(violations(cell, "poll") > 0, fooled, "{cell}");
    }
}

#[test]
#[cfg(all(feature = "redis", feature = "postgres"))]
fn on_redis_and_postgres() {
    let cells = cells(&["--posts", "redis,postgres", "--notifier", "redis,postgres"]);
    assert_eq!(cells.len(), 12);
    for cell in &cells {
        // The store's own means: it costs the writer the lag.
        let own = match cell["posts"].as_str().unwrap() {
            "redis" => "wait",
            _ => "remote-apply",
        };
        let Some(own) = cell["modes"].get(own) else {
            assert_eq!(cell["notifier"], "postgres", "only the first notifier has alternatives");
            continue;
        };
        assert_eq!(own["violations"], 0, "{cell}");
        assert!(own["write_ms"]["p50"].as_f64().unwrap() >= 150.0, "{cell}");
    }
}

#[test]
#[cfg(all(feature = "mongodb", feature = "kafka"))]
fn on_mongodb_with_its_change_stream_and_kafka() {
    let cells = cells(&["--posts", "mongodb", "--notifier", "mongodb,kafka"]);
    assert_eq!(cells.len(), 6);
    for cell in cells.iter().filter(|cell| cell["notifier"] == "mongodb") {
        assert_eq!(violations(cell, "causal-session"), 0, "{cell}");
        assert!(cell["modes"]["barrier"]["wire_bytes"]["max"].as_u64().unwrap() > 0, "{cell}");
    }
}

#[test]
fn a_cell_that_breaks_the_promise_fails_the_matrix_and_is_named() {
    let matrix = ["run", "post-notification", "--matrix", "--posts", "memory", "--notifier", "memory"];
    let hasty = ["--variant", "update,insert", "--rounds", "5", "--deadline", "1ms"];
    let output = command::antipode(&[matrix.as_slice(), &hasty].concat());
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("posts in memory, notifier memory, update"), "{said}");
    assert!(said.contains("5 of 5 barriers did not say visible"), "{said}");
}
