//! What the command shows: a module a story.
#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test fails by it")]

#[cfg(all(feature = "kafka", feature = "redis"))]
mod a_gate_survives_a_kill;
mod command;
mod crowd_at_one_replica;
mod every_pair_of_stores;
mod forged_requests_come_in;
mod notification_overtakes_post;
#[cfg(all(feature = "redis", feature = "postgres"))]
mod overhead_of_shims;
#[cfg(feature = "full")]
mod servers_that_are_there;
mod the_report_is_one_page;
