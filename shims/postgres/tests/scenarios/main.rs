//! What the shim does on real servers: a module an incident.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::unwrap_used, reason = "a test fails by it")]

mod a_ledger_is_a_table;
mod a_refund_comes_late;
mod capture_beside_the_request;
mod commit_position;
mod lineage_beside_rows;
mod lost_in_failover;
mod one_of_several_standbys;
mod posts;
mod refused_at_registration;
