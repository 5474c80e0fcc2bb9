//! A crowd of barriers at one lagging replica: what the waiters run writes, on every store.

use serde_json::Value;

use crate::command;

#[test]
fn in_the_embedded_store() {
    check(&crowd("memory"), "memory");
}

#[test]
#[cfg(feature = "redis")]
fn in_redis() {
    check(&crowd("redis"), "redis");
}

#[test]
#[cfg(feature = "postgres")]
fn in_postgres() {
    check(&crowd("postgres"), "postgres");
}

#[test]
#[cfg(feature = "mongodb")]
fn in_mongodb() {
    check(&crowd("mongodb"), "mongodb");
}

#[test]
#[cfg(feature = "kafka")]
fn at_a_late_group_of_kafka() {
    check(&crowd("kafka"), "kafka");
}

fn crowd(store: &str) -> Value {
    let arguments = ["--store", store, "--points", "1,200", "--lag", "100ms", "--repeats", "1"];
    command::figures(&["run", "waiters"], &arguments)
}

fn check(shown: &Value, store: &str) {
    assert_eq!((&shown["store"], &shown["lag_ms"]), (&store.into(), &100.0.into()));
    let points = shown["points"].as_array().unwrap();
    assert_eq!(points.len(), 2, "{shown}");
    for (point, waiters) in points.iter().zip([1, 200]) {
        assert_eq!(point["waiters"], waiters);
        let number = |figure: &str| point[figure].as_f64().unwrap();
        assert!(number("probes") >= 1.0 && number("bytes_per_waiter") > 0.0, "{point}");
        for side in [point, &point["poll"]] {
            let [p50, p99] = ["p50_ms", "p99_ms"].map(|quantile| side[quantile].as_f64().unwrap());
            assert!(p50 > 0.0 && p99 >= p50, "{point}");
        }
        assert!(point["poll"]["queries"].as_f64().unwrap() >= f64::from(waiters), "{point}");
    }
    let [probes, queries] = [&points[1]["probes"], &points[1]["poll"]["queries"]].map(|count| count.as_u64());
    assert!(probes < queries, "a crowd of barriers asks less than a crowd of polls: {shown}");
}
