//! A browser orders at one service and looks at another, in another region. Nothing goes between the two but
//! its cookie.

use std::time::{Duration, SystemTime};

use antipode::edge::{Inbound, SESSION_HEADER, SessionTokens};
use antipode::lineage::{Baggage, LineageCodec, SigningKey, SigningKeys, WriteId};
use antipode::prelude::*;
use antipode::tower::{BarrierLayer, LineageLayer, SessionLayer};
use axum::Router;
use axum::body::Body;
use axum::routing::{get, put};
use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use tower::{Layer, ServiceExt, service_fn};

use crate::services::{LIMIT, Service, Test, plain_client, store, text, until_waiting};

const HOUR: Duration = Duration::from_secs(3_600);

fn tokens_with(secret: &[u8; 32]) -> SessionTokens {
    let key = SigningKey::parse(secret).expect("long enough");
    SessionTokens::new(&SigningKeys::new(key), "shop.example.com", HOUR)
}

fn tokens() -> SessionTokens {
    tokens_with(b"32 random bytes from your vault.")
}

/// What faces the public, and gives its sessions cookies.
fn public() -> (LineageLayer, SessionLayer) {
    (LineageLayer::new(Inbound::discard().sessions(tokens())), SessionLayer::cookies(tokens()))
}

/// Keeps one cookie, as a browser does.
#[derive(Default)]
struct Browser {
    cookie: Option<String>,
}

impl Browser {
    /// The answer's text.
    async fn go(&mut self, method: Method, uri: String) -> Test<String> {
        let mut request = Request::builder().method(method).uri(uri).body(Body::empty())?;
        if let Some(cookie) = &self.cookie {
            request.headers_mut().append(COOKIE, format!("theme=dark; {cookie}").parse()?);
        }
        let response = plain_client().request(request).await?;
        assert_eq!(response.status(), StatusCode::OK);
        if let Some(set) = cookie_set(response.headers()) {
            self.cookie = Some(set);
        }
        text(response).await
    }

    fn knows(&self) -> Lineage {
        let token = self.cookie.as_ref().expect("a cookie").split_once('=').expect("a value").1;
        tokens().parse(token, SystemTime::now()).expect("one of ours")
    }
}

/// The cookie that a response sets, if it does.
fn cookie_set(headers: &HeaderMap) -> Option<String> {
    let set = headers.get(SET_COOKIE)?.to_str().expect("text");
    assert!(set.contains("; HttpOnly; Secure; SameSite=Lax"), "{set}");
    set.split(';').next().map(ToOwned::to_owned)
}

/// What a handler that does `work` makes of a request with these headers.
async fn answer<W>(
    layers: &(LineageLayer, SessionLayer),
    headers: HeaderMap,
    work: impl Fn() -> W + Clone,
) -> HeaderMap
where
    W: Future<Output = ()>,
{
    let handler = service_fn(async |_: Request<()>| {
        work().await;
        Ok::<_, std::convert::Infallible>(Response::new(String::new()))
    });
    let mut request = Request::new(());
    *request.headers_mut() = headers;
    let (lineage, sessions) = layers;
    let response = lineage.layer(sessions.layer(handler)).oneshot(request).await.expect("infallible");
    response.headers().clone()
}

fn cookie(lineage: &Lineage, tokens: &SessionTokens) -> Test<HeaderMap> {
    Ok(HeaderMap::from_iter([(COOKIE, tokens.issue(lineage, SystemTime::now()).cookie().parse()?)]))
}

#[tokio::test]
async fn what_they_did_at_the_one_is_there_at_the_other_and_what_they_saw_there_too() -> Test {
    let orders = MemoryStore::builder("orders").region("us").region("eu").build()?;
    orders.cut("eu")?;
    let shim = orders.shim();
    let order = || async move {
        shim.put("order", "a book").await.expect("the store runs");
        "ordered"
    };
    let shop = Service::start(Router::new().route("/order", put(order)).layer(public())).await?;

    let here = orders.reading_from(["eu"])?;
    let registry = Registry::builder().store(here.clone()).deadline(LIMIT).build().await?;
    let visits = store("visits")?;
    let look = || async move {
        visits.shim().append("count", "i").await.expect("the store runs");
        let order = here.shim().get("order").await.expect("the store runs");
        order.map_or("nothing".to_owned(), |order| String::from_utf8_lossy(&order).into_owned())
    };
    let (lineage, sessions) = public();
    let layers = (lineage, sessions, BarrierLayer::new(registry.clone()));
    let account = Service::start(Router::new().route("/orders", get(look)).layer(layers)).await?;

    let (mut user, mut other) = (Browser::default(), Browser::default());
    assert_eq!(user.go(Method::PUT, shop.uri("/order")).await?, "ordered");
    assert_eq!(other.go(Method::GET, account.uri("/orders")).await?, "nothing", "nobody waits for others");
    let heal = async {
        until_waiting(&registry, 1).await?;
        Test::Ok(orders.heal("eu")?)
    };
    let (seen, healed) = tokio::join!(user.go(Method::GET, account.uri("/orders")), heal);
    healed?;
    assert_eq!(seen?, "a book");
    let stores = ["orders", "visits"].map(|name| user.knows().of_store(name.parse().expect("a name")).len());
    assert_eq!(stores, [1, 1], "{:?}", user.knows());
    Ok(())
}

#[tokio::test]
async fn who_adds_nothing_keeps_their_token() -> Test {
    let idle = || async {};
    assert!(answer(&public(), HeaderMap::new(), idle).await.is_empty(), "of nothing there is no token");
    let known = Lineage::from(WriteId::unplaced("orders".parse()?));
    assert!(answer(&public(), cookie(&known, &tokens())?, idle).await.is_empty());
    let everything = cookie(&Lineage::everything(), &tokens())?;
    let posts = store("posts")?;
    let write = || async { posts.shim().put("post", "hello").await.map(drop).expect("the store runs") };
    assert!(answer(&public(), everything, write).await.is_empty(), "it covers the write");
    Ok(())
}

/// Nobody knows any more what it held.
#[tokio::test]
async fn a_token_of_forgotten_keys_becomes_one_of_everything() -> Test {
    let known = Lineage::from(WriteId::unplaced("orders".parse()?));
    let forgotten = cookie(&known, &tokens_with(b"another 32 bytes, no longer kept"))?;
    let headers = answer(&public(), forgotten, || async {}).await;
    let user = Browser { cookie: cookie_set(&headers) };
    assert!(user.knows().has_overflowed());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_capture_under_way_is_in_the_token() -> Test {
    let placed = store("posts")?;
    let scope = LineageScope::new();
    scope.run(placed.shim().put("post", "hello")).await?;
    let write = scope.settled().await;
    let later = write.clone();
    let handler = move || {
        let later = later.clone();
        async move {
            let scope = LineageScope::current().expect("a scope");
            let unplaced = WriteId::unplaced("posts".parse().expect("a name"));
            scope.defer(unplaced, LIMIT, async move {
                tokio::time::sleep(LIMIT / 2).await;
                Some(later)
            });
        }
    };
    let headers = answer(&public(), HeaderMap::new(), handler).await;
    assert_eq!(Browser { cookie: cookie_set(&headers) }.knows(), write);
    Ok(())
}

#[tokio::test]
async fn an_app_gets_and_sends_a_header() -> Test {
    let layers = (public().0, SessionLayer::headers(tokens()));
    let posts = store("posts")?;
    let write = || async { posts.shim().put("post", "hello").await.map(drop).expect("the store runs") };
    let first = answer(&layers, HeaderMap::new(), write).await;
    let token = first.get(SESSION_HEADER).expect("a token").clone();
    assert!(first.get(SET_COOKIE).is_none());
    let again = HeaderMap::from_iter([(SESSION_HEADER.parse()?, token)]);
    assert!(answer(&layers, again, || async {}).await.is_empty());
    Ok(())
}

/// A gateway of ours called other services first; the browser's token does not have their writes yet.
#[tokio::test]
async fn what_came_in_baggage_that_is_trusted_goes_into_the_token() -> Test {
    let plain = LineageCodec::plain();
    let inbound = Inbound::accept(plain.clone()).sessions(tokens());
    let layers = (LineageLayer::new(inbound), SessionLayer::cookies(tokens()));
    let [seen, did] = ["orders", "posts"].map(|name| WriteId::unplaced(name.parse().expect("a name")));
    let mut headers = cookie(&seen.into(), &tokens())?;
    headers.insert("baggage", Baggage::default().write(&plain, &did.into()).value.parse()?);
    let answered = answer(&layers, headers, || async {}).await;
    assert_eq!(Browser { cookie: cookie_set(&answered) }.knows(), Lineage::from_iter([seen, did]));
    Ok(())
}

#[tokio::test]
async fn a_service_that_does_not_read_the_token_takes_nothing_off_it() -> Test {
    let layers = (LineageLayer::new(Inbound::discard()), SessionLayer::cookies(tokens()));
    let known = WriteId::unplaced("orders".parse()?);
    let posts = store("posts")?;
    let write = || async { posts.shim().put("post", "hello").await.map(drop).expect("the store runs") };
    let answered = answer(&layers, cookie(&known.into(), &tokens())?, write).await;
    let knows = Browser { cookie: cookie_set(&answered) }.knows();
    assert!(knows.covers_write(&known) && knows.writes().len() == 2, "{knows:?}");
    Ok(())
}

#[tokio::test]
async fn outside_of_a_lineage_layer_there_is_nothing_to_issue() -> Test {
    let handler = service_fn(async |_: Request<()>| {
        assert!(LineageScope::current().is_none());
        Ok::<_, std::convert::Infallible>(Response::new(()))
    });
    let response = public().1.layer(handler).oneshot(Request::new(())).await?;
    assert!(response.headers().is_empty());
    Ok(())
}
