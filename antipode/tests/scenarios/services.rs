//! Real HTTP services on loopback, and stores that they share.

use std::net::SocketAddr;
use std::time::Duration;

use antipode::edge::{Inbound, Outbound};
use antipode::lineage::{Baggage, LineageCodec};
use antipode::memory::MemoryStore;
use antipode::prelude::*;
use antipode::tower::{LineageLayer, PropagateLayer};
use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Request, Response};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

pub(crate) type Test<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// No test waits longer than this for anything.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// A service, until it is dropped.
pub(crate) struct Service {
    pub(crate) address: SocketAddr,
    task: AbortHandle,
}

impl Service {
    pub(crate) async fn start(app: Router) -> Test<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let serve = async move { axum::serve(listener, app).await };
        Ok(Self { address, task: tokio::spawn(serve).abort_handle() })
    }

    pub(crate) fn uri(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) fn lineage() -> LineageLayer {
    LineageLayer::new(Inbound::accept(LineageCodec::plain()))
}

pub(crate) fn propagate() -> PropagateLayer {
    PropagateLayer::new(Outbound::to_everyone())
}

/// A client without any layer.
pub(crate) fn plain_client() -> Client<HttpConnector, Body> {
    Client::builder(TokioExecutor::new()).build_http()
}

/// A request without a body.
pub(crate) fn request_to(uri: String) -> Request<Body> {
    Request::builder().uri(uri).body(Body::empty()).expect("a request")
}

/// A store of one region.
pub(crate) fn store(name: &str) -> Test<MemoryStore> {
    Ok(MemoryStore::builder(name).region("us").build()?)
}

/// The baggage lines of a request or a response.
pub(crate) fn baggage_lines(headers: &HeaderMap) -> Vec<String> {
    let lines = headers.get_all("baggage").into_iter();
    lines.map(|line| String::from_utf8_lossy(line.as_bytes()).into_owned()).collect()
}

/// The lineage in these headers, if there is one.
pub(crate) fn lineage_in(headers: &HeaderMap) -> Option<Lineage> {
    Baggage::read(headers.get_all("baggage")).lineage(&LineageCodec::plain()).expect("readable")
}

/// The current lineage.
pub(crate) fn current() -> Lineage {
    LineageScope::current().expect("a scope").lineage()
}

/// Posts, written in the US; the region in Europe is cut off until it is healed.
pub(crate) fn posts_with_europe_cut_off() -> Test<MemoryStore> {
    let posts = MemoryStore::builder("posts").region("us").region("eu").build()?;
    posts.cut("eu")?;
    Ok(posts)
}

/// Until so many barriers wait.
pub(crate) async fn until_waiting(registry: &Registry, count: usize) -> Test {
    let waiting = async {
        while registry.waiting() != count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    Ok(tokio::time::timeout(LIMIT, waiting).await?)
}

/// The whole text of a response.
pub(crate) async fn text<B>(response: Response<B>) -> Test<String>
where
    B: http_body_util::BodyExt,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    let bytes = response.into_body().collect().await?.to_bytes();
    Ok(String::from_utf8(bytes.to_vec())?)
}
