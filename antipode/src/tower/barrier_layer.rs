//! A barrier before the handler.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use antipode_barrier::{Barrier, BarrierError, OnTimeout, Registry};
use antipode_lineage::StoreName;
use http::header::HeaderName;
use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::answer::Protocol;
use super::deadline::time_left;
use super::failed_barrier::{FailedBarrier, OnFailedBarrier, Unavailable};

/// Waits until the request's lineage is visible here, before the service is called. Put it inside of
/// [`LineageLayer`](super::LineageLayer).
///
/// The wait ends with the layer's deadline, or with the request's if that is nearer: `grpc-timeout`,
/// and the header named by [`deadline_header`](BarrierLayer::deadline_header). A barrier that does not
/// say visible gives a response in place of the service's: see [`Unavailable`], or your own, by
/// [`on_failure`](BarrierLayer::on_failure).
///
/// On a lineage that is known to be visible it is a comparison: nothing is allocated, boxed or cloned.
/// Else the inner service is cloned, for the time after the wait.
///
/// ```
/// use std::time::Duration;
///
/// use antipode::edge::Inbound;
/// use antipode::lineage::LineageCodec;
/// use antipode::prelude::*;
/// use antipode::tower::{BarrierLayer, LineageLayer};
/// use axum::{Router, routing::get};
///
/// # fn example(registry: Registry) -> Router {
/// let lineage = LineageLayer::new(Inbound::accept(LineageCodec::plain()));
/// let barrier = BarrierLayer::new(registry).deadline(Duration::from_millis(300));
/// // Together, the outer one first: axum boxes the service once for each `layer`.
/// Router::new()
///     .route("/posts/{id}", get(|| async { "a post that is there" }))
///     .layer((lineage, barrier))
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct BarrierLayer<R = Unavailable> {
    settings: Arc<Settings>,
    on_failure: R,
}

/// A service that is called once the request's lineage is visible. Made by [`BarrierLayer`].
#[derive(Debug, Clone)]
pub struct BarrierBefore<S, R = Unavailable> {
    inner: S,
    settings: Arc<Settings>,
    on_failure: R,
}

#[derive(Debug, Clone)]
struct Settings {
    registry: Registry,
    stores: Option<Box<[StoreName]>>,
    deadline: Option<Duration>,
    on_timeout: OnTimeout,
    header: Option<HeaderName>,
}

impl BarrierLayer {
    /// A barrier on every store of the registry, with its deadline, that fails closed.
    #[must_use]
    pub fn new(registry: Registry) -> Self {
        let on_timeout = OnTimeout::default();
        let settings = Settings { registry, stores: None, deadline: None, on_timeout, header: None };
        Self { settings: Arc::new(settings), on_failure: Unavailable }
    }
}

impl<R> BarrierLayer<R> {
    /// Waits only for these stores: those that the handlers behind it read.
    #[must_use]
    pub fn only(self, stores: impl IntoIterator<Item = StoreName>) -> Self {
        let stores = stores.into_iter().collect();
        self.with(|settings| settings.stores = Some(stores))
    }

    /// How long it may take, instead of the registry's default.
    #[must_use]
    pub fn deadline(self, deadline: Duration) -> Self {
        self.with(|settings| settings.deadline = Some(deadline))
    }

    /// The request header that says how long the caller waits, as a whole number of milliseconds from
    /// when it was sent. None by default; `grpc-timeout` always counts.
    #[must_use]
    pub fn deadline_header(self, name: HeaderName) -> Self {
        self.with(|settings| settings.header = Some(name))
    }

    /// What to do when the deadline passes.
    #[must_use]
    pub fn on_timeout(self, policy: OnTimeout) -> Self {
        self.with(|settings| settings.on_timeout = policy)
    }

    /// What answers when the barrier does not say visible: a function of the [`FailedBarrier`], or
    /// another [`OnFailedBarrier`].
    #[must_use]
    pub fn on_failure<T>(self, respond: T) -> BarrierLayer<T> {
        BarrierLayer { settings: self.settings, on_failure: respond }
    }

    fn with(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(Arc::make_mut(&mut self.settings));
        self
    }
}

impl<S, R: Clone> Layer<S> for BarrierLayer<R> {
    type Service = BarrierBefore<S, R>;

    fn layer(&self, inner: S) -> BarrierBefore<S, R> {
        let (settings, on_failure) = (Arc::clone(&self.settings), self.on_failure.clone());
        BarrierBefore { inner, settings, on_failure }
    }
}

impl<S, R, ReqBody, ResBody> Service<Request<ReqBody>> for BarrierBefore<S, R>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone,
    R: OnFailedBarrier<ResBody> + Clone,
{
    type Response = Response<ResBody>;
    type Error = S::Error;
    type Future = BarrierBeforeFuture<S, S::Future, R, ReqBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        if self.settings.barrier(None).try_now().is_ok() {
            return BarrierBeforeFuture { state: State::Calling { call: self.inner.call(request) } };
        }
        let time_left = time_left(request.headers(), self.settings.header.as_ref());
        let settings = Arc::clone(&self.settings);
        let barrier = Box::pin(async move { settings.barrier(time_left).await.map(drop) });
        let next = self.inner.clone();
        let service = std::mem::replace(&mut self.inner, next);
        let on_failure = self.on_failure.clone();
        let held = Some(Held { service, request, on_failure, time_left });
        BarrierBeforeFuture { state: State::Waiting { barrier, held } }
    }
}

impl Settings {
    fn barrier(&self, time_left: Option<Duration>) -> Barrier<'_> {
        let mut barrier = self.registry.barrier().on_timeout(self.on_timeout);
        if let Some(deadline) = self.deadline {
            barrier = barrier.deadline(deadline);
        }
        if let Some(left) = time_left {
            barrier = barrier.at_most(left);
        }
        match &self.stores {
            Some(stores) => barrier.only(stores),
            None => barrier,
        }
    }
}

pin_project! {
    /// The response of [`BarrierBefore`].
    pub struct BarrierBeforeFuture<S, F, R, B> {
        #[pin]
        state: State<S, F, R, B>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<S, F, R, B> {
        Waiting {
            barrier: Pin<Box<dyn Future<Output = Result<(), BarrierError>> + Send>>,
            held: Option<Held<S, R, B>>,
        },
        Calling {
            #[pin]
            call: F,
        },
    }
}

/// What comes after the wait.
struct Held<S, R, B> {
    service: S,
    request: Request<B>,
    on_failure: R,
    time_left: Option<Duration>,
}

impl<S, R, B, ResBody> Future for BarrierBeforeFuture<S, S::Future, R, B>
where
    S: Service<Request<B>, Response = Response<ResBody>>,
    R: OnFailedBarrier<ResBody>,
{
    type Output = Result<Response<ResBody>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProjection::Calling { call } => return call.poll(cx),
                StateProjection::Waiting { barrier, held } => {
                    let outcome = ready!(barrier.as_mut().poll(cx));
                    // Polled after it was ready: like any future, it has nothing more to say.
                    let Some(Held { mut service, request, on_failure, time_left }) = held.take() else {
                        return Poll::Pending;
                    };
                    if let Err(error) = &outcome {
                        let protocol = Protocol::of(request.headers());
                        let failed = FailedBarrier::new(error, protocol, time_left);
                        return Poll::Ready(Ok(on_failure.respond(&failed)));
                    }
                    let call = service.call(request);
                    this.state.set(State::Calling { call });
                }
            }
        }
    }
}
