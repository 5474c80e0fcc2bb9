//! The barrier engine: waits until every write in a lineage is visible at the replicas a reader uses.
