//! The client's side for reqwest, as a middleware of `reqwest-middleware`.
//!
//! ```
//! use antipode::edge::Outbound;
//! use antipode::reqwest::PropagateMiddleware;
//! use antipode::tower::PropagateLayer;
//! use reqwest::redirect::Policy;
//! use reqwest_middleware::ClientBuilder;
//!
//! # fn example() -> Result<(), Box<dyn std::error::Error>> {
//! // Redirects are followed inside of reqwest, with the first request's headers: keep them at home.
//! let client = reqwest::Client::builder().redirect(Policy::none()).build()?;
//! let ours = Outbound::to_hosts([".svc.example.com"])?;
//! let client = ClientBuilder::new(client).with(PropagateMiddleware::from(PropagateLayer::new(ours))).build();
//! // In a handler: `client.get("http://orders.svc.example.com/7").send().await?` carries the lineage.
//! # Ok(()) }
//! ```

use std::sync::Arc;

use antipode_lineage::LineageScope;
use http::{Extensions, HeaderMap, Uri};
use reqwest::{Body, Request, Response, ResponseBuilderExt};
use reqwest_middleware::{Error, Middleware, Next, Result};

use crate::tower::{Joining, Outgoing, PropagateBody, PropagateLayer, announces_trailer};

/// Sends the current lineage with each call, and joins what comes back into the scope that made it. Made
/// from a [`PropagateLayer`], which says what and to whom.
///
/// With a client that follows redirects, the lineage goes wherever these lead, as reqwest takes only
/// credentials off: see the module's example. What a host that is not named answers is not joined.
///
/// Lineage in a trailer is joined when the body is read to its end. With HTTP/1.1 and HTTP/2 this needs the
/// callee to announce the trailer, as [`LineageLayer`](crate::tower::LineageLayer) does.
#[derive(Debug, Clone)]
pub struct PropagateMiddleware {
    outgoing: Arc<Outgoing>,
}

impl From<PropagateLayer> for PropagateMiddleware {
    fn from(layer: PropagateLayer) -> Self {
        Self { outgoing: layer.into_outgoing() }
    }
}

#[async_trait::async_trait]
impl Middleware for PropagateMiddleware {
    async fn handle(
        &self,
        mut call: Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> Result<Response> {
        let Some(scope) = LineageScope::current() else { return next.run(call, extensions).await };
        if !self.is_ours(call.url().as_str()) {
            Outgoing::send_others(&scope, call.headers_mut());
            return next.run(call, extensions).await;
        }
        let lineage = scope.settled().await;
        let join = Joining::new(scope, Arc::clone(&self.outgoing));
        join.send(call.headers_mut(), &lineage);
        let response = next.run(call, extensions).await?;
        if !self.is_ours(response.url().as_str()) {
            return Ok(response);
        }
        join.receive(response.headers());
        if announces_trailer(response.headers()) { with_trailer(response, join) } else { Ok(response) }
    }
}

impl PropagateMiddleware {
    fn is_ours(&self, url: &str) -> bool {
        url.parse::<Uri>().is_ok_and(|uri| self.outgoing.allows(&uri))
    }
}

/// The same response, whose trailer is joined.
fn with_trailer(response: Response, join: Joining) -> Result<Response> {
    let url = response.url().clone();
    let (mut parts, body) = http::Response::from(response).into_parts();
    let body = Body::wrap(PropagateBody::new(body, Some(join)));
    let mut response = http::Response::builder().url(url).body(body).map_err(Error::middleware)?;
    *response.status_mut() = parts.status;
    *response.version_mut() = parts.version;
    *response.headers_mut() = std::mem::take::<HeaderMap>(&mut parts.headers);
    response.extensions_mut().extend(parts.extensions);
    Ok(response.into())
}
