//! What handlers answer with.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::StatusCode;

/// How long a record waits for room in the driver's queue.
pub(crate) const QUEUED: Duration = Duration::from_secs(5);

pub(crate) type Answer = Result<(StatusCode, String), Failure>;

/// Anything that went wrong.
#[derive(Debug)]
pub(crate) struct Failure(pub(crate) Box<dyn std::error::Error + Send + Sync>);

impl<E: Into<Box<dyn std::error::Error + Send + Sync>>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (StatusCode::INTERNAL_SERVER_ERROR, self.0.to_string()).into_response()
    }
}
