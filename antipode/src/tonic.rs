//! What tonic services ask for.
//!
//! The layers of [`tower`](crate::tower) serve tonic as they are:
//! [`LineageLayer`](crate::tower::LineageLayer) and [`BarrierLayer`](crate::tower::BarrierLayer) by
//! `Server::layer`, [`PropagateLayer`](crate::tower::PropagateLayer) around a `Channel`, which the
//! generated clients take in place of the channel. Here is a failed barrier as a status, for methods that
//! put the barrier where they need it.
//!
//! ```
//! use antipode::prelude::*;
//! use antipode::tonic::status;
//! use tonic::{Request, Response, Status};
//!
//! async fn show(registry: Registry, _: Request<()>) -> Result<Response<()>, Status> {
//!     registry.barrier().await.map_err(|error| status(&error))?;
//!     Ok(Response::new(()))
//! }
//! ```

use antipode_barrier::BarrierError;
use tonic::{Code, Status};

use crate::tower::{Answer, FailedBarrier, Protocol};

/// The status for a barrier that did not say visible: as in the table of
/// [`Unavailable`](crate::tower::Unavailable), whatever the request's own deadline is. It names no position.
#[must_use]
pub fn status(error: &BarrierError) -> Status {
    let answer = Answer::to_barrier(&FailedBarrier::new(error, Protocol::Grpc, None));
    Status::new(Code::from(answer.grpc as i32), answer.message)
}
