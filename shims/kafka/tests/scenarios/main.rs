//! What the shim does on real brokers: a module an incident.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::unwrap_used, reason = "a test fails by it")]

mod a_threaded_producer;
mod doorway;
mod gate_a_commit_is_refused;
mod gate_a_key_is_stuck;
mod gate_a_record_is_late;
mod gate_the_group_changes;
mod gate_too_much_at_once;
mod nobody_knows_whether_it_was_delivered;
mod stage;
mod the_leader_changes;
mod the_log_is_cut_off;
mod the_record_carries_its_lineage;
mod the_topic_is_made_again;
