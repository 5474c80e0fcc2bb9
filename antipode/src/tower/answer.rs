//! Responses that a layer gives in place of the service.

use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderName, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use crate::edge::Refused;

/// How the caller reads a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Protocol {
    /// From the response's status.
    Http,
    /// From `grpc-status`.
    Grpc,
}

impl Protocol {
    /// That of a request with these headers: gRPC has content types of its own.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let content_type = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
        match content_type.strip_prefix(b"application/grpc") {
            Some([]) | Some([b'+' | b';' | b' ', ..]) => Self::Grpc,
            _ => Self::Http,
        }
    }
}

/// A failure, in the words of both protocols.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) grpc: GrpcCode,
    /// Printable ASCII without `%`.
    pub(crate) message: &'static str,
    pub(crate) retry_after: Option<Duration>,
}

/// The codes of gRPC that are used here, with its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GrpcCode {
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    FailedPrecondition = 9,
    Internal = 13,
    Unavailable = 14,
}

impl Answer {
    /// The request's lineage is not taken.
    pub(crate) fn to_refused(refused: &Refused) -> Self {
        let message = match refused {
            refused if refused.is_missing() => "the request has no lineage in its baggage header",
            refused if refused.is_too_large() => "the request has too much baggage",
            _ => "the lineage in the baggage header cannot be read",
        };
        Self { status: refused.status(), grpc: GrpcCode::InvalidArgument, message, retry_after: None }
    }

    /// For gRPC this is a response of headers only.
    pub(crate) fn into_response<B: Default>(self, protocol: Protocol) -> Response<B> {
        let mut response = Response::new(B::default());
        let headers = response.headers_mut();
        match protocol {
            Protocol::Http => {
                if let Some(after) = self.retry_after {
                    // At least a second: "0" would ask for a hot loop.
                    headers.insert(RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
                }
                *response.status_mut() = self.status;
            }
            Protocol::Grpc => {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
                let code = HeaderValue::from(self.grpc as u16);
                headers.insert(HeaderName::from_static("grpc-status"), code);
                let message = HeaderValue::from_static(self.message);
                headers.insert(HeaderName::from_static("grpc-message"), message);
            }
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_is_told_by_its_content_type() {
        let of = |content_type: &'static str| {
            Protocol::of(&HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(content_type))]))
        };
        for grpc in ["application/grpc", "application/grpc+proto", "application/grpc;x"] {
            assert_eq!(of(grpc), Protocol::Grpc, "{grpc}");
        }
        for http in ["application/json", "application/grpc-web"] {
            assert_eq!(of(http), Protocol::Http, "{http}");
        }
        assert_eq!(Protocol::of(&HeaderMap::new()), Protocol::Http);
    }
}
