//! What the store does on a simulated clock: a module an incident.
#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test fails by it")]

mod a_branch_dies;
mod a_branch_is_still_running;
mod a_crowd_waits_for_a_branch;
mod a_region_fails_over;
mod branches_wait_for_each_other;
mod lineage_beside_the_values;
mod replicas_lag;
mod shop;
mod the_log_is_full;
