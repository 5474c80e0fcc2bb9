//! What axum handlers ask for.
//!
//! The layers of [`tower`](crate::tower) serve axum as they are. Here is the rest: the request's
//! lineage as an argument, and a failed barrier as a response, for handlers that put the barrier where
//! they need it.
//!
//! ```
//! use antipode::axum::{BarrierRefusal, CurrentLineage};
//! use antipode::edge::Inbound;
//! use antipode::lineage::LineageCodec;
//! use antipode::prelude::*;
//! use antipode::tower::LineageLayer;
//! use axum::{Router, extract::State, routing::get};
//!
//! async fn show(State(registry): State<Registry>) -> Result<&'static str, BarrierRefusal> {
//!     registry.barrier().await?;
//!     Ok("what is read here is not older than what the request depends on")
//! }
//!
//! async fn count(CurrentLineage(scope): CurrentLineage) -> String {
//!     format!("this depends on writes to {} shards", scope.lineage().writes().len())
//! }
//!
//! # fn example(registry: Registry) -> Router {
//! Router::new()
//!     .route("/show", get(show))
//!     .route("/count", get(count))
//!     .with_state(registry)
//!     .layer(LineageLayer::new(Inbound::accept(LineageCodec::plain())))
//! # }
//! ```

use antipode_barrier::BarrierError;
use antipode_lineage::LineageScope;
use axum_core::body::Body;
use axum_core::extract::FromRequestParts;
use axum_core::response::{IntoResponse, Response};
use http::StatusCode;
use http::request::Parts;

use crate::tower::{FailedBarrier, OnFailedBarrier, Protocol, Unavailable};

/// The lineage scope of the request, as an argument of a handler: to hand it to a task, or to look at
/// it. Shims, clients and barriers find it by themselves.
#[derive(Debug, Clone)]
pub struct CurrentLineage(pub LineageScope);

/// There is no lineage for a handler that asks for it. As a response: 500.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the handler asks for a lineage: put a `LineageLayer` around its router")]
#[non_exhaustive]
pub struct NoLineage;

/// A barrier that did not say visible, as a response: that of [`Unavailable`].
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct BarrierRefusal(#[from] pub BarrierError);

impl<S: Sync> FromRequestParts<S> for CurrentLineage {
    type Rejection = NoLineage;

    async fn from_request_parts(_: &mut Parts, _: &S) -> Result<Self, NoLineage> {
        LineageScope::current().map(Self).ok_or(NoLineage)
    }
}

impl IntoResponse for NoLineage {
    fn into_response(self) -> Response {
        (StatusCode::INTERNAL_SERVER_ERROR, self.to_string()).into_response()
    }
}

impl IntoResponse for BarrierRefusal {
    fn into_response(self) -> Response {
        let failed = FailedBarrier::new(&self.0, Protocol::Http, None);
        OnFailedBarrier::<Body>::respond(&Unavailable, &failed)
    }
}
