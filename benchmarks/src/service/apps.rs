//! What all services have in common.

use antipode::edge::Inbound;
use antipode::lineage::LineageCodec;
use antipode::prelude::Registry;
use antipode::tower::{BarrierLayer, LineageLayer};
use axum::Router;
use axum::routing::get;

/// A handler that does nothing.
pub(super) fn answering() -> Router {
    Router::new().route("/", get(|| async { "ok" }))
}

/// The same service behind a barrier, in a lineage.
pub(super) fn guarded(app: Router, registry: Registry) -> Router {
    // As one layer: axum boxes the service for each.
    app.layer((LineageLayer::new(Inbound::accept(LineageCodec::plain())), BarrierLayer::new(registry)))
}
