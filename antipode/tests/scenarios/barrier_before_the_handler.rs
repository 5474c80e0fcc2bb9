//! What a barrier before the handler answers, how long it waits, and what it costs when there is nothing to
//! wait for.

use std::convert::Infallible;
use std::time::Duration;

use antipode::lineage::{Epoch, LineageCodec, Position, Shard, WriteId};
use antipode::memory::MemoryStore;
use antipode::prelude::*;
use antipode::tower::{BarrierLayer, FailedBarrier};
use axum::body::Body;
use http::{HeaderName, Request, Response, StatusCode};
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::services::{LIMIT, Test, lineage, posts_with_europe_cut_off, text};

const DEADLINE: HeaderName = HeaderName::from_static("x-request-deadline");

/// A post that Europe does not have, and the registry there.
async fn stale() -> Test<(MemoryStore, Registry, Lineage)> {
    let posts = posts_with_europe_cut_off()?;
    let registry = Registry::builder().store(posts.reading_from(["eu"])?).build().await?;
    let scope = LineageScope::new();
    scope.run(posts.shim().put("post", "hello")).await?;
    Ok((posts, registry, scope.lineage()))
}

fn handler()
-> impl Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send> + Clone + Send {
    service_fn(|_| async { Ok(Response::new(Body::from("reached"))) })
}

fn depending_on(lineage: &Lineage) -> Request<Body> {
    let member = format!("antipode={}", LineageCodec::plain().encode(lineage));
    Request::builder().header("baggage", member).body(Body::empty()).expect("a request")
}

#[tokio::test]
async fn late_writes_are_unavailable_and_may_be_tried_again() -> Test {
    let (_posts, registry, written) = stale().await?;
    let barrier = BarrierLayer::new(registry).deadline(Duration::from_millis(20));
    let service = lineage().layer(barrier.layer(handler()));
    let response = service.clone().oneshot(depending_on(&written)).await?;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()["retry-after"], "1");
    assert_eq!(text(response).await?, "", "no position is told");

    let mut grpc = depending_on(&written);
    grpc.headers_mut().insert("content-type", "application/grpc".parse()?);
    assert_eq!(service.oneshot(grpc).await?.headers()["grpc-status"], "14");
    Ok(())
}

#[tokio::test]
async fn the_requests_own_deadline_bounds_the_wait() -> Test {
    let (_posts, registry, written) = stale().await?;
    let barrier = BarrierLayer::new(registry).deadline(LIMIT * 100).deadline_header(DEADLINE);
    let service = lineage().layer(barrier.layer(handler()));
    for (name, value) in [("grpc-timeout", "20m"), (DEADLINE.as_str(), "20"), (DEADLINE.as_str(), "0")] {
        let mut request = depending_on(&written);
        request.headers_mut().insert(HeaderName::try_from(name)?, value.parse()?);
        request.headers_mut().insert("content-type", "application/grpc".parse()?);
        let response = tokio::time::timeout(LIMIT, service.clone().oneshot(request)).await??;
        assert_eq!(response.headers()["grpc-status"], "4", "{name}: {value}");
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn who_has_no_time_left_is_told_that_it_was_theirs() -> Test {
    let (_posts, registry, written) = stale().await?;
    let service = lineage().layer(BarrierLayer::new(registry).deadline_header(DEADLINE).layer(handler()));
    let mut request = depending_on(&written);
    request.headers_mut().insert(DEADLINE, "0".parse()?);
    request.headers_mut().insert("content-type", "application/grpc".parse()?);
    assert_eq!(service.oneshot(request).await?.headers()["grpc-status"], "4", "waited no time at all");
    Ok(())
}

#[tokio::test]
async fn a_longer_deadline_of_the_request_does_not_extend_the_layers() -> Test {
    let (_posts, registry, written) = stale().await?;
    let service =
        lineage().layer(BarrierLayer::new(registry).deadline(Duration::from_millis(20)).layer(handler()));
    let mut request = depending_on(&written);
    request.headers_mut().insert("grpc-timeout", "1H".parse()?);
    request.headers_mut().insert("content-type", "application/grpc".parse()?);
    let response = tokio::time::timeout(LIMIT, service.oneshot(request)).await??;
    assert_eq!(response.headers()["grpc-status"], "14");
    Ok(())
}

#[tokio::test]
async fn what_waiting_cannot_change_is_not_to_be_tried_again() -> Test {
    let (posts, registry, written) = stale().await?;
    let ahead = WriteId { position: Position(1_000_000), ..written.writes()[0] };
    let service = lineage().layer(BarrierLayer::new(registry.clone()).deadline(LIMIT).layer(handler()));
    let response = service.clone().oneshot(depending_on(&ahead.into())).await?;
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR, "unreachable");
    assert!(!response.headers().contains_key("retry-after"));

    posts.heal("eu")?;
    posts.fail_over("eu")?;
    let lost =
        WriteId { position: Position(5), epoch: Epoch { history: 1, term: 1 }, shard: Shard::ONLY, ..ahead };
    let mut request = depending_on(&lost.into());
    request.headers_mut().insert("content-type", "application/grpc".parse()?);
    assert_eq!(service.oneshot(request).await?.headers()["grpc-status"], "9", "of an unknown history");
    Ok(())
}

#[tokio::test]
async fn a_barrier_without_a_lineage_is_the_services_fault() -> Test {
    let (_posts, registry, _) = stale().await?;
    let response = BarrierLayer::new(registry).layer(handler()).oneshot(Request::new(Body::empty())).await?;
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    Ok(())
}

#[tokio::test]
async fn the_answer_is_the_users_choice() -> Test {
    let (_posts, registry, written) = stale().await?;
    let teapot = |failed: &FailedBarrier<'_>| {
        let mut response = Response::new(Body::from(format!("{}", failed.error.is_timeout())));
        *response.status_mut() = StatusCode::IM_A_TEAPOT;
        response
    };
    let barrier = BarrierLayer::new(registry).deadline(Duration::from_millis(20)).on_failure(teapot);
    let response = lineage().layer(barrier.layer(handler())).oneshot(depending_on(&written)).await?;
    assert_eq!(response.status(), StatusCode::IM_A_TEAPOT);
    assert_eq!(text(response).await?, "true");
    Ok(())
}

#[tokio::test]
async fn the_policy_on_timeout_and_the_stores_are_the_layers() -> Test {
    let (_posts, registry, written) = stale().await?;
    let short = BarrierLayer::new(registry).deadline(Duration::from_millis(20));
    for barrier in [
        short.clone().on_timeout(OnTimeout::Weak),
        short.clone().on_timeout(OnTimeout::Primary),
        short.only(["orders".parse()?]),
    ] {
        let response = lineage().layer(barrier.layer(handler())).oneshot(depending_on(&written)).await?;
        assert_eq!(text(response).await?, "reached");
    }
    Ok(())
}

/// On a visible lineage the layer adds no allocation to those of the service and of the lineage layer.
#[tokio::test]
async fn a_visible_lineage_costs_no_allocation() -> Test {
    let posts = MemoryStore::builder("posts").region("us").region("eu").build()?;
    let registry =
        Registry::builder().store(posts.reading_from(["eu"])?).frontier_ttl(LIMIT * 100).build().await?;
    let scope = LineageScope::new();
    scope.run(posts.shim().put("post", "hello")).await?;
    registry.barrier_on(&scope.lineage()).await?;

    let count = |mut service: Box<dyn FnMut(Request<Body>)>| {
        let warm = depending_on(&scope.lineage());
        service(warm);
        let request = depending_on(&scope.lineage());
        allocation_counter::measure(move || service(request)).count_total
    };
    let plain = lineage().layer(handler());
    let guarded = lineage().layer(BarrierLayer::new(registry.clone()).layer(handler()));
    let plain = count(Box::new(move |request| drop(now(plain.clone().oneshot(request)))));
    let guarded = count(Box::new(move |request| drop(now(guarded.clone().oneshot(request)))));
    assert_eq!(guarded, plain);
    Ok(())
}

fn now<F: Future>(future: F) -> F::Output {
    futures_util::FutureExt::now_or_never(future).expect("nothing to wait for")
}
