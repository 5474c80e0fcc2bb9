//! What the layers owe the service inside: it is called in the scope, and only the one that was ready.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use antipode::lineage::{LineageCodec, WriteId};
use antipode::prelude::*;
use antipode::tower::BarrierLayer;
use axum::body::Body;
use http::{Request, Response};
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::services::{LIMIT, Test, lineage, posts_with_europe_cut_off, propagate, text};

/// A service such as one with a limit: a clone has no place of its own until it says that it is ready.
#[derive(Default)]
struct Limited {
    is_ready: bool,
}

impl Clone for Limited {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Service<Request<Body>> for Limited {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.is_ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        assert!(std::mem::take(&mut self.is_ready), "called without being ready");
        Box::pin(async { Ok(Response::new(Body::from("reached"))) })
    }
}

#[tokio::test]
async fn a_barrier_that_waits_calls_the_service_that_was_ready() -> Test {
    let posts = posts_with_europe_cut_off()?;
    let registry = Registry::builder().store(posts.reading_from(["eu"])?).build().await?;
    let scope = LineageScope::new();
    scope.run(posts.shim().put("post", "hello")).await?;
    let service = lineage().layer(BarrierLayer::new(registry).deadline(LIMIT).layer(Limited::default()));
    let member = format!("antipode={}", LineageCodec::plain().encode(&scope.lineage()));
    let request = Request::builder().header("baggage", member).body(Body::empty())?;
    let heal = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        posts.heal("eu")
    };
    let (response, healed) = tokio::join!(service.oneshot(request), heal);
    healed?;
    assert_eq!(text(response?).await?, "reached");
    Ok(())
}

#[tokio::test]
async fn a_call_that_waits_for_a_capture_is_made_by_the_client_that_was_ready() -> Test {
    let request = LineageScope::new();
    let fallback = WriteId::unplaced("posts".parse()?);
    request.defer(fallback, LIMIT, async move {
        tokio::time::sleep(Duration::from_millis(20)).await;
        Some(Lineage::from(fallback))
    });
    let call = propagate().layer(Limited::default()).oneshot(Request::new(Body::empty()));
    assert_eq!(request.run(call).await?.status(), 200);
    Ok(())
}

#[tokio::test]
async fn what_a_service_does_as_it_is_called_is_in_the_scope() -> Test {
    let service = lineage().layer(service_fn(|_: Request<Body>| {
        let is_inside = LineageScope::current().is_some();
        async move { Ok::<_, Infallible>(Response::new(Body::from(is_inside.to_string()))) }
    }));
    assert_eq!(text(service.oneshot(Request::new(Body::empty())).await?).await?, "true");
    Ok(())
}
