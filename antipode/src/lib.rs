//! Cross-system causal consistency: the facade over lineage, barrier and shims.
