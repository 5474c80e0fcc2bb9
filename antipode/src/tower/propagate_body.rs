//! A response's body whose trailer may bring lineage.

use std::pin::Pin;
use std::task::{Context, Poll};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::propagate::Joining;

pin_project! {
    /// The body of a response to [`Propagate`](super::Propagate): a lineage in its trailer is joined
    /// into the scope that made the call, when the trailer is read.
    #[derive(Debug)]
    pub struct PropagateBody<B> {
        #[pin]
        body: B,
        join: Option<Joining>,
    }
}

impl<B> PropagateBody<B> {
    pub(crate) fn new(body: B, join: Option<Joining>) -> Self {
        Self { body, join }
    }
}

impl<B: Body> Body for PropagateBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        let polled = this.body.poll_frame(cx);
        if let (Some(join), Poll::Ready(Some(Ok(frame)))) = (this.join, &polled)
            && let Some(trailers) = frame.trailers_ref()
        {
            join.receive(trailers);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B: Default> Default for PropagateBody<B> {
    fn default() -> Self {
        Self { body: B::default(), join: None }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::{Empty, Full};

    use super::*;

    #[test]
    fn what_is_known_of_a_body_stays_known() {
        let body = PropagateBody::new(Full::new(Bytes::from_static(b"ok")), None);
        assert_eq!(body.size_hint().exact(), Some(2));
        assert!(!body.is_end_stream());
        assert!(PropagateBody::new(Empty::<Bytes>::new(), None).is_end_stream());
    }
}
