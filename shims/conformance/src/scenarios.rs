//! The scenarios, named like what they show.

mod bed;
mod branches;
mod crowds;
mod deadlines;
mod failovers;
mod places;
mod reads_from;
mod visibility;

use crate::Bed;
use crate::runner::Scenario;

macro_rules! scenarios {
    ($($file:ident: $($name:ident)+;)+) => {
        /// Every scenario, in the order in which they are played: those that use up their bed last.
        pub(crate) fn all<B: Bed>() -> Vec<Scenario<B>> {
            vec![$($(Scenario {
                name: stringify!($name),
                play: |stage| Box::pin($file::$name(stage)),
            }),+),+]
        }
    };
}

scenarios! {
    bed:
        a_cut_replica_falls_behind_and_catches_up;
    visibility:
        an_insert_is_read_after_its_barrier
        an_update_is_read_after_its_barrier
        an_append_is_read_after_its_barrier
        a_delete_is_read_after_its_barrier
        a_transaction_is_read_whole_after_its_barrier
        many_writes_are_read_after_one_barrier
        a_delay_makes_no_read_behind_a_barrier_stale
        one_fresh_replica_is_enough_and_reads_go_there
        reads_go_to_the_primary_where_a_barrier_sends_them;
    reads_from:
        dependencies_travel_across_three_hops
        a_blind_update_keeps_the_dependencies_of_what_it_keeps
        updates_at_the_same_time_keep_each_others_dependencies
        a_read_is_a_dependency_though_its_writer_had_no_lineage
        a_read_of_nothing_is_a_dependency
        an_unreadable_lineage_stands_for_everything
        a_write_dropped_half_way_is_not_forgotten;
    places:
        the_fenceposts_stand_where_the_replica_does
        a_position_ahead_of_the_primary_is_unreachable
        a_foreign_history_is_never_visible
        an_unplaced_write_waits_for_all_that_the_primary_has
        an_overflowed_lineage_waits_for_all_that_the_primary_has;
    crowds:
        a_thousand_barriers_ask_like_one
        a_dry_run_blocks_nobody;
    deadlines:
        a_frozen_replica_costs_no_more_than_the_deadline
        a_stopped_replica_costs_no_more_than_the_deadline
        cancelled_barriers_leave_nothing_behind
        a_replica_restarts_while_a_barrier_waits
        the_primary_restarts_while_a_barrier_waits;
    branches:
        a_whole_barrier_waits_for_a_branch_and_its_writes
        a_branch_that_dies_is_abandoned_by_the_ledgers_clock
        a_ledger_keeps_what_it_was_told
        a_branch_that_ended_is_unknown_after_the_retention
        branches_that_wait_for_each_other_are_told
        a_ledger_restarts_while_a_barrier_waits;
    failovers:
        a_write_that_a_failover_cut_off_is_lost
        a_write_that_survives_a_failover_is_visible
        a_write_lost_two_failovers_ago_is_never_visible;
}
