//! What the shim does on real servers: a module an incident.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::unwrap_used, reason = "a test fails by it")]

mod a_connection_goes_silent;
#[cfg(feature = "cluster")]
mod a_slot_moves;
#[cfg(feature = "cluster")]
mod clustered;
mod companion;
mod nothing_changes_for_the_user;
#[cfg(feature = "cluster")]
mod one_shard_fails_over;
mod stage;
mod the_lineage_beside_the_value;
mod the_notification_arrives_first;
mod the_post_is_not_there_yet;
mod the_primary_dies;
mod the_replica_starts_over;
mod the_reply_never_came;
mod the_store_is_misconfigured;
mod values_are_read_with_their_lineage;
