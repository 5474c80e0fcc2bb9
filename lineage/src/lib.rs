//! Causal lineage: write identifiers, their join-semilattice, and how they travel.
