//! The services: one handler, plain and inside of the layers.

use antipode::edge::Inbound;
use antipode::lineage::LineageCodec;
use antipode::prelude::Registry;
use antipode::tower::{BarrierLayer, LineageLayer};
use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use redis::AsyncCommands;
use redis::aio::ConnectionLike;

use super::POST;

/// A handler that does nothing.
pub(super) fn answering() -> Router {
    Router::new().route("/", get(|| async { "ok" }))
}

/// A handler that reads the post.
pub(super) fn reading<C: ConnectionLike + Clone + Send + Sync + 'static>(connection: C) -> Router {
    let read = move || {
        let mut connection = connection.clone();
        async move {
            let post: Result<Vec<u8>, _> = connection.get(POST).await;
            post.map_err(|error| (StatusCode::BAD_GATEWAY, error.to_string()))
        }
    };
    Router::new().route("/", get(read))
}

/// The same service behind a barrier, in a lineage.
pub(super) fn guarded(app: Router, registry: Registry) -> Router {
    // As one layer: axum boxes the service for each.
    app.layer((LineageLayer::new(Inbound::accept(LineageCodec::plain())), BarrierLayer::new(registry)))
}
