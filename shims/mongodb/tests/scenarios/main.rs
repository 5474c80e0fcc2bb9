//! What the shim does on real servers: a module an incident.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::unwrap_used, reason = "a test fails by it")]

mod a_transaction_ends_either_way;
mod changes_reach_the_handler;
mod lost_in_rollback;
mod nothing_changes_for_the_user;
mod one_request_is_held;
mod reads_follow_the_route;
mod set;
mod the_address_leads_elsewhere;
mod the_lineage_beside_the_document;
mod the_member_has_not_heard_of_the_time;
mod the_reply_never_came;
