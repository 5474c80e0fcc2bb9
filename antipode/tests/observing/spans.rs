//! Spans by the layer of `tracing-opentelemetry`, as an exporter gets them.

use std::sync::OnceLock;
use std::time::Duration;

use antipode::memory::Lag;
use antipode::opentelemetry::WriteLinks;
use antipode::prelude::*;
use opentelemetry::Value;
use opentelemetry::trace::{SpanId, Status, TracerProvider};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use tracing::subscriber::DefaultGuard;
use tracing::{Dispatch, Instrument};
use tracing_subscriber::layer::SubscriberExt;

const LAG: Duration = Duration::from_millis(150);

pub(crate) struct Traced {
    exporter: InMemorySpanExporter,
    _provider: SdkTracerProvider,
    _guard: DefaultGuard,
}

impl Traced {
    /// What this thread traces.
    pub(crate) fn begin() -> Self {
        // With a single dispatcher, the thread that meets a span first decides for all whether it is of
        // interest; and other tests have none.
        static SECOND: OnceLock<Dispatch> = OnceLock::new();
        SECOND.get_or_init(|| Dispatch::new(tracing_subscriber::registry()));
        let exporter = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("observing"));
        let filter = tracing_subscriber::EnvFilter::new("debug");
        let subscriber = tracing_subscriber::registry().with(filter).with(layer);
        Self { exporter, _provider: provider, _guard: tracing::subscriber::set_default(subscriber) }
    }

    pub(crate) fn spans(&self, name: &str) -> Vec<SpanData> {
        let spans = self.exporter.get_finished_spans().unwrap();
        spans.into_iter().filter(|span| span.name == name).collect()
    }
}

fn attribute(span: &SpanData, key: &str) -> Option<String> {
    let found = span.attributes.iter().find(|attribute| attribute.key.as_str() == key)?;
    Some(found.value.to_string())
}

/// Not as text: else nobody can ask for waits above a second.
fn number(span: &SpanData, key: &str) -> i64 {
    let found = span.attributes.iter().find(|attribute| attribute.key.as_str() == key);
    let Some(Value::I64(number)) = found.map(|found| &found.value) else { panic!("{key} in {span:?}") };
    *number
}

fn posts() -> MemoryStore {
    MemoryStore::builder("posts").region("us").lagging("eu", Lag::of(LAG)).build().unwrap()
}

async fn written(posts: &MemoryStore, scope: &LineageScope) -> SpanId {
    use opentelemetry::trace::TraceContextExt;
    let write = async {
        posts.shim().within(scope.clone()).put("post", "hello").await.unwrap();
        opentelemetry::Context::current().span().span_context().span_id()
    };
    write.instrument(tracing::info_span!("write a post")).await
}

#[tokio::test]
async fn a_barrier_is_a_span_with_one_for_each_store_that_links_to_the_write() {
    let traced = Traced::begin();
    let posts = posts();
    let links = WriteLinks::default();
    let builder = Registry::builder().store(posts.reading_from(["eu"]).unwrap()).observer(links);
    let registry = builder.build().await.unwrap();
    let scope = LineageScope::new();
    let writer = written(&posts, &scope).await;
    let lineage = scope.settled().await;
    registry.barrier_on(&lineage).await.unwrap();
    registry.barrier_on(&lineage).await.unwrap();

    let [barrier] = &traced.spans("barrier")[..] else { panic!("a visible lineage is no span") };
    assert_eq!(attribute(barrier, "outcome").as_deref(), Some("visible"));
    assert_eq!(attribute(barrier, "prevented").as_deref(), Some("true"));
    assert_eq!(number(barrier, "skipped"), 0);
    assert!(number(barrier, "waited_us") > 0);
    assert_eq!(barrier.status, Status::Unset);
    let [wait] = &traced.spans("store_wait")[..] else { panic!("one store was asked") };
    assert_eq!(wait.parent_span_id, barrier.span_context.span_id());
    let says = |key, value: &str| assert_eq!(attribute(wait, key).as_deref(), Some(value), "{key}");
    says("store", "posts");
    says("replica", "eu");
    says("verdict", "visible");
    says("prevented", "true");
    assert!(number(wait, "waited_us") > 0);

    let [link] = &wait.links.links[..] else { panic!("{:?}", wait.links) };
    assert_eq!(link.span_context.span_id(), writer);
    assert_eq!(link.attributes[0].value.to_string(), lineage.writes()[0].to_string());
}

#[tokio::test]
async fn a_barrier_that_fails_says_so_and_links_to_nothing() {
    let traced = Traced::begin();
    let posts = posts();
    let links = WriteLinks::default();
    let builder = Registry::builder().store(posts.reading_from(["eu"]).unwrap()).observer(links);
    let registry = builder.build().await.unwrap();
    let scope = LineageScope::new();
    written(&posts, &scope).await;
    registry.barrier_on(&scope.settled().await).deadline(LAG / 5).await.unwrap_err();
    let [barrier] = &traced.spans("barrier")[..] else { panic!("one barrier") };
    assert_eq!(attribute(barrier, "outcome").as_deref(), Some("timeout"));
    assert!(matches!(barrier.status, Status::Error { .. }), "{:?}", barrier.status);
    let [wait] = &traced.spans("store_wait")[..] else { panic!("one store was asked") };
    assert_eq!(attribute(wait, "verdict").as_deref(), Some("pending"));
    assert!(wait.links.links.is_empty());
}

#[tokio::test]
async fn a_capture_beside_the_request_is_a_span_of_the_request() {
    let traced = Traced::begin();
    let posts = StoreName::parse("posts").unwrap();
    let unplaced = antipode::lineage::WriteId::unplaced(posts);
    let request = tracing::info_span!("request");
    let scope = LineageScope::new();
    request.in_scope(|| scope.defer(unplaced, LAG, async { None }));
    scope.settled().await;
    drop(request);
    let [capture] = &traced.spans("capture")[..] else { panic!("one capture") };
    assert_eq!(attribute(capture, "store").as_deref(), Some("posts"));
    assert_eq!(attribute(capture, "placed").as_deref(), Some("false"));
    assert!(number(capture, "took_us") >= 0);
    assert_eq!(capture.parent_span_id, traced.spans("request")[0].span_context.span_id());
}
