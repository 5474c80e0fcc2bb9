//! The Redis shim: any redis ConnectionLike, carrying lineage.
