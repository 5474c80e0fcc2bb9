//! A response's body, in the request's lineage scope.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use antipode_lineage::LineageScope;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::reply::Reply;

pin_project! {
    /// The body of a response from [`WithLineage`](super::WithLineage): it is polled in the request's
    /// lineage scope, and what was written since the head went out follows in a trailer.
    #[derive(Debug)]
    pub struct LineageBody<B> {
        #[pin]
        body: B,
        told: Told,
    }
}

/// Small for the many bodies that have nothing to tell.
#[derive(Debug)]
enum Told {
    /// The body ends as it does.
    Nothing { scope: Option<LineageScope> },
    /// A trailer may follow.
    Trailer(Box<Trailer>),
}

#[derive(Debug)]
struct Trailer {
    reply: Reply,
    ending: Ending,
}

#[derive(Debug)]
enum Ending {
    Open,
    /// The body has ended, with these trailers; ours are being made.
    Making(Option<HeaderMap>),
    Ended,
}

impl<B: Body> LineageBody<B> {
    /// Whether a trailer can follow: not where the body is known to be complete, or to have a length,
    /// as HTTP/1.1 allows none then.
    pub(super) fn may_tell_more(body: &B) -> bool {
        !body.is_end_stream() && body.size_hint().exact().is_none()
    }

    pub(super) fn plain(body: B, scope: Option<LineageScope>) -> Self {
        Self { body, told: Told::Nothing { scope } }
    }

    pub(super) fn telling(body: B, reply: Reply) -> Self {
        Self { body, told: Told::Trailer(Box::new(Trailer { reply, ending: Ending::Open })) }
    }
}

impl<B: Body> Body for LineageBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        match this.told {
            Told::Nothing { scope } => LineageScope::enter_held(scope, || this.body.poll_frame(cx)),
            Told::Trailer(trailer) => trailer.poll_frame(this.body, cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.told {
            Told::Nothing { .. } => self.body.is_end_stream(),
            Told::Trailer(trailer) => matches!(trailer.ending, Ending::Ended),
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

type PolledFrame<B> = Poll<Option<Result<Frame<<B as Body>::Data>, <B as Body>::Error>>>;

impl Trailer {
    fn poll_frame<B: Body>(&mut self, mut body: Pin<&mut B>, cx: &mut Context<'_>) -> PolledFrame<B> {
        let Self { reply, ending } = self;
        loop {
            match ending {
                Ending::Open => match ready!(reply.enter(|| body.as_mut().poll_frame(cx))) {
                    Some(Ok(frame)) => match frame.into_trailers() {
                        Ok(trailers) => *ending = Ending::Making(Some(trailers)),
                        Err(data) => return Poll::Ready(Some(Ok(data))),
                    },
                    Some(Err(error)) => {
                        *ending = Ending::Ended;
                        return Poll::Ready(Some(Err(error)));
                    }
                    None => *ending = Ending::Making(None),
                },
                Ending::Making(trailers) => {
                    let news = ready!(reply.poll_news(cx));
                    let mut trailers = trailers.take();
                    *ending = Ending::Ended;
                    if let Some(news) = news {
                        news.put(trailers.get_or_insert_default());
                    }
                    return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
                }
                Ending::Ended => return Poll::Ready(None),
            }
        }
    }
}

impl<B: Default> Default for LineageBody<B> {
    fn default() -> Self {
        Self { body: B::default(), told: Told::Nothing { scope: None } }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use antipode_lineage::{Lineage, LineageCodec, WriteId};
    use bytes::Bytes;
    use http::HeaderValue;
    use http_body_util::{BodyExt, Full};

    use super::*;

    /// Frames or a failure; it knows when the last one was given.
    struct Frames(VecDeque<Result<Frame<Bytes>, &'static str>>);

    impl Body for Frames {
        type Data = Bytes;
        type Error = &'static str;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
            Poll::Ready(self.0.pop_front())
        }

        fn is_end_stream(&self) -> bool {
            self.0.is_empty()
        }
    }

    fn data() -> Result<Frame<Bytes>, &'static str> {
        Ok(Frame::data(Bytes::from_static(b"part")))
    }

    /// A body whose caller has something to be told.
    fn telling(frames: impl IntoIterator<Item = Result<Frame<Bytes>, &'static str>>) -> LineageBody<Frames> {
        let scope = LineageScope::from(Lineage::from(WriteId::unplaced("posts".parse().unwrap())));
        let told = Some((Lineage::new(), LineageCodec::plain()));
        LineageBody::telling(Frames(frames.into_iter().collect()), Reply::new(scope, told))
    }

    #[tokio::test]
    async fn a_body_does_not_end_before_its_trailer() {
        let mut body = telling([data()]);
        assert!(body.frame().await.unwrap().unwrap().is_data());
        assert!(!body.is_end_stream(), "servers would stop here");
        let trailers = body.frame().await.unwrap().unwrap().into_trailers().unwrap();
        assert!(trailers.contains_key("baggage") && body.is_end_stream());
        assert!(body.frame().await.is_none());
    }

    #[tokio::test]
    async fn trailers_of_the_service_stay() {
        let status = HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from_static("0"))]);
        let collected = telling([data(), Ok(Frame::trailers(status))]).collect().await.unwrap();
        let trailers = collected.trailers().unwrap();
        assert!(trailers.contains_key("grpc-status") && trailers.contains_key("baggage"));
    }

    #[tokio::test]
    async fn what_is_known_of_a_body_stays_known() {
        assert!(!LineageBody::may_tell_more(&Frames(VecDeque::new())), "it has ended");
        assert!(!LineageBody::may_tell_more(&Full::new(Bytes::from_static(b"ok"))), "it has a length");
        let body = LineageBody::plain(Full::new(Bytes::from_static(b"ok")), Some(LineageScope::new()));
        assert_eq!(body.size_hint().exact(), Some(2));
        assert!(!body.is_end_stream());
    }

    #[tokio::test]
    async fn nothing_follows_a_failure() {
        let mut body = telling([data(), Err("broken"), data()]);
        assert!(body.frame().await.unwrap().is_ok());
        assert_eq!(body.frame().await.unwrap().unwrap_err(), "broken");
        assert!(body.frame().await.is_none());
    }
}
