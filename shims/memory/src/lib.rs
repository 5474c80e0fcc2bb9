//! An in-process, geo-replicated store with seeded lag, partitions and failover: the embedded default.
