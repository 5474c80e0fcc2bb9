//! The public edge: responses that give the user's session a token.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Once};
use std::task::{Context, Poll, ready};
use std::time::SystemTime;

use antipode_lineage::{Lineage, LineageScope};
use http::header::{HeaderName, SET_COOKIE};
use http::{HeaderMap, HeaderValue, Request, Response};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::settling::Settling;
use crate::edge::{SESSION_HEADER, SessionTokens};

/// Gives a response a session token when its request came to depend on more than the token that it brought: a
/// user's next request, to another service or region, then waits for what they just did and saw.
///
/// Put it inside of a [`LineageLayer`](super::LineageLayer) whose policy takes these
/// [sessions](crate::edge::Inbound::sessions), and outside of a [`BarrierLayer`](super::BarrierLayer).
///
/// - The response waits for captures under way, which have limits of their own, but its body does not: what a
///   stream does later is in no token.
/// - A request that adds nothing leaves the browser's token as it is. One whose token is not valid counts as
///   everything, and so does the new token: nothing is silently less.
///
/// ```
/// use std::time::Duration;
///
/// use antipode::edge::{Inbound, SessionTokens};
/// use antipode::lineage::{SigningKey, SigningKeys};
/// use antipode::prelude::*;
/// use antipode::tower::{BarrierLayer, LineageLayer, SessionLayer};
/// use axum::{Router, routing::get};
///
/// # fn example(registry: Registry) -> Result<Router, Box<dyn std::error::Error>> {
/// let keys = SigningKeys::new(SigningKey::parse(b"32 random bytes from your vault.")?);
/// let tokens = SessionTokens::new(&keys, "shop.example.com", Duration::from_secs(3_600));
///
/// let lineage = LineageLayer::new(Inbound::discard().sessions(tokens.clone()));
/// let sessions = SessionLayer::cookies(tokens);
/// Ok(Router::new()
///     .route("/orders", get(|| async { "all of them" }))
///     .layer((lineage, sessions, BarrierLayer::new(registry))))
/// # }
/// ```
///
/// # Limits
///
/// - Of responses to requests that a browser makes side by side, the last one's token stays: it has what that
///   request knew, not what the others did. Where pages do so, let one service keep the session's lineage.
/// - A token of everything stays until it expires, as it covers all that follows; what was done in the last
///   moments before is forgotten with it.
/// - A shared cache must not keep such a response: it would hand one user's token to others, in place of
///   theirs. Send `cache-control: private`, as with any cookie.
#[derive(Debug, Clone)]
pub struct SessionLayer {
    issuer: Arc<Issuer>,
}

/// A service whose responses have session tokens. Made by [`SessionLayer`].
#[derive(Debug, Clone)]
pub struct IssuesSessions<S> {
    inner: S,
    issuer: Arc<Issuer>,
}

#[derive(Debug)]
struct Issuer {
    tokens: SessionTokens,
    carrier: Carrier,
    misplaced: Once,
}

#[derive(Debug)]
enum Carrier {
    Cookie,
    Header,
}

impl SessionLayer {
    /// For browsers: the token is a cookie.
    #[must_use]
    pub fn cookies(tokens: SessionTokens) -> Self {
        Self::by(Carrier::Cookie, tokens)
    }

    /// For apps that keep no cookies: the token is in the header [`SESSION_HEADER`], which they send back
    /// with their next request.
    #[must_use]
    pub fn headers(tokens: SessionTokens) -> Self {
        Self::by(Carrier::Header, tokens)
    }

    fn by(carrier: Carrier, tokens: SessionTokens) -> Self {
        Self { issuer: Arc::new(Issuer { tokens, carrier, misplaced: Once::new() }) }
    }
}

impl<S> Layer<S> for SessionLayer {
    type Service = IssuesSessions<S>;

    fn layer(&self, inner: S) -> IssuesSessions<S> {
        IssuesSessions { inner, issuer: Arc::clone(&self.issuer) }
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for IssuesSessions<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
{
    type Response = Response<ResBody>;
    type Error = S::Error;
    type Future = SessionFuture<S::Future, ResBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let issuing = self.issuer.begin(request.headers());
        SessionFuture { call: self.inner.call(request), response: None, issuing }
    }
}

/// What is needed to issue a token once the request is answered.
struct Issuing {
    issuer: Arc<Issuer>,
    /// What the browser's token covers, if it has a valid one.
    brought: Lineage,
    settling: Settling,
}

impl Issuer {
    /// Nothing outside of a lineage scope: there is none to issue.
    fn begin(self: &Arc<Self>, headers: &HeaderMap) -> Option<Issuing> {
        let Some(scope) = LineageScope::current() else {
            self.misplaced.call_once(|| {
                tracing::warn!("SessionLayer issues nothing outside of a LineageLayer: put it inside of one");
            });
            return None;
        };
        let brought = self.tokens.read(headers, SystemTime::now()).ok().flatten().unwrap_or_default();
        Some(Issuing { issuer: Arc::clone(self), brought, settling: Settling::new(scope) })
    }

    fn issue(&self, lineage: &Lineage, headers: &mut HeaderMap) {
        let token = self.tokens.issue(lineage, SystemTime::now());
        // Both are printable ASCII, so the conversions hold.
        match self.carrier {
            Carrier::Cookie => {
                HeaderValue::try_from(token.set_cookie()).is_ok_and(|value| headers.append(SET_COOKIE, value))
            }
            Carrier::Header => HeaderValue::from_str(token.as_str())
                .is_ok_and(|value| headers.insert(HeaderName::from_static(SESSION_HEADER), value).is_some()),
        };
    }
}

impl Issuing {
    /// What the next token covers, if that is more than this one does. Never less: also where the request
    /// began without its token, by the policy around.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<Option<Lineage>> {
        let mut lineage = ready!(self.settling.poll(cx));
        if self.brought.covers(&lineage) {
            return Poll::Ready(None);
        }
        lineage.join(&self.brought);
        Poll::Ready(Some(lineage))
    }
}

pin_project! {
    /// The response of [`IssuesSessions`].
    pub struct SessionFuture<F, B> {
        #[pin]
        call: F,
        // Once it is there, what its token has is being settled.
        response: Option<Response<B>>,
        issuing: Option<Issuing>,
    }
}

impl<F, B, E> Future for SessionFuture<F, B>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<B>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if this.response.is_none() {
            *this.response = Some(ready!(this.call.poll(cx))?);
        }
        let more = match this.issuing {
            Some(issuing) => ready!(issuing.poll_more(cx)),
            None => None,
        };
        let Some(mut response) = this.response.take() else { return Poll::Pending };
        if let (Some(Issuing { issuer, .. }), Some(more)) = (this.issuing, more) {
            issuer.issue(&more, response.headers_mut());
        }
        Poll::Ready(Ok(response))
    }
}
