//! Forged requests between honest ones: what the forged run writes.

use serde_json::Value;

use crate::command;

#[test]
fn at_the_embedded_store() {
    check("memory");
}

#[test]
#[cfg(feature = "redis")]
fn at_redis() {
    check("redis");
}

#[test]
#[cfg(feature = "postgres")]
fn at_postgres() {
    check("postgres");
}

#[test]
#[cfg(feature = "mongodb")]
fn at_mongodb() {
    check("mongodb");
}

fn check(store: &str) {
    let arguments = ["--store", store, "--forged", "300", "--honest", "50", "--rate", "100", "--rounds", "1"];
    let shown: Value = command::figures(&["run", "forged"], &arguments);
    assert_eq!((&shown["store"], &shown["workload"]), (&store.into(), &"forged".into()));
    for half in [&shown["without"], &shown["with"]] {
        assert_eq!(half["requests"], 50, "every honest request is served: {shown}");
        assert!(half["p50"].as_f64().unwrap() > 0.0 && half["questions"].as_u64().unwrap() > 0, "{shown}");
    }
    let forged = &shown["forged"];
    assert_eq!((&forged["requests"], &forged["not_told"]), (&300.into(), &0.into()), "{shown}");
    assert!(
        forged["max_ms"].as_f64().unwrap() > 0.0 && shown["p99_ratio"].as_f64().unwrap() > 0.0,
        "{shown}"
    );
}
