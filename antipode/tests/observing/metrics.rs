//! Numbers by a recorder, as a page shows them.

use std::convert::Infallible;
use std::time::Duration;

use antipode::barrier::OnMissing;
use antipode::edge::{BAGGAGE_HEADER, Inbound, Outbound};
use antipode::lineage::{Baggage, Epoch, LineageCodec, Position, Shard, WriteId};
use antipode::memory::Lag;
use antipode::metrics::*;
use antipode::prelude::*;
use antipode::tower::PropagateLayer;
use http::{HeaderMap, HeaderValue, Request, Response};
use tower::{Layer, ServiceExt, service_fn};

use crate::page::Page;

const LAG: Duration = Duration::from_millis(150);
const PLAIN: LineageCodec = LineageCodec::plain();

fn lagging(lag: Duration) -> MemoryStore {
    MemoryStore::builder("posts").region("us").lagging("eu", Lag::of(lag)).build().unwrap()
}

async fn write(store: &MemoryStore) -> Lineage {
    let scope = LineageScope::new();
    store.shim().within(scope.clone()).put("post", "hello").await.unwrap();
    scope.settled().await
}

#[tokio::test(start_paused = true)]
async fn barriers_are_counted_by_outcome_and_what_they_prevented_by_store() {
    let page = Page::new();
    let (_guard, metrics) = page.metrics();
    let posts = lagging(LAG);
    let europe = posts.reading_from(["eu"]).unwrap();
    let registry = Registry::builder().store(europe).observer(metrics).build().await.unwrap();
    assert_eq!(page.sum(PREVENTED, &[r#"store="posts""#]), 0.0, "known from the start");

    let lineage = write(&posts).await;
    assert!(registry.barrier_on(&lineage).await.unwrap().prevented());
    let lag = page.sum(REPLICA_LAG, &[r#"replica="eu""#]);
    assert!(lag > LAG.as_secs_f64() / 2.0, "{lag} s, seen by who waited while the server held the request");
    registry.barrier_on(&lineage).await.unwrap();
    let late = write(&posts).await;
    registry.barrier_on(&late).deadline(LAG / 3).await.unwrap_err();
    let weak = registry.barrier_on(&late).deadline(LAG / 3).on_timeout(OnTimeout::Weak).await.unwrap();
    assert!(weak.is_weak());

    let count = |outcome: &str| page.sum(&format!("{BARRIER_WAIT}_count"), &[outcome]);
    let outcomes = [r#""visible""#, r#""timeout""#, r#""weak""#].map(count);
    assert_eq!(outcomes, [2.0, 1.0, 1.0], "{}", page.text());
    assert!(page.sum(&format!("{BARRIER_WAIT}_sum"), &[r#""visible""#]) >= LAG.as_secs_f64());
    assert_eq!(page.sum(&format!("{STORE_WAIT}_count"), &[r#"store="posts""#]), 2.0, "two had to ask");
    assert_eq!(page.sum(PREVENTED, &[r#"store="posts""#]), 1.0);
    let asked = page.sum(&format!("{PROBE}_sum"), &[r#"replica="eu""#]);
    assert!(asked < LAG.as_secs_f64(), "{asked} s: a request that the server holds is no slow probe");
    assert_eq!(page.sum(FAILURES, &[r#"store="posts""#, r#"outcome="timeout""#]), 1.0);
}

/// A name is a label if it is registered; a lineage can name what it likes.
#[tokio::test(start_paused = true)]
async fn a_forged_name_never_becomes_a_label() {
    let page = Page::new();
    let (_guard, metrics) = page.metrics();
    let posts = lagging(LAG);
    let registry = Registry::builder().store(posts.clone()).observer(metrics.clone()).build().await.unwrap();
    let inbound = Inbound::accept(PLAIN).observer(metrics.clone());
    let serve = async |store: &str, known: &WriteId| {
        let epoch = Epoch { history: 666, term: 0 };
        let store: StoreName = store.parse().unwrap();
        let forged = WriteId { store, shard: Shard(9), epoch, position: Position(7) };
        let lineage = Lineage::from_iter([*known, forged, WriteId { store: known.store, ..forged }]);
        let mut headers = HeaderMap::new();
        let header = Baggage::read(["forged=forged0"]).write(&PLAIN, &lineage).value;
        headers.append(BAGGAGE_HEADER, HeaderValue::try_from(header).unwrap());
        let admitted = inbound.admit(&headers).unwrap();
        // Even if an observer were told of it.
        antipode::barrier::Observer::missed(&metrics, store);
        antipode::barrier::Observer::registered(&(), store, "eu".parse().unwrap());
        let barrier = registry.barrier_on(&admitted.lineage).deadline(Duration::from_millis(5));
        let _ = barrier.await;
    };
    let known = write(&posts).await.writes()[0];
    serve("forged0", &known).await;
    let series = page.text().lines().count();
    for number in 1..200 {
        serve(&format!("forged{number}"), &known).await;
    }
    let text = page.text();
    assert!(!text.contains("forged") && !text.contains("666"), "{text}");
    assert_eq!(text.lines().count(), series, "no series more for two hundred names");
    assert_eq!(page.sum(&format!("{LINEAGE_SIZE}_count"), &[r#""received""#]), 200.0);
}

#[tokio::test]
async fn what_is_wrong_at_the_edge_is_counted_by_kind() {
    let page = Page::new();
    let (_guard, metrics) = page.metrics();
    let inbound = Inbound::require(PLAIN).observer(metrics);
    let mut headers = HeaderMap::new();
    inbound.admit(&headers).unwrap_err();
    headers.append(BAGGAGE_HEADER, HeaderValue::from_static("antipode=nonsense"));
    inbound.admit(&headers).unwrap_err();
    let refused = |fault| page.sum(EDGE_FAULTS, &[fault, r#"treated="refused""#]);
    assert_eq!([r#"fault="missing""#, r#"fault="unreadable""#].map(refused), [1.0, 1.0]);
    assert_eq!(page.sum(&format!("{LINEAGE_SIZE}_sum"), &[]), 8.0, "unreadable, but bytes");
    assert_eq!(page.sum(&format!("{LINEAGE_SIZE}_count"), &[]), 1.0, "none is no lineage of no bytes");
}

/// A rate knows nothing of a series before its first scrape: one that begins with one has not risen.
#[tokio::test(start_paused = true)]
async fn what_has_not_happened_yet_is_counted_from_zero() {
    let page = Page::new();
    let (_guard, metrics) = page.metrics();
    let europe = lagging(LAG);
    let registry = Registry::builder().store(europe.clone()).observer(metrics.clone()).build().await.unwrap();
    let inbound = Inbound::require(PLAIN).observer(metrics);
    let before = page.text();
    inbound.admit(&HeaderMap::new()).unwrap_err();
    let late = write(&europe).await;
    registry.barrier_on(&late).deadline(LAG / 3).await.unwrap_err();
    let forged = WriteId { epoch: Epoch { history: 666, term: 0 }, ..late.writes()[0] };
    registry.barrier_on(&Lineage::from(forged)).await.unwrap_err();
    let (after, counters) = (page.text(), [FAILURES, EDGE_FAULTS].map(|name| format!("{name}{{")));
    let risen: Vec<_> = after
        .lines()
        .filter(|line| counters.iter().any(|name| line.starts_with(name)) && line.ends_with(" 1"))
        .map(|line| line.replace(" 1", " 0"))
        .collect();
    assert_eq!(risen.len(), 3, "{after}");
    for line in risen {
        assert!(before.lines().any(|known| known == line), "{line} is not in\n{before}");
    }
}

#[tokio::test]
async fn what_goes_with_calls_is_measured_and_what_returns_unreadable_is_counted() {
    let page = Page::new();
    let (_guard, metrics) = page.metrics();
    let callee = service_fn(async |call: Request<()>| {
        assert!(call.headers().contains_key(BAGGAGE_HEADER));
        let answer = Response::builder().header(BAGGAGE_HEADER, "antipode=nonsense");
        Ok::<_, Infallible>(answer.body(http_body_util::Empty::<bytes::Bytes>::new()).unwrap())
    });
    let client = PropagateLayer::new(Outbound::to_everyone()).observer(metrics).layer(callee);
    let lineage = Lineage::everything();
    let scope = LineageScope::from(lineage.clone());
    scope.run(client.oneshot(Request::new(()))).await.unwrap();
    let sent = page.sum(&format!("{LINEAGE_SIZE}_sum"), &[r#"direction="sent""#]);
    assert_eq!(sent, PLAIN.encode(&lineage).len() as f64);
    assert_eq!(page.sum(EDGE_FAULTS, &[r#"fault="unreadable""#, r#"treated="as_everything""#]), 1.0);
}

#[tokio::test(start_paused = true)]
async fn an_operation_outside_of_a_lineage_is_counted() {
    let page = Page::new();
    let (_guard, metrics) = page.metrics();
    let builder = MemoryStore::builder("posts").region("us").on_missing(OnMissing::Ignore);
    let posts = builder.build().unwrap();
    let _registry = Registry::builder().store(posts.clone()).observer(metrics).build().await.unwrap();
    posts.shim().put("post", "hello").await.unwrap();
    assert_eq!(page.sum(MISSED, &[r#"store="posts""#]), 1.0);
}

#[cfg(feature = "postgres")]
mod postgres {
    use antipode::opentelemetry::WriteLinks;
    use antipode::postgres::PostgresStore;
    use antipode::postgres::sqlx::{self, PgPool};
    use antipode_docker::{PostgresOptions, PostgresTopology};

    use super::*;
    use crate::spans::Traced;

    #[tokio::test]
    async fn a_capture_of_postgres_is_counted_and_linked_to_by_who_waits_for_it() {
        let page = Page::new();
        let (_guard, metrics) = page.metrics();
        let traced = Traced::begin();
        let topology = PostgresTopology::start(PostgresOptions::default().standbys(1)).await.unwrap();
        let primary = PgPool::connect(&topology.primary().url()).await.unwrap();
        let standby = PgPool::connect(&topology.standby(0).url()).await.unwrap();
        let store = PostgresStore::builder("posts").primary(primary).replica("eu", standby).build().unwrap();
        let builder = Registry::builder().store(store.clone()).observer((metrics, WriteLinks::default()));
        let registry = builder.build().await.unwrap();
        sqlx::query("CREATE TABLE posts (id int)").execute(store.inner()).await.unwrap();

        topology.link(0).hang();
        let scope = LineageScope::new();
        let shim = store.shim().within(scope.clone());
        sqlx::query("INSERT INTO posts VALUES (7)").execute(&shim).await.unwrap();
        let lineage = scope.settled().await;
        assert_eq!(page.sum(&format!("{CAPTURE}_count"), &[r#"store="posts""#]), 1.0);
        assert_eq!(page.sum(UNPLACED, &[r#"store="posts""#]), 0.0);
        let heal = async {
            tokio::time::sleep(LAG).await;
            topology.link(0).cut();
            topology.link(0).heal();
        };
        let barrier = registry.barrier_on(&lineage).deadline(Duration::from_secs(30));
        let (report, ()) = tokio::join!(barrier, heal);
        assert!(report.unwrap().prevented());
        let [capture] = &traced.spans("capture")[..] else { panic!("one capture") };
        let [wait] = &traced.spans("store_wait")[..] else { panic!("one wait") };
        assert_eq!(wait.links.links[0].span_context, capture.span_context);
    }
}

#[cfg(feature = "redis")]
mod redis {
    use antipode::redis::redis::{AsyncCommands, Client};
    use antipode_docker::{RedisNode, RedisOptions, RedisTopology};

    use super::*;

    #[tokio::test]
    async fn a_lagging_and_then_dead_replica_of_redis_shows_in_lag_detection_and_failed_probes() {
        let page = Page::new();
        let (_guard, metrics) = page.metrics();
        let topology = RedisTopology::start(RedisOptions::default().replicas(1)).await.unwrap();
        let client = |node: &RedisNode| Client::open(node.url()).unwrap();
        let (primary, replica) = (topology.primary(), topology.replica(0));
        let store = RedisStore::builder("posts").primary(client(primary)).replica("eu", client(replica));
        let store = store.build().unwrap();
        let registry = Registry::builder().store(store.clone()).observer(metrics).build().await.unwrap();
        let write = async || {
            let scope = LineageScope::new();
            let mut posts = store.connection().await.unwrap().within(scope.clone());
            let () = posts.set("post", "hello").await.unwrap();
            scope.settled().await
        };
        const EU: [&str; 2] = [r#"store="posts""#, r#"replica="eu""#];

        topology.link(0).hang();
        let lineage = write().await;
        registry.barrier_on(&lineage).deadline(LAG).await.unwrap_err();
        assert!(page.sum(REPLICA_LAG, &EU) > 0.0, "{}", page.text());
        let heal = async {
            tokio::time::sleep(LAG).await;
            topology.link(0).cut();
            topology.link(0).heal();
        };
        let barrier = registry.barrier_on(&lineage).deadline(Duration::from_secs(30));
        let (report, ()) = tokio::join!(barrier, heal);
        assert!(report.unwrap().prevented());
        assert!(page.sum(REPLICA_LAG, &EU) >= LAG.as_secs_f64(), "{}", page.text());
        assert_eq!(page.sum(&format!("{DETECTION}_count"), &EU), 1.0);
        let waited = page.sum(&format!("{STORE_WAIT}_sum"), &EU[..1]);
        assert!(page.sum(&format!("{DETECTION}_sum"), &EU) < waited, "it was looked for all the time");
        assert!(page.sum(&format!("{PROBE}_count"), &EU) >= 2.0);
        assert_eq!(page.sum(PROBE_FAILURES, &EU), 0.0);

        tokio::time::sleep(2 * LAG).await;
        registry.barrier_on(&lineage).await.unwrap();
        assert_eq!(page.sum(REPLICA_LAG, &EU), 0.0, "asked anew, with nobody behind");

        replica.kill().await.unwrap();
        let lineage = write().await;
        assert!(registry.barrier_on(&lineage).deadline(LAG).await.unwrap_err().is_store_down());
        assert!(page.sum(PROBE_FAILURES, &EU) >= 1.0, "{}", page.text());
        assert_eq!(page.sum(FAILURES, &[EU[0], r#"outcome="store_down""#]), 1.0);
    }
}
