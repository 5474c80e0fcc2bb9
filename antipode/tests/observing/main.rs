//! What a service that is watched shows: numbers and a dashboard of them, spans, and lineage beside
//! OpenTelemetry's own baggage.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)] // Helpers may what their tests may.

mod dashboard;
mod grafana;
mod metrics;
mod page;
mod prometheus;
mod propagation;
mod spans;
