//! The conformance suite: one set of scenarios that every store passes.
