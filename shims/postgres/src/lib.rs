//! The Postgres shim: sqlx executors that carry lineage, and a store that barriers wait on.
//!
//! - [`PostgresStore`] is what is registered: a primary and its streaming standbys. Its page has an example.
//! - [`PostgresShim`] writes: single statements, and [`PostgresTransaction`]s.
//! - [`PostgresReads`] reads from the replica that a barrier proved fresh.
//! - [`PostgresStore::migrate_table`] gives a table its lineage column; [`StoredLineage`] is its value.
//!
//! What `Visible` means here: *every commit in the lineage is visible to statements started afterwards
//! on this route.* That needs physical streaming replication and `synchronous_commit` at `local` or
//! more for every writer of the data. A commit lost in a failover is reported as lost if the history of
//! timelines proves it, else as indeterminate, never as visible.
//!
//! A write's place is its log position (LSN), in an epoch made of the cluster's system identifier and
//! its timeline. Limits of that: two standbys promoted apart from each other can choose the same number
//! for their timelines; and a primary that waits for synchronous standbys may show a commit later than
//! they do, as its log has the commit first.
//!
//! The store can hold the [branches](antipode_barrier::Registry::branch) of lineages, in a table that
//! [`PostgresStore::create_branch_ledger`] makes. Leases are measured by the primary's clock. A branch is
//! known for a day after it ended ([`branch_retention`](PostgresStoreBuilder::branch_retention)).
//! What a failover loses of the ledger makes a branch unknown or abandoned, never completed.
//!
//! Servers: PostgreSQL 14 or later. Of the role: `pg_monitor`, and `EXECUTE` on
//! `pg_read_file(text, bigint, bigint, boolean)` to read the history of timelines.

mod access;
mod check;
mod error;
mod executor;
mod ledger;
mod line;
mod migration;
mod position;
mod reads;
mod rows;
mod sample;
mod server;
mod shim;
mod store;
mod stored;
mod transaction;

pub use sqlx;

pub use error::PostgresError;
pub use ledger::BRANCH_LEDGER;
pub use migration::MIGRATION;
pub use reads::PostgresReads;
pub use shim::PostgresShim;
pub use store::{PostgresStore, PostgresStoreBuilder};
pub use stored::{LINEAGE_COLUMN, StoredLineage};
pub use transaction::PostgresTransaction;
