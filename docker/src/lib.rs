//! Replicated store topologies for tests and benchmarks, with lag and fault injection.
