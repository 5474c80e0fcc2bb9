//! A gRPC service over texts, with one method of each kind. It answers with the stores of the lineage that
//! it was called with, and writes what it is sent.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use antipode::memory::MemoryStore;
use antipode::tower::{BarrierLayer, Propagate};
use futures_util::{Stream, StreamExt, stream};
use http::uri::PathAndQuery;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::body::Body;
use tonic::server::{Grpc, NamedService};
use tonic::transport::{Channel, Server};
use tonic::{Request, Response, Status, Streaming};
use tower::{Layer, service_fn};

use crate::services::{LIMIT, Test, current, lineage, propagate};
use crate::text_codec::TextCodec;

/// The service.
#[derive(Clone)]
pub(crate) struct Texts {
    store: MemoryStore,
    running: Arc<AtomicUsize>,
}

/// A call that runs, until it is dropped.
struct Running(Arc<AtomicUsize>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A service that is served, until it is dropped.
pub(crate) struct Served {
    address: SocketAddr,
    running: Arc<AtomicUsize>,
    task: AbortHandle,
}

impl Texts {
    pub(crate) fn writing_to(store: MemoryStore) -> Self {
        Self { store, running: Arc::default() }
    }

    pub(crate) async fn serve(self, barrier: Option<BarrierLayer>) -> Test<Served> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (address, running) = (listener.local_addr()?, Arc::clone(&self.running));
        let mut server = Server::builder().layer(lineage());
        let connections = TcpListenerStream::new(listener);
        let task = match barrier {
            Some(barrier) => {
                let serve = server.layer(barrier).add_service(self).serve_with_incoming(connections);
                tokio::spawn(serve).abort_handle()
            }
            None => tokio::spawn(server.add_service(self).serve_with_incoming(connections)).abort_handle(),
        };
        Ok(Served { address, running, task })
    }

    fn enter(&self) -> Running {
        self.running.fetch_add(1, Ordering::SeqCst);
        Running(Arc::clone(&self.running))
    }

    async fn write(&self, text: &str) -> Result<(), Status> {
        match text {
            "stuck" => std::future::pending().await,
            "!" => Err(Status::aborted(stores_known())),
            text => {
                self.store
                    .shim()
                    .put(text, text)
                    .await
                    .map_err(|error| Status::internal(error.to_string()))?;
                if text == "fail" { Err(Status::aborted(stores_known())) } else { Ok(()) }
            }
        }
    }

    async fn unary(self, request: Request<String>) -> Result<Response<String>, Status> {
        let (_running, came) = (self.enter(), stores_known());
        self.write(request.get_ref()).await.map(|()| Response::new(came))
    }

    async fn client_stream(self, request: Request<Streaming<String>>) -> Result<Response<String>, Status> {
        let (_running, came, mut texts) = (self.enter(), stores_known(), request.into_inner());
        while let Some(text) = texts.message().await? {
            self.write(&text).await?;
        }
        Ok(Response::new(came))
    }

    async fn server_stream(self, request: Request<String>) -> Result<Response<Answers>, Status> {
        let texts: Vec<_> = request.get_ref().chars().map(|text| Ok(text.to_string())).collect();
        Ok(self.answers(stream::iter(texts)))
    }

    async fn both_stream(self, request: Request<Streaming<String>>) -> Result<Response<Answers>, Status> {
        let texts = request.into_inner();
        Ok(self.answers(texts))
    }

    /// Writes each text, and answers it, while the answers are read.
    fn answers(
        self,
        texts: impl Stream<Item = Result<String, Status>> + Send + 'static,
    ) -> Response<Answers> {
        let (running, came) = (Arc::new(self.enter()), stores_known());
        let answer = move |text: Result<String, Status>| {
            let (service, running, came) = (self.clone(), Arc::clone(&running), came.clone());
            async move {
                let _running = running;
                service.write(&text?).await.map(|()| came)
            }
        };
        Response::new(Box::pin(texts.then(answer)))
    }
}

type Answers = Pin<Box<dyn Stream<Item = Result<String, Status>> + Send>>;

/// The stores that the call depends on.
fn stores_known() -> String {
    let known = current();
    let stores: Vec<_> = known.writes().iter().map(|write| write.store.to_string()).collect();
    stores.join(",")
}

impl NamedService for Texts {
    const NAME: &'static str = "antipode.Texts";
}

impl tower::Service<http::Request<Body>> for Texts {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let texts = self.clone();
        Box::pin(async move {
            let mut grpc = Grpc::new(TextCodec);
            Ok(match request.uri().path() {
                "/antipode.Texts/Unary" => {
                    grpc.unary(service_fn(move |request| texts.clone().unary(request)), request).await
                }
                "/antipode.Texts/ClientStream" => {
                    let call = service_fn(move |request| texts.clone().client_stream(request));
                    grpc.client_streaming(call, request).await
                }
                "/antipode.Texts/ServerStream" => {
                    let call = service_fn(move |request| texts.clone().server_stream(request));
                    grpc.server_streaming(call, request).await
                }
                _ => {
                    let call = service_fn(move |request| texts.clone().both_stream(request));
                    grpc.streaming(call, request).await
                }
            })
        })
    }
}

impl Served {
    /// Until so many calls run.
    pub(crate) async fn until_running(&self, count: usize) -> Test {
        let reached = async {
            while self.running.load(Ordering::SeqCst) != count {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        Ok(tokio::time::timeout(LIMIT, reached).await?)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A client whose calls carry lineage.
#[derive(Clone)]
pub(crate) struct Caller {
    grpc: tonic::client::Grpc<Propagate<Channel>>,
}

impl Caller {
    pub(crate) async fn to(served: &Served) -> Test<Self> {
        let channel = Channel::from_shared(format!("http://{}", served.address))?.connect().await?;
        Ok(Self { grpc: tonic::client::Grpc::new(propagate().layer(channel)) })
    }

    pub(crate) async fn unary(&mut self, text: &str) -> Result<String, Status> {
        self.send(Request::new(text.to_owned())).await
    }

    pub(crate) async fn send(&mut self, request: Request<String>) -> Result<String, Status> {
        self.ready().await?;
        let path = PathAndQuery::from_static("/antipode.Texts/Unary");
        Ok(self.grpc.unary(request, path, TextCodec).await?.into_inner())
    }

    pub(crate) async fn client_stream(
        &mut self,
        texts: impl Stream<Item = &'static str> + Send + 'static,
    ) -> Result<String, Status> {
        self.ready().await?;
        let path = PathAndQuery::from_static("/antipode.Texts/ClientStream");
        let texts = Request::new(texts.map(str::to_owned));
        Ok(self.grpc.client_streaming(texts, path, TextCodec).await?.into_inner())
    }

    pub(crate) async fn server_stream(&mut self, texts: &str) -> Result<Streaming<String>, Status> {
        self.ready().await?;
        let path = PathAndQuery::from_static("/antipode.Texts/ServerStream");
        Ok(self.grpc.server_streaming(Request::new(texts.to_owned()), path, TextCodec).await?.into_inner())
    }

    pub(crate) async fn both_stream(
        &mut self,
        texts: impl Stream<Item = &'static str> + Send + 'static,
    ) -> Result<Streaming<String>, Status> {
        self.ready().await?;
        let path = PathAndQuery::from_static("/antipode.Texts/BothStream");
        let texts = Request::new(texts.map(str::to_owned));
        Ok(self.grpc.streaming(texts, path, TextCodec).await?.into_inner())
    }

    async fn ready(&mut self) -> Result<(), Status> {
        self.grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))
    }
}
