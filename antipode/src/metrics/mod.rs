//! What barriers, probes, captures and the edge did, by the facade of the crate `metrics`.
//!
//! Install a recorder of your choice first, then make one [`Metrics`] and give it to whatever observes:
//!
//! ```
//! use antipode::edge::Inbound;
//! use antipode::lineage::LineageCodec;
//! use antipode::metrics::{BYTES_BUCKETS, Metrics, SECONDS_BUCKETS};
//! use antipode::prelude::*;
//! use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
//!
//! # async fn example(posts: impl antipode::barrier::Store) -> Result<(), Box<dyn std::error::Error>> {
//! let prometheus = PrometheusBuilder::new()
//!     .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS_BUCKETS)?
//!     .set_buckets_for_metric(Matcher::Suffix("_bytes".to_owned()), &BYTES_BUCKETS)?
//!     .install_recorder()?; // `prometheus.render()` is the page to be scraped
//!
//! let metrics = Metrics::new();
//! let registry = Registry::builder().store(posts).observer(metrics.clone()).build().await?;
//! let inbound = Inbound::accept(LineageCodec::plain()).observer(metrics.clone());
//! # #[cfg(feature = "tower")]
//! let outbound = antipode::tower::PropagateLayer::new(antipode::edge::Outbound::to_everyone()).observer(metrics);
//! # drop((prometheus, registry, inbound)); Ok(()) }
//! ```
//!
//! | metric | kind, labels | what |
//! |---|---|---|
//! | [`BARRIER_WAIT`] | histogram, `outcome` | what barriers took; zero where everything was known to be visible |
//! | [`STORE_WAIT`] | histogram, `store` | what they waited for a store that had to be asked |
//! | [`PREVENTED`] | counter, `store` | reads that would have been stale |
//! | [`FAILURES`] | counter, `store`, `outcome` | failed barriers, by the stores that were not visible |
//! | [`PROBE`] | histogram, `store`, `replica` | round trips to ask a replica how far it is |
//! | [`PROBE_FAILURES`] | counter, `store`, `replica` | those that got no answer, held ones too |
//! | [`REPLICA_LAG`] | gauge, `store`, `replica` | by how much the replica lags at least |
//! | [`DETECTION`] | histogram, `store`, `replica` | how long after a write came to be visible this was noticed, at most |
//! | [`CAPTURE`] | histogram, `store` | what captures beside the request took |
//! | [`UNPLACED`] | counter, `store` | captures that did not learn the position |
//! | [`MISSED`] | counter, `store` | operations outside of any lineage |
//! | [`EDGE_FAULTS`] | counter, `fault`, `treated` | requests whose lineage or session was not as it should be |
//! | [`LINEAGE_SIZE`] | histogram, `direction` | bytes of lineage that came with requests (`received`) or went with calls (`sent`) |
//!
//! # Labels
//!
//! Stores and replicas are labels only if a registry has them, whatever the lineages of requests name; all
//! other labels are words of this library. So the number of series does not depend on requests.
//!
//! Failures and faults are there from the start, at zero: so the first one is a rise, for rates and alerts.
//!
//! # Limits
//!
//! - The lag is what somebody waited for: it says "at least", it knows nothing of a replica at which nobody
//!   waits, and it stays as it was last seen until the next probe. For dashboards of the replication
//!   itself, use the store's exporter.
//! - Captures and operations without a lineage are told of the stores that are registered in the process
//!   that writes.

mod names;
mod observer;

pub use self::names::{
    BARRIER_WAIT, BYTES_BUCKETS, CAPTURE, DETECTION, EDGE_FAULTS, FAILURES, LINEAGE_SIZE, MISSED, PREVENTED,
    PROBE, PROBE_FAILURES, REPLICA_LAG, SECONDS_BUCKETS, STORE_WAIT, UNPLACED,
};
pub use self::observer::Metrics;
