//! A user writes in one region and reads in another, and nothing but their browser goes between.
#![allow(clippy::unwrap_used)] // Helpers may what their tests may.

use std::time::{Duration, SystemTime};

use antipode::barrier::{BarrierError, Registry};
use antipode::edge::{Inbound, SESSION_HEADER, SessionToken, SessionTokens};
use antipode::lineage::{Baggage, LineageCodec, LineageScope, SigningKey, SigningKeys};
use antipode::memory::{Lag, MemoryStore};
use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};

fn sessions() -> SessionTokens {
    let key = SigningKey::parse(b"32 random bytes from your vault.").unwrap();
    SessionTokens::new(&SigningKeys::new(key), "shop.example.com", Duration::from_secs(3_600))
}

/// One store; the user's first request, in the US, and the token that its response has.
async fn order() -> (MemoryStore, SessionToken) {
    let late = Lag::of(Duration::from_millis(300));
    let orders = MemoryStore::builder("orders").region("us").lagging("eu", late).build().unwrap();
    let request = LineageScope::new();
    request.run(orders.shim().put("order:1", "a book")).await.unwrap();
    (orders, sessions().issue(&request.settled().await, SystemTime::now()))
}

/// The user's next request, in Europe, which lists their orders.
async fn list(orders: &MemoryStore, headers: &HeaderMap) -> Result<Option<Vec<u8>>, BarrierError> {
    let reader = orders.reading_from(["eu"]).unwrap();
    let registry = Registry::builder().store(reader.clone()).build().await.unwrap();
    let admitted = Inbound::discard().sessions(sessions()).admit(headers).unwrap();
    let request = LineageScope::from(admitted.lineage);
    let read = async {
        registry.barrier().await?;
        Ok(reader.shim().get("order:1").await.unwrap().map(|order| order.to_vec()))
    };
    request.run(read).await
}

#[tokio::test(start_paused = true)]
async fn what_they_just_did_is_there_with_their_cookie() {
    let (orders, token) = order().await;
    let mut headers = HeaderMap::new();
    assert_eq!(list(&orders, &headers).await.unwrap(), None, "without it, the order has not arrived");
    headers.insert(COOKIE, format!("theme=dark; {}; lang=en", token.cookie()).parse().unwrap());
    assert_eq!(list(&orders, &headers).await.unwrap().as_deref(), Some(&b"a book"[..]));
}

#[tokio::test(start_paused = true)]
async fn an_app_without_cookies_sends_a_header() {
    let (orders, token) = order().await;
    let mut headers = HeaderMap::new();
    headers.insert(SESSION_HEADER, HeaderValue::from_str(token.as_str()).unwrap());
    assert_eq!(list(&orders, &headers).await.unwrap().as_deref(), Some(&b"a book"[..]));
}

/// What a browser says beside its token counts for nothing at a service that faces the public.
#[tokio::test(start_paused = true)]
async fn baggage_of_a_browser_delays_nobody() {
    let (orders, _) = order().await;
    let everything = antipode::lineage::Lineage::everything();
    let mut headers = HeaderMap::new();
    let forged = Baggage::default().write(&LineageCodec::plain(), &everything).value;
    headers.insert("baggage", HeaderValue::try_from(forged).unwrap());
    assert_eq!(list(&orders, &headers).await.unwrap(), None);
}
