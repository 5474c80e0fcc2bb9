//! A post is written in one service and announced to another, which reads it in another region: the
//! incident that this project is about, over HTTP.

use antipode::memory::MemoryStore;
use antipode::prelude::*;
use antipode::tower::BarrierLayer;
use axum::Router;
use axum::extract::{Path, State};
use axum::routing::{get, put};
use http::{Method, StatusCode};
use tower::{Layer, ServiceExt};

use crate::services::{
    LIMIT, Service, Test, lineage, plain_client, posts_with_europe_cut_off, propagate, request_to, text,
    until_waiting,
};

/// Writes posts, in the US.
fn writer(posts: MemoryStore) -> Router {
    let write = |State(posts): State<MemoryStore>, Path(id): Path<String>| async move {
        posts.shim().put(&id, "hello").await.expect("the primary runs");
        StatusCode::CREATED
    };
    Router::new().route("/posts/{id}", put(write)).with_state(posts)
}

/// Is told of a post and reads it, in Europe.
fn reader(posts: MemoryStore) -> Router {
    let read = |State(posts): State<MemoryStore>, Path(id): Path<String>| async move {
        match posts.shim().get(&id).await.expect("the replica runs") {
            Some(post) => (StatusCode::OK, String::from_utf8_lossy(&post).into_owned()),
            None => (StatusCode::NOT_FOUND, "no such post".to_owned()),
        }
    };
    Router::new().route("/announced/{id}", get(read)).with_state(posts)
}

/// Writes a post and announces it: what the announced one made of it.
async fn publish<C, B>(client: &mut C, writer: &Service, reader: &Service) -> Test<(StatusCode, String)>
where
    C: tower::Service<http::Request<axum::body::Body>, Response = http::Response<B>>,
    C::Error: std::error::Error + Send + Sync + 'static,
    B: http_body_util::BodyExt,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    let mut write = request_to(writer.uri("/posts/7"));
    *write.method_mut() = Method::PUT;
    let written = client.ready().await?.call(write).await?;
    assert_eq!(written.status(), StatusCode::CREATED);
    text(written).await?;
    let read = client.ready().await?.call(request_to(reader.uri("/announced/7"))).await?;
    Ok((read.status(), text(read).await?))
}

#[tokio::test]
async fn without_layers_the_announced_post_is_not_found() -> Test {
    let posts = posts_with_europe_cut_off()?;
    let writer = Service::start(writer(posts.clone())).await?;
    let reader = Service::start(reader(posts.reading_from(["eu"])?)).await?;
    let (status, _) = publish(&mut plain_client(), &writer, &reader).await?;
    assert_eq!(status, StatusCode::NOT_FOUND);
    Ok(())
}

#[tokio::test]
async fn with_layers_the_reader_waits_for_the_post() -> Test {
    let posts = posts_with_europe_cut_off()?;
    let registry = Registry::builder().store(posts.reading_from(["eu"])?).build().await?;
    let barrier = BarrierLayer::new(registry.clone()).deadline(LIMIT);
    let writer = Service::start(writer(posts.clone()).layer(lineage())).await?;
    let reader = reader(posts.reading_from(["eu"])?).layer(barrier).layer(lineage());
    let reader = Service::start(reader).await?;
    let mut client = propagate().layer(plain_client());

    let publish =
        tokio::spawn(async move { LineageScope::new().run(publish(&mut client, &writer, &reader)).await });
    until_waiting(&registry, 1).await?;
    assert!(!publish.is_finished(), "the reader answers only once it sees the post");
    posts.heal("eu")?;
    let (status, body) = tokio::time::timeout(LIMIT, publish).await???;
    assert_eq!((status, body.as_str()), (StatusCode::OK, "hello"));
    assert_eq!(registry.waiting(), 0);
    Ok(())
}

#[tokio::test]
async fn a_post_that_does_not_arrive_in_time_is_unavailable_not_missing() -> Test {
    let posts = posts_with_europe_cut_off()?;
    let registry = Registry::builder().store(posts.reading_from(["eu"])?).build().await?;
    let barrier = BarrierLayer::new(registry.clone()).deadline(std::time::Duration::from_millis(50));
    let writer = Service::start(writer(posts.clone()).layer(lineage())).await?;
    let reader = reader(posts.reading_from(["eu"])?).layer(barrier).layer(lineage());
    let reader = Service::start(reader).await?;
    let mut client = propagate().layer(plain_client());
    let (status, _) = LineageScope::new().run(publish(&mut client, &writer, &reader)).await?;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    Ok(())
}
