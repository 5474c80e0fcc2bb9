//! The response to a request whose barrier did not say visible.

use std::time::Duration;

use antipode_barrier::BarrierError;
use http::{Response, StatusCode};

use super::answer::{Answer, GrpcCode, Protocol};

/// A barrier before the handler that did not say visible.
#[derive(Debug)]
#[non_exhaustive]
pub struct FailedBarrier<'a> {
    /// What it said.
    pub error: &'a BarrierError,
    /// How the caller reads a failure.
    pub protocol: Protocol,
    /// How long the request's sender was going to wait when the request came, if it said so.
    pub time_left: Option<Duration>,
}

impl<'a> FailedBarrier<'a> {
    pub(crate) fn new(error: &'a BarrierError, protocol: Protocol, time_left: Option<Duration>) -> Self {
        Self { error, protocol, time_left }
    }

    /// Whether the request's own deadline has passed.
    #[must_use]
    pub fn is_past_deadline(&self) -> bool {
        self.time_left.is_some_and(|left| left <= self.error.waited())
    }
}

/// What a [`BarrierLayer`](super::BarrierLayer) answers in place of the service. Functions from
/// [`FailedBarrier`] to a response are such.
pub trait OnFailedBarrier<B> {
    /// The response.
    fn respond(&self, failed: &FailedBarrier<'_>) -> Response<B>;
}

impl<B, F: Fn(&FailedBarrier<'_>) -> Response<B>> OnFailedBarrier<B> for F {
    fn respond(&self, failed: &FailedBarrier<'_>) -> Response<B> {
        self(failed)
    }
}

/// The default answer, without a body, in the words of the request's protocol. It names no position.
///
/// | the barrier | HTTP | gRPC |
/// |---|---|---|
/// | timed out, a store is down, too many wait | 503 with `Retry-After: 1` | `UNAVAILABLE` |
/// | timed out with the request's own deadline | 503 with `Retry-After: 1` | `DEADLINE_EXCEEDED` |
/// | a write is lost, unreachable or indeterminate: waiting is vain | 500 | `FAILED_PRECONDITION` |
/// | there is no lineage: no `LineageLayer` is around this one | 500 | `INTERNAL` |
#[derive(Debug, Clone, Copy, Default)]
pub struct Unavailable;

impl<B: Default> OnFailedBarrier<B> for Unavailable {
    fn respond(&self, failed: &FailedBarrier<'_>) -> Response<B> {
        Answer::to_barrier(failed).into_response(failed.protocol)
    }
}

impl Answer {
    pub(crate) fn to_barrier(failed: &FailedBarrier<'_>) -> Self {
        let error = failed.error;
        let unavailable = |grpc, message| Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            grpc,
            message,
            retry_after: Some(Duration::from_secs(1)),
        };
        let vain = |grpc, message| Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            grpc,
            message,
            retry_after: None,
        };
        if error.is_timeout() && failed.is_past_deadline() {
            unavailable(GrpcCode::DeadlineExceeded, "writes are not visible here within the call's deadline")
        } else if error.is_timeout() {
            unavailable(GrpcCode::Unavailable, "writes are not visible here yet")
        } else if error.is_lost() {
            vain(GrpcCode::FailedPrecondition, "a write that this depends on was lost")
        } else if error.is_unreachable() || error.is_indeterminate() {
            vain(GrpcCode::FailedPrecondition, "a write that this depends on is not known here")
        } else if error.is_no_lineage() {
            vain(GrpcCode::Internal, "the service has a barrier without a lineage")
        } else {
            unavailable(GrpcCode::Unavailable, "a store cannot be asked now")
        }
    }
}
