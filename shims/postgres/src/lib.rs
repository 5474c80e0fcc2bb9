//! The Postgres shim: a sqlx Executor carrying lineage.
