//! The server's side: each request in a lineage scope.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use antipode_lineage::LineageScope;
use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::LineageBody;
use super::answer::{Answer, Protocol};
use super::headers;
use super::reply::Reply;
use crate::edge::{Admitted, Inbound};

/// Runs each request in a [`LineageScope`] of its own.
///
/// - The scope begins with what the [`Inbound`] policy takes of the request's `baggage` headers. Members of others in there go on, byte for byte, with the calls that the request
///   makes through [`PropagateLayer`](super::PropagateLayer).
/// - The handler runs in the scope, and so does the response's body, such as a stream. A task that the
///   handler spawns does not: spawn `future.in_current_lineage()`.
/// - A caller that sent a lineage, and one that was taken, is told what the request came to depend on beyond it: in a `baggage`
///   header of the response, and what was added since by a streaming body in a `baggage` trailer. This
///   is an extension; W3C defines the header for requests only.
///
/// A trailer goes only to callers that send `te: trailers`, and follows only bodies whose length is not
/// known ahead. Where a stream is cut off, the caller knows what the head told.
///
/// The same layer serves axum, tonic and anything else made of `http` types.
///
/// ```
/// use antipode::edge::Inbound;
/// use antipode::lineage::LineageCodec;
/// use antipode::tower::LineageLayer;
///
/// let app: axum::Router = axum::Router::new()
///     .route("/posts", axum::routing::get(|| async { "in a lineage" }))
///     .layer(LineageLayer::new(Inbound::accept(LineageCodec::plain())));
/// ```
#[derive(Debug, Clone)]
pub struct LineageLayer {
    inbound: Arc<Inbound>,
}

/// A service whose requests run in lineage scopes. Made by [`LineageLayer`].
#[derive(Debug, Clone)]
pub struct WithLineage<S> {
    inner: S,
    inbound: Arc<Inbound>,
}

impl LineageLayer {
    /// Takes of requests what the policy says.
    #[must_use]
    pub fn new(inbound: Inbound) -> Self {
        Self { inbound: Arc::new(inbound) }
    }
}

impl<S> Layer<S> for LineageLayer {
    type Service = WithLineage<S>;

    fn layer(&self, inner: S) -> WithLineage<S> {
        WithLineage { inner, inbound: Arc::clone(&self.inbound) }
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for WithLineage<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ResBody: Body + Default,
{
    type Response = Response<LineageBody<ResBody>>;
    type Error = S::Error;
    type Future = LineageFuture<S::Future, ResBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let Admitted { baggage, lineage, sent } = match self.inbound.admit(request.headers()) {
            Ok(admitted) => admitted,
            Err(refused) => {
                let answer = Answer::to_refused(&refused);
                let response = answer.into_response(Protocol::of(request.headers()));
                return LineageFuture { state: State::Refused { response: Some(response) } };
            }
        };
        let scope = LineageScope::from(lineage);
        if baggage.has_others() {
            scope.set_baggage(baggage);
        }
        let told = sent.zip(self.inbound.codec().cloned());
        let trailers = told.is_some() && headers::accepts_trailers(request.headers());
        let handler = scope.enter(|| self.inner.call(request));
        let reply = Some(Reply::new(scope, told));
        LineageFuture { state: State::Handling { handler, reply, trailers } }
    }
}

pin_project! {
    /// The response of [`WithLineage`].
    pub struct LineageFuture<F, B> {
        #[pin]
        state: State<F, B>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<F, B> {
        Handling {
            #[pin]
            handler: F,
            reply: Option<Reply>,
            trailers: bool,
        },
        // What it tells its caller is waited for.
        Settling {
            response: Option<Response<B>>,
            reply: Option<Reply>,
            trailers: bool,
        },
        Refused { response: Option<Response<B>> },
    }
}

impl<F, B, E> Future for LineageFuture<F, B>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
{
    type Output = Result<Response<LineageBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        // Polled after it was ready: like any future, it has nothing more to say.
        let (response, reply, trailers) = match state.as_mut().project() {
            StateProjection::Handling { handler, reply, trailers } => {
                let Some(replying) = reply else { return Poll::Pending };
                let response = ready!(replying.enter(|| handler.poll(cx)))?;
                (Some(response), reply.take(), *trailers)
            }
            StateProjection::Settling { response, reply, trailers } => {
                (response.take(), reply.take(), *trailers)
            }
            StateProjection::Refused { response } => (response.take(), None, false),
        };
        let Some(mut response) = response else { return Poll::Pending };
        let Some(mut reply) = reply else {
            return Poll::Ready(Ok(response.map(|body| LineageBody::plain(body, None))));
        };
        match reply.poll_news(cx) {
            Poll::Ready(Some(news)) => news.put(response.headers_mut()),
            Poll::Ready(None) => {}
            Poll::Pending => {
                state.set(State::Settling { response: Some(response), reply: Some(reply), trailers });
                return Poll::Pending;
            }
        }
        let telling = trailers && LineageBody::may_tell_more(response.body());
        if telling {
            headers::announce_trailer(response.headers_mut());
        }
        Poll::Ready(Ok(response.map(|body| match telling {
            true => LineageBody::telling(body, reply),
            false => LineageBody::plain(body, reply.into_scope()),
        })))
    }
}
