//! Lineage goes out with a call and comes back with its response; what belongs to others goes on.

use std::time::Duration;

use antipode::edge::{Inbound, Outbound};
use antipode::lineage::{LineageCodec, SigningKey, SigningKeys, WriteId};
use antipode::prelude::*;
use antipode::reqwest::PropagateMiddleware;
use antipode::tower::{LineageLayer, PropagateLayer};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::routing::get;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use tower::{Layer, ServiceExt};

use crate::services::{
    LIMIT, Service, Test, baggage_lines, current, lineage, lineage_in, plain_client, propagate, request_to,
    store, text,
};

#[tokio::test]
async fn the_callee_knows_what_the_caller_wrote_and_the_caller_what_the_callee_did() -> Test {
    let [orders, posts] = [store("orders")?, store("posts")?];
    let shim = posts.shim();
    let handler = move || async move {
        let came = current();
        shim.put("post", "hello").await.expect("the store runs");
        format!("{came:?}")
    };
    let service = Service::start(Router::new().route("/", get(handler)).layer(lineage())).await?;
    let request = LineageScope::new();
    let came = request
        .run(async {
            orders.shim().put("order", "1").await?;
            let response = propagate().layer(plain_client()).oneshot(request_to(service.uri("/"))).await?;
            text(response).await
        })
        .await?;
    let known = request.lineage();
    assert_eq!(came, format!("{:?}", Lineage::from(known.of_store("orders".parse()?)[0])));
    assert_eq!(known.of_store("posts".parse()?).len(), 1, "the response brought the callee's write");
    Ok(())
}

#[tokio::test]
async fn every_baggage_line_is_read_and_the_members_of_others_go_on_byte_for_byte() -> Test {
    let echo = |headers: HeaderMap| async move { baggage_lines(&headers).join("\n") };
    let last = Service::start(Router::new().route("/", get(echo)).layer(lineage())).await?;
    let (uri, client) = (last.uri("/"), propagate().layer(plain_client()));
    let relay = move || async move {
        assert_eq!(current().writes().len(), 1, "the second line has the lineage");
        text(client.oneshot(request_to(uri)).await.expect("an answer")).await.expect("a text")
    };
    let first = Service::start(Router::new().route("/", get(relay)).layer(lineage())).await?;

    let member =
        format!("antipode={}", LineageCodec::plain().encode(&WriteId::unplaced("orders".parse()?).into()));
    let mut request = request_to(first.uri("/"));
    for line in ["user=alice;ttl=5 ;x, tier=%20gold", &member, "empty=,, q=a=b=c"] {
        request.headers_mut().append("baggage", line.parse()?);
    }
    let arrived = text(plain_client().request(request).await?).await?;
    assert_eq!(arrived, format!("{member},user=alice;ttl=5 ;x,tier=%20gold,empty=,q=a=b=c"));
    Ok(())
}

/// Answers at once, and writes while the body goes out.
async fn streaming(orders: antipode::memory::MemoryStore) -> Test<Service> {
    let handler = move || async move {
        let parts = stream::iter(["a", "b"]).then(move |part| {
            let shim = orders.shim();
            async move { shim.put(part, part).await.map(|_| Bytes::from(part)) }
        });
        Body::from_stream(parts)
    };
    Service::start(Router::new().route("/", get(handler)).layer(lineage())).await
}

#[tokio::test]
async fn what_a_stream_writes_after_its_head_comes_back_in_a_trailer() -> Test {
    let orders = store("orders")?;
    let service = streaming(orders.clone()).await?;
    let request = LineageScope::new();
    let client = propagate().layer(plain_client());
    let response = request.run(client.oneshot(request_to(service.uri("/")))).await?;
    assert!(request.lineage().is_empty(), "nothing was written before the head");
    assert_eq!(text(response).await?, "ab");
    assert_eq!(request.lineage().writes().len(), 1);
    assert_eq!(request.lineage().writes()[0].position.0, 2, "both writes are covered");
    assert_eq!(orders.missed(), 0, "the body runs in the request's scope");
    Ok(())
}

#[tokio::test]
async fn reqwest_joins_headers_and_trailers() -> Test {
    let service = streaming(store("orders")?).await?;
    let client = reqwest_middleware::ClientBuilder::new(reqwest::Client::new())
        .with(PropagateMiddleware::from(propagate()))
        .build();
    let request = LineageScope::from(Lineage::from(WriteId::unplaced("posts".parse()?)));
    let response = request.run(client.get(service.uri("/")).send()).await?;
    assert_eq!(response.url().as_str(), service.uri("/"), "the response is otherwise as it was");
    assert_eq!(response.text().await?, "ab");
    assert_eq!(request.lineage().of_store("orders".parse()?)[0].position.0, 2);

    let shim = store("headers")?.shim();
    let handler =
        move || async move { shim.put("a", "b").await.map(drop).map_err(|_| StatusCode::BAD_GATEWAY) };
    let service = Service::start(Router::new().route("/", get(handler)).layer(lineage())).await?;
    request.run(client.get(service.uri("/")).send()).await?;
    assert_eq!(request.lineage().of_store("headers".parse()?).len(), 1);
    Ok(())
}

#[tokio::test]
async fn reqwest_sends_strangers_no_lineage_and_does_not_believe_them() -> Test {
    let service = forger().await?;
    let elsewhere = PropagateLayer::new(Outbound::to_hosts(["ours.example"])?);
    let client = reqwest_middleware::ClientBuilder::new(reqwest::Client::new())
        .with(PropagateMiddleware::from(elsewhere))
        .build();
    let request = LineageScope::from(Lineage::from(WriteId::unplaced("posts".parse()?)));
    let before = request.lineage();
    let response = request.run(client.get(service.uri("/")).send()).await?;
    assert_eq!(response.text().await?, "", "no member travels");
    assert_eq!(request.lineage(), before);
    Ok(())
}

/// A service that tells what baggage came, and claims to have written something.
async fn forger() -> Test<Service> {
    let forged =
        format!("antipode={}", LineageCodec::plain().encode(&WriteId::unplaced("forged".parse()?).into()));
    let handler =
        |headers: HeaderMap| async move { ([("baggage", forged)], baggage_lines(&headers).join("\n")) };
    Service::start(Router::new().route("/", get(handler))).await
}

#[tokio::test]
async fn reqwest_does_not_believe_whom_it_was_redirected_to() -> Test {
    let forger = forger().await?;
    let elsewhere = format!("http://localhost:{}/", forger.address.port());
    let redirect = move || async move { axum::response::Redirect::temporary(&elsewhere) };
    let ours = Service::start(Router::new().route("/", get(redirect))).await?;
    let client = reqwest_middleware::ClientBuilder::new(reqwest::Client::builder().no_proxy().build()?)
        .with(PropagateMiddleware::from(PropagateLayer::new(Outbound::to_hosts(["127.0.0.1"])?)))
        .build();
    let request = LineageScope::new();
    let response = request.run(client.get(ours.uri("/")).send()).await?;
    assert_eq!(response.url().host_str(), Some("localhost"));
    assert!(request.lineage().is_empty());
    Ok(())
}

#[tokio::test]
async fn strangers_get_no_lineage_and_are_not_believed() -> Test {
    let service = forger().await?;
    let elsewhere = PropagateLayer::new(Outbound::to_hosts(["ours.example"])?);
    let request = LineageScope::from(Lineage::from(WriteId::unplaced("posts".parse()?)));
    request.set_baggage(antipode::lineage::Baggage::read(["user=alice,antipode=stale"]));
    let before = request.lineage();
    let call = elsewhere.layer(plain_client()).oneshot(request_to(service.uri("/")));
    assert_eq!(text(request.run(call).await?).await?, "user=alice");
    assert_eq!(request.lineage(), before);
    Ok(())
}

#[tokio::test]
async fn who_sends_no_lineage_is_told_none() -> Test {
    let service = streaming(store("orders")?).await?;
    let mut request = request_to(service.uri("/"));
    request.headers_mut().insert("te", "trailers".parse()?);
    let response = plain_client().request(request).await?;
    assert!(!response.headers().contains_key("baggage") && !response.headers().contains_key("trailer"));
    assert_eq!(response.into_body().collect().await?.trailers(), None);
    Ok(())
}

#[tokio::test]
async fn who_does_not_read_trailers_is_sent_none() -> Test {
    let orders = store("orders")?;
    let service = streaming(orders.clone()).await?;
    let mut request = request_to(service.uri("/"));
    let empty = LineageCodec::plain().encode(&Lineage::new());
    request.headers_mut().insert("baggage", format!("antipode={empty}").parse()?);
    let response = plain_client().request(request).await?;
    assert!(!response.headers().contains_key("trailer"));
    assert_eq!(response.into_body().collect().await?.trailers(), None);
    assert_eq!(orders.missed(), 0, "the body runs in the request's scope all the same");
    Ok(())
}

#[tokio::test]
async fn a_read_only_call_adds_nothing_to_the_response() -> Test {
    let service = Service::start(Router::new().route("/", get(|| async { "ok" })).layer(lineage())).await?;
    let request = LineageScope::from(Lineage::from(WriteId::unplaced("posts".parse()?)));
    let call = propagate().layer(plain_client()).oneshot(request_to(service.uri("/")));
    let response = request.run(call).await?;
    assert!(!response.headers().contains_key("baggage"));
    assert!(!response.headers().contains_key("trailer"), "nothing can follow a body that is complete");
    Ok(())
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_counts_as_everything() -> Test {
    let keys = SigningKeys::new(SigningKey::parse([7; 32])?);
    let shim = store("orders")?.shim();
    let handler =
        move || async move { shim.put("a", "b").await.map(drop).map_err(|_| StatusCode::BAD_GATEWAY) };
    let app = Router::new().route("/", get(handler));
    let unsigned = Service::start(app.layer(lineage())).await?;
    let signing = propagate().codec(LineageCodec::signed(keys));
    let request = LineageScope::new();
    let call = signing.layer(plain_client()).oneshot(request_to(unsigned.uri("/")));
    let response = request.run(call).await?;
    assert_eq!(lineage_in(response.headers()), None, "whose lineage was not read is told none");
    assert!(request.lineage().is_empty());

    let forger = forger().await?;
    request.run(signing.layer(plain_client()).oneshot(request_to(forger.uri("/")))).await?;
    assert!(request.lineage().has_overflowed());
    Ok(())
}

#[tokio::test]
async fn a_request_that_the_policy_refuses_does_not_reach_the_handler() -> Test {
    let app = Router::new().route("/", get(|| async { "reached" }));
    let require = LineageLayer::new(Inbound::require(LineageCodec::plain()));
    let service = Service::start(app.layer(require)).await?;
    let response = plain_client().request(request_to(service.uri("/"))).await?;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    assert_eq!(text(response).await?, "");

    let mut grpc = request_to(service.uri("/"));
    grpc.headers_mut().insert("content-type", "application/grpc".parse()?);
    let response = plain_client().request(grpc).await?;
    assert_eq!(response.status(), StatusCode::OK, "gRPC says it in a header");
    assert_eq!(response.headers()["grpc-status"], "3");
    Ok(())
}

#[tokio::test]
async fn captures_under_way_are_waited_for_on_both_sides() -> Test {
    let seen = || async { format!("{:?}", current()) };
    let defer = || async {
        let store = StoreName::parse("callee").expect("a name");
        let placed = Lineage::from(at(store, 9));
        let scope = LineageScope::current().expect("a scope");
        scope.defer(WriteId::unplaced(store), LIMIT, async move {
            tokio::time::sleep(Duration::from_millis(30)).await;
            Some(placed)
        });
    };
    let app = Router::new().route("/", get(seen)).route("/defer", get(defer)).layer(lineage());
    let service = Service::start(app).await?;
    let (request, client) = (LineageScope::new(), propagate().layer(plain_client()));
    let caller = StoreName::parse("caller")?;
    request.defer(WriteId::unplaced(caller), LIMIT, async move {
        tokio::time::sleep(Duration::from_millis(30)).await;
        Some(at(caller, 7).into())
    });
    let call = client.clone().oneshot(request_to(service.uri("/")));
    assert_eq!(text(request.run(call).await?).await?, format!("{:?}", Lineage::from(at(caller, 7))));

    request.run(client.oneshot(request_to(service.uri("/defer")))).await?;
    assert_eq!(request.lineage().of_store("callee".parse()?), [at("callee".parse()?, 9)]);
    Ok(())
}

fn at(store: StoreName, position: u64) -> WriteId {
    use antipode::lineage::{Epoch, Position, Shard};
    WriteId { store, shard: Shard::ONLY, epoch: Epoch { history: 1, term: 1 }, position: Position(position) }
}
