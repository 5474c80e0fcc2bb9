//! The laws of the lineage and of its text, and attacks on them.
//!
//! Random tests run as many cases as fit a build's patience. For more, such as a million by hand:
//! `PROPTEST_CASES=125000 cargo test --release -p antipode-lineage --test laws`; the number holds
//! for each of the eight random tests. A failure names its seed, which is kept beside the test.

// Samples are test code, outside of test functions.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod attacks;
mod baggage;
mod damage;
mod decoding;
mod lattice;
mod samples;
mod w3c;
