//! A response's body, in the request's lineage scope.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

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
        reply: Option<Reply>,
        ending: Ending,
    }
}

#[derive(Debug)]
enum Ending {
    /// The body ends as it does.
    Plain,
    /// A trailer may follow.
    Told,
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

    pub(super) fn plain(body: B, reply: Option<Reply>) -> Self {
        Self { body, reply, ending: Ending::Plain }
    }

    pub(super) fn telling(body: B, reply: Reply) -> Self {
        Self { body, reply: Some(reply), ending: Ending::Told }
    }
}

impl<B: Body> Body for LineageBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        let Some(reply) = this.reply else { return this.body.poll_frame(cx) };
        loop {
            match this.ending {
                Ending::Plain => return reply.enter(|| this.body.as_mut().poll_frame(cx)),
                Ending::Told => match ready!(reply.enter(|| this.body.as_mut().poll_frame(cx))) {
                    Some(Ok(frame)) => match frame.into_trailers() {
                        Ok(trailers) => *this.ending = Ending::Making(Some(trailers)),
                        Err(data) => return Poll::Ready(Some(Ok(data))),
                    },
                    Some(Err(error)) => {
                        *this.ending = Ending::Ended;
                        return Poll::Ready(Some(Err(error)));
                    }
                    None => *this.ending = Ending::Making(None),
                },
                Ending::Making(trailers) => {
                    let news = ready!(reply.poll_news(cx));
                    let mut trailers = trailers.take();
                    *this.ending = Ending::Ended;
                    if let Some(news) = news {
                        news.put(trailers.get_or_insert_default());
                    }
                    return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
                }
                Ending::Ended => return Poll::Ready(None),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self.ending {
            Ending::Plain => self.body.is_end_stream(),
            Ending::Told | Ending::Making(_) => false,
            Ending::Ended => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B: Default> Default for LineageBody<B> {
    fn default() -> Self {
        Self { body: B::default(), reply: None, ending: Ending::Plain }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use antipode_lineage::{Lineage, LineageCodec, LineageScope, WriteId};
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
        let reply = Reply::new(LineageScope::new(), None);
        let body = LineageBody::plain(Full::new(Bytes::from_static(b"ok")), Some(reply));
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
