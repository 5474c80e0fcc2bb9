//! The MongoDB shim: collections, sessions and transactions that carry lineage.

pub use mongodb;
