//! The client's side: lineage out with each call, and back with its response.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use antipode_lineage::{Lineage, LineageCodec, LineageScope};
use http::{HeaderMap, Request, Response, Uri};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::PropagateBody;
use super::headers;
use crate::edge::{BAGGAGE, EdgeObserver, Fault, Outbound, Told, Treated};

/// Sends the current lineage with each call, and joins what comes back into the scope that made it.
///
/// - The `baggage` header carries what the request depends on, settled: captures under way are waited
///   for, which have limits of their own. Members of others that came with the request go on beside
///   it; if the call has baggage headers already, theirs do instead.
/// - What the callee came to depend on returns in the response's `baggage` header and, after a stream,
///   in its trailer, if a [`LineageLayer`](super::LineageLayer) is there. The trailer is seen by
///   reading the body to its end. If it cannot be read, [everything](Lineage::everything) is joined:
///   later barriers wait for the primaries' present.
/// - A call that fails or is cancelled joins nothing. What it wrote is unknown, and not promised.
///
/// Hosts that the [`Outbound`] policy does not name get the members of others only, and what they answer
/// is not looked at. A call outside of any lineage scope is passed on untouched.
///
/// Calls that have to wait for a capture need the inner service to be [`Clone`]; the clone is made only
/// then.
#[derive(Debug, Clone)]
pub struct PropagateLayer {
    outgoing: Arc<Outgoing>,
}

/// A client whose calls carry the current lineage. Made by [`PropagateLayer`].
#[derive(Debug, Clone)]
pub struct Propagate<S> {
    inner: S,
    outgoing: Arc<Outgoing>,
}

impl PropagateLayer {
    /// Sends the lineage, unsigned, to those hosts. A client made for one address that gives only paths,
    /// such as tonic's, names no host: use [`Outbound::to_everyone`].
    #[must_use]
    pub fn new(outbound: Outbound) -> Self {
        let (codec, told) = (LineageCodec::plain(), Told::default());
        Self { outgoing: Arc::new(Outgoing { outbound, codec, told }) }
    }

    /// Writes and reads lineages with this codec.
    #[must_use]
    pub fn codec(self, codec: LineageCodec) -> Self {
        self.with(|outgoing| Outgoing { codec, ..outgoing })
    }

    /// Told of what is sent, and of answers whose lineage cannot be read.
    #[must_use]
    pub fn observer(self, observer: impl EdgeObserver) -> Self {
        self.with(|outgoing| Outgoing { told: Told::to(observer), ..outgoing })
    }

    fn with(self, change: impl FnOnce(Outgoing) -> Outgoing) -> Self {
        Self { outgoing: Arc::new(change(Arc::unwrap_or_clone(self.outgoing))) }
    }

    #[cfg(feature = "reqwest")]
    pub(crate) fn into_outgoing(self) -> Arc<Outgoing> {
        self.outgoing
    }
}

impl<S> Layer<S> for PropagateLayer {
    type Service = Propagate<S>;

    fn layer(&self, inner: S) -> Propagate<S> {
        Propagate { inner, outgoing: Arc::clone(&self.outgoing) }
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for Propagate<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone,
{
    type Response = Response<PropagateBody<ResBody>>;
    type Error = S::Error;
    type Future = PropagateFuture<S, S::Future, ReqBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let Some(scope) = LineageScope::current() else {
            let call = self.inner.call(request);
            return PropagateFuture { state: State::Calling { call, join: None } };
        };
        if !self.outgoing.allows(request.uri()) {
            Outgoing::send_others(&scope, request.headers_mut());
            let call = self.inner.call(request);
            return PropagateFuture { state: State::Calling { call, join: None } };
        }
        let join = Joining::new(scope, Arc::clone(&self.outgoing));
        let state = match join.scope.try_settled() {
            Some(lineage) => {
                join.send(request.headers_mut(), &lineage);
                State::Calling { call: self.inner.call(request), join: Some(join) }
            }
            None => {
                let next = self.inner.clone();
                let ready = std::mem::replace(&mut self.inner, next);
                let scope = join.scope.clone();
                let settling = Box::pin(async move { scope.settled().await });
                State::Settling { settling, held: Some((ready, request, join)) }
            }
        };
        PropagateFuture { state }
    }
}

pin_project! {
    /// The response of [`Propagate`].
    pub struct PropagateFuture<S, F, B> {
        #[pin]
        state: State<S, F, B>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<S, F, B> {
        Settling {
            settling: Pin<Box<dyn Future<Output = Lineage> + Send>>,
            held: Option<(S, Request<B>, Joining)>,
        },
        Calling {
            #[pin]
            call: F,
            join: Option<Joining>,
        },
    }
}

impl<S, B, ResBody> Future for PropagateFuture<S, S::Future, B>
where
    S: Service<Request<B>, Response = Response<ResBody>>,
{
    type Output = Result<Response<PropagateBody<ResBody>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProjection::Settling { settling, held } => {
                    let lineage = ready!(settling.as_mut().poll(cx));
                    let Some((mut service, mut request, join)) = held.take() else { return Poll::Pending };
                    join.send(request.headers_mut(), &lineage);
                    let call = service.call(request);
                    this.state.set(State::Calling { call, join: Some(join) });
                }
                StateProjection::Calling { call, join } => {
                    let response = ready!(call.poll(cx))?;
                    let join = join.take();
                    if let Some(join) = &join {
                        join.receive(response.headers());
                    }
                    return Poll::Ready(Ok(response.map(|body| PropagateBody::new(body, join))));
                }
            }
        }
    }
}

/// What goes out, and how what returns is read.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    outbound: Outbound,
    codec: LineageCodec,
    told: Told,
}

impl Outgoing {
    /// Whether the lineage may be sent there.
    pub(crate) fn allows(&self, target: &Uri) -> bool {
        self.outbound.allows(target)
    }

    /// Puts the members of others, and no lineage, into a call's headers.
    pub(crate) fn send_others(scope: &LineageScope, headers: &mut HeaderMap) {
        headers::put_others(headers, scope.baggage().as_deref());
    }
}

/// The scope that made a call.
#[derive(Debug, Clone)]
pub(crate) struct Joining {
    scope: LineageScope,
    outgoing: Arc<Outgoing>,
}

impl Joining {
    pub(crate) fn new(scope: LineageScope, outgoing: Arc<Outgoing>) -> Self {
        Self { scope, outgoing }
    }

    /// Puts the lineage into the call's headers.
    pub(crate) fn send(&self, headers: &mut HeaderMap, lineage: &Lineage) {
        let received = self.scope.baggage();
        let bytes = headers::put(headers, &self.outgoing.codec, lineage, received.as_deref());
        self.outgoing.told.sent(bytes);
        headers::accept_trailers(headers);
    }

    /// Joins what the callee came to depend on, from its response's headers or trailers.
    pub(crate) fn receive(&self, headers: &HeaderMap) {
        if !headers.contains_key(&BAGGAGE) {
            return;
        }
        match headers::read(headers).lineage(&self.outgoing.codec) {
            Ok(Some(lineage)) => self.scope.join(&lineage),
            Ok(None) => {}
            // The callee wrote something, and it cannot be told what.
            Err(_) => {
                self.outgoing.told.found(Fault::Unreadable, Treated::AsEverything);
                self.scope.join(&Lineage::everything());
            }
        }
    }
}
