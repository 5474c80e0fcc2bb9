//! What a hostile sender may try against a service that takes lineage from outside: attacks S1 to S14, each
//! by the way it would come, a request's headers. Those that end in the text of a lineage are looked at
//! closer where that is read, in `lineage/tests/laws/attacks.rs` and `baggage.rs`.
//!
//! | attack | here | closer |
//! |---|---|---|
//! | S1 positions far in the future | `positions`, `redis` | `conformance`, for every store |
//! | S2 extreme integers, fenceposts | `positions` | `attacks` |
//! | S3 oversize headers, many lines | `headers` | `baggage`, `attacks` |
//! | S4 thousands of stores, waiters | `positions` | `attacks` |
//! | S5 unknown and injected names | `positions` | `attacks` |
//! | S6 eviction by junk | `headers` | `baggage` |
//! | S7 truncation | `headers` | `attacks`, `damage` |
//! | S8 alphabet | `headers` | `attacks` |
//! | S9 smuggling | `headers` | `attacks`, `baggage` |
//! | S10 replay | `sessions` | |
//! | S11 leakage | `headers`, `sessions` | `baggage` |
//! | S12 lowered positions | `headers`, `sessions` | `attacks` |
//! | S13 timing of comparisons | `sessions` | `attacks` |
//! | S14 floods of logs and metrics | `floods` | |

#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // Helpers may what their tests may.

mod floods;
mod headers;
mod positions;
#[cfg(feature = "redis")]
mod redis;
mod samples;
mod sessions;
