//! Lineage beside OpenTelemetry: in and out with its propagators, and links between spans.
//!
//! - [`LineagePropagator`] puts the lineage into the baggage header, beside the members that the SDK writes
//!   and not through its baggage, which cuts values at their second `=`, reads one header line, and drops
//!   silently what is past 64 members or 8,192 bytes.
//! - [`LineageContextExt`] is how a [`Context`](::opentelemetry::Context) carries a lineage scope.
//! - [`WriteLinks`] links the span that waited for a write to the span that made it.
//!
//! # Spans
//!
//! Barriers and captures are spans of the crate `tracing`, at level debug, which the layer of
//! `tracing-opentelemetry` hands on: let `antipode_barrier=debug,antipode_lineage=debug` through its filter.
//!
//! | span | fields |
//! |---|---|
//! | `barrier` | `outcome`, `waited_us`, `prevented`, `skipped` |
//! | `store_wait`, in it, for each store that was asked | `store`, `replica`, `verdict`, `waited_us`, `prevented` |
//! | `capture`, for positions that are captured beside the request | `store`, `took_us`, `placed` |
//!
//! Times are whole microseconds. A wait without a `replica` did not end at one. A barrier that fails has
//! the status error.
//!
//! A barrier on what is known to be visible takes no time and is no span; neither is the capture of a
//! position that comes with the operation's own reply.

mod links;
mod members;
mod propagator;

pub use self::links::{DEFAULT_MAX_LINKS, WriteLinks};
pub use self::propagator::{LineageContextExt, LineagePropagator};
