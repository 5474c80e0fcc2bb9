//! The overhead run measures every form at every distance, and writes what it measured.

use serde_json::Value;

use crate::command;

#[test]
fn every_form_at_every_distance() {
    compared(&[("postgres", 2, 5), ("redis", 1, 3)]);
}

#[test]
#[cfg(all(feature = "mongodb", feature = "kafka"))]
fn also_of_mongodb_at_equal_write_concerns_and_of_kafka() {
    compared(&[("mongodb", 2, 6), ("kafka", 2, 2)]);
}

/// How many forms of reads and of writes each store has.
fn compared(stores: &[(&str, usize, usize)]) {
    let names: Vec<&str> = stores.iter().map(|(store, ..)| *store).collect();
    let shown = command::figures(&["run", "overhead", "--rounds", "10"], &["--stores", &names.join(",")]);
    assert_eq!(shown["rtt_ms"], serde_json::json!([0.0, 1.0]));
    for (store, reads, writes) in stores {
        for (kind, forms) in [("read", *reads), ("write", *writes)] {
            let rows = shown["stores"][store][kind].as_array().unwrap();
            let at = |rtt: f64| rows.iter().filter(|row| row["rtt_ms"] == rtt).count();
            assert_eq!([at(0.0), at(1.0)], [forms, forms], "{store} {kind}: {shown}");
            rows.iter().for_each(check);
        }
    }
}

fn check(row: &Value) {
    let [raw, shim, ratio] = ["raw_us", "shim_us", "ratio"].map(|figure| row[figure].as_f64().unwrap());
    assert!(raw > 0.0 && (shim / raw - ratio).abs() < 0.05 * ratio, "{row}");
    let fetched_ahead = row["form"].as_str().unwrap().contains("fetched ahead");
    if row["rtt_ms"] == 1.0 && !fetched_ahead {
        assert!(raw >= 1_000.0, "the proxy delays: {row}");
    }
}
