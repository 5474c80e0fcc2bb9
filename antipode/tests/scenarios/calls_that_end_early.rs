//! Calls that fail or are given up: nothing is joined, nothing stays behind.

use std::sync::Arc;
use std::time::Duration;

use antipode::lineage::WriteId;
use antipode::prelude::*;
use antipode::tower::BarrierLayer;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::routing::get;
use futures_util::{FutureExt, StreamExt, stream};
use tokio::sync::oneshot::{Receiver, channel};
use tokio::sync::{Mutex, Semaphore};
use tower::{Layer, ServiceExt};

use crate::services::{
    LIMIT, Service, Test, current, lineage, plain_client, posts_with_europe_cut_off, propagate, request_to,
    store, until_waiting,
};

/// Tells when the last handle of a scope is gone: the capture made here ends with the scope.
fn until_gone(scope: &LineageScope) -> Receiver<()> {
    let (alive, gone) = channel();
    scope.defer(WriteId::unplaced("alive".parse().expect("a name")), LIMIT * 10, async move {
        let _alive = alive;
        std::future::pending().await
    });
    gone
}

/// Until it is gone.
async fn gone(receiver: Receiver<()>) -> Test {
    assert!(tokio::time::timeout(LIMIT, receiver).await?.is_err(), "nothing is ever sent");
    Ok(())
}

/// Until no more tasks run than there were.
async fn until_tasks(count: usize) -> Test {
    let settled = async {
        while tokio::runtime::Handle::current().metrics().num_alive_tasks() > count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    Ok(tokio::time::timeout(LIMIT, settled).await?)
}

#[tokio::test]
async fn a_call_that_fails_joins_nothing() -> Test {
    let service = Service::start(Router::new()).await?;
    let uri = service.uri("/");
    drop(service);
    let request = LineageScope::from(Lineage::from(WriteId::unplaced("posts".parse()?)));
    let before = request.lineage();
    // Until the listener is gone.
    let failing = async {
        while request.run(propagate().layer(plain_client()).oneshot(request_to(uri.clone()))).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LIMIT, failing).await?;
    assert_eq!(request.lineage(), before);
    let alive = until_gone(&request);
    drop(request);
    gone(alive).await
}

#[tokio::test]
async fn a_call_given_up_ends_at_the_callee_and_leaves_no_scope() -> Test {
    let scopes = Arc::new(Mutex::new(Vec::new()));
    let (entered, held) = (Arc::new(Semaphore::new(0)), Arc::clone(&scopes));
    let told = Arc::clone(&entered);
    let handler = move || async move {
        held.lock().await.push(until_gone(&LineageScope::current().expect("a scope")));
        told.add_permits(1);
        std::future::pending::<()>().await
    };
    let service = Service::start(Router::new().route("/", get(handler)).layer(lineage())).await?;
    let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let request = LineageScope::from(Lineage::from(WriteId::unplaced("posts".parse()?)));
    let before = request.lineage();
    for _ in 0..20 {
        let client = propagate().layer(plain_client());
        let call = request.run(client.oneshot(request_to(service.uri("/"))));
        tokio::select! {
            _ = call => return Err("it does not answer".into()),
            permit = entered.acquire() => permit?.forget(),
        }
    }
    assert_eq!(request.lineage(), before);
    for scope in scopes.lock().await.drain(..) {
        gone(scope).await?;
    }
    let alive = until_gone(&request);
    drop(request);
    gone(alive).await?;
    until_tasks(tasks).await
}

#[tokio::test]
async fn a_stream_given_up_leaves_no_scope_and_joins_only_its_head() -> Test {
    let posts = store("posts")?;
    let (sender, scope) = std::sync::mpsc::channel();
    let handler = move || async move {
        let shim = posts.shim();
        shim.put("head", "1").await.expect("the store runs");
        let first = async move {
            let written = shim.put("body", "2").await.map(|_| Bytes::from("part"));
            sender.send(until_gone(&LineageScope::current().expect("a scope"))).expect("it is waited for");
            written
        };
        Body::from_stream(first.into_stream().chain(stream::pending()))
    };
    let service = Service::start(Router::new().route("/", get(handler)).layer(lineage())).await?;
    let request = LineageScope::new();
    let client = propagate().layer(plain_client());
    let mut body = request.run(client.oneshot(request_to(service.uri("/")))).await?.into_body();
    assert!(http_body_util::BodyExt::frame(&mut body).await.is_some());
    drop(body);
    gone(scope.recv()?).await?;
    assert_eq!(request.lineage().writes()[0].position.0, 1, "the head's write, and no guess at others");
    let alive = until_gone(&request);
    drop(request);
    gone(alive).await
}

#[tokio::test]
async fn a_call_given_up_behind_a_barrier_leaves_no_waiter() -> Test {
    let posts = posts_with_europe_cut_off()?;
    let registry = Registry::builder().store(posts.reading_from(["eu"])?).build().await?;
    let app = Router::new().route("/", get(|| async { format!("{:?}", current()) }));
    let app = app.layer(BarrierLayer::new(registry.clone()).deadline(LIMIT * 10)).layer(lineage());
    let service = Service::start(app).await?;
    let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let request = LineageScope::new();
    request.run(posts.shim().put("post", "hello")).await?;
    for _ in 0..10 {
        let call = request.run(propagate().layer(plain_client()).oneshot(request_to(service.uri("/"))));
        tokio::select! {
            _ = call => return Err("it does not answer".into()),
            waiting = until_waiting(&registry, 1) => waiting?,
        }
        until_waiting(&registry, 0).await?;
    }
    until_tasks(tasks).await
}
