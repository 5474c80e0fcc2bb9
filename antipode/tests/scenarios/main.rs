//! What the layers do around real services: a module an incident.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::unwrap_used, reason = "a test fails by it")]

mod a_browser_goes_through_two_services;
#[cfg(all(feature = "mongodb", feature = "worker"))]
mod a_worker_follows_changes;
#[cfg(all(feature = "kafka", feature = "worker"))]
mod a_worker_is_told_to_stop;
#[cfg(all(feature = "redis", feature = "worker"))]
mod a_worker_reads_a_stream;
mod barrier_before_the_handler;
mod between_ready_and_called;
mod calls_that_end_early;
mod grpc;
mod post_notification_over_http;
mod protection_costs_ten_lines;
mod services;
#[path = "../../examples/tonic_pair/text_codec.rs"]
mod text_codec;
mod texts;
mod what_travels_with_a_call;
