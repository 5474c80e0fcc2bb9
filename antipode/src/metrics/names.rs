//! Names, units and buckets, after the conventions of Prometheus and OpenTelemetry.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Histogram, seconds, by `outcome`: what barriers took.
pub const BARRIER_WAIT: &str = "antipode_barrier_wait_seconds";
/// Histogram, seconds, by `store`: what barriers waited for a store that had to be asked.
pub const STORE_WAIT: &str = "antipode_store_wait_seconds";
/// Counter, by `store`: reads that would have been stale without the barrier.
pub const PREVENTED: &str = "antipode_stale_reads_prevented_total";
/// Counter, by `store` and `outcome`: failed barriers, once for each store that was not visible.
pub const FAILURES: &str = "antipode_store_failures_total";
/// Histogram, seconds, by `store` and `replica`: probes that ask for an answer at once.
pub const PROBE: &str = "antipode_probe_seconds";
/// Counter, by `store` and `replica`: probes without an answer.
pub const PROBE_FAILURES: &str = "antipode_probe_failures_total";
/// Gauge, seconds, by `store` and `replica`: by how much the replica lags at least.
pub const REPLICA_LAG: &str = "antipode_replica_lag_seconds";
/// Histogram, seconds, by `store` and `replica`: how long after a write came to be visible this was noticed,
/// at most.
pub const DETECTION: &str = "antipode_detection_seconds";
/// Histogram, seconds, by `store`: captures that ran beside the request.
pub const CAPTURE: &str = "antipode_capture_seconds";
/// Counter, by `store`: captures that did not learn the position.
pub const UNPLACED: &str = "antipode_captures_unplaced_total";
/// Counter, by `store`: operations outside of any lineage.
pub const MISSED: &str = "antipode_operations_without_lineage_total";
/// Counter, by `fault` and `treated`: what was wrong with what came in.
pub const EDGE_FAULTS: &str = "antipode_edge_faults_total";
/// Histogram, bytes, by `direction`: the lineage that came with a request, or went with a call.
pub const LINEAGE_SIZE: &str = "antipode_lineage_size_bytes";

/// Bounds of buckets for the histograms in seconds: half a millisecond to ten seconds.
pub const SECONDS_BUCKETS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Bounds of buckets for the histogram in bytes, up to the longest lineage.
pub const BYTES_BUCKETS: [f64; 7] = [64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0];

/// Tells the recorder what each metric is.
pub(super) fn describe() {
    describe_histogram!(BARRIER_WAIT, Unit::Seconds, "What barriers took, by their outcome.");
    describe_histogram!(STORE_WAIT, Unit::Seconds, "What barriers waited for a store that had to be asked.");
    describe_counter!(PREVENTED, Unit::Count, "Reads that would have been stale without the barrier.");
    describe_counter!(FAILURES, Unit::Count, "Failed barriers, once for each store that was not visible.");
    describe_histogram!(PROBE, Unit::Seconds, "Round trips to ask a replica how far it is.");
    describe_counter!(PROBE_FAILURES, Unit::Count, "Probes of a replica without an answer.");
    describe_gauge!(
        REPLICA_LAG,
        Unit::Seconds,
        "By how much a replica lags at least, by those who wait for it."
    );
    describe_histogram!(
        DETECTION,
        Unit::Seconds,
        "How long after a write came to be visible this was noticed, at most."
    );
    describe_histogram!(CAPTURE, Unit::Seconds, "What captures of positions took beside the request.");
    describe_counter!(UNPLACED, Unit::Count, "Captures that did not learn the position.");
    describe_counter!(MISSED, Unit::Count, "Operations outside of any lineage.");
    describe_counter!(EDGE_FAULTS, Unit::Count, "Requests whose lineage or session was not as it should be.");
    describe_histogram!(LINEAGE_SIZE, Unit::Bytes, "The lineage that came with requests or went with calls.");
}
