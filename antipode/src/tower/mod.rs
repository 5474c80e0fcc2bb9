//! Layers that make lineage flow with HTTP and gRPC calls.
//!
//! - [`LineageLayer`], around a server: each request runs in the lineage that it brought, and its
//!   response tells what was written.
//! - [`PropagateLayer`], around a client: each call takes the current lineage along, and joins what
//!   comes back.
//! - [`SessionLayer`], in a service that browsers call: its responses give them a token of what their requests did.
//! - [`BarrierLayer`], before a handler: it is called once that lineage is visible here.
//!
//! They are plain tower layers over `http` types, so the same ones serve axum, tonic, hyper and
//! whatever else is built on them.
//!
//! # What a running stream does not carry
//!
//! Lineage travels with the head of a request, the head of a response, and the trailer of a response.
//! Between two messages of a stream it does not: what a client writes after the call began is not known
//! to the server, and what the server writes is known to the client when the stream ends. Where that is
//! too late, put the lineage into the message, as text from a [`LineageCodec`](crate::lineage::LineageCodec).

mod answer;
mod barrier_layer;
mod deadline;
mod failed_barrier;
mod headers;
mod lineage_body;
mod lineage_layer;
mod propagate;
mod propagate_body;
mod reply;
mod session_layer;
mod settling;

#[cfg(feature = "tonic")]
pub(crate) use answer::Answer;
pub use answer::Protocol;
pub use barrier_layer::{BarrierBefore, BarrierBeforeFuture, BarrierLayer};
pub use failed_barrier::{FailedBarrier, OnFailedBarrier, Unavailable};
pub use lineage_body::LineageBody;
pub use lineage_layer::{LineageFuture, LineageLayer, WithLineage};
pub use propagate::{Propagate, PropagateFuture, PropagateLayer};
pub use propagate_body::PropagateBody;
pub use session_layer::{IssuesSessions, SessionFuture, SessionLayer};

#[cfg(feature = "reqwest")]
pub(crate) use headers::announces_trailer;
#[cfg(feature = "reqwest")]
pub(crate) use propagate::{Joining, Outgoing};
