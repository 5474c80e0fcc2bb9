//! Requests to a service, over connections that stay open.

use std::time::{Duration, Instant};

use antipode::lineage::{Baggage, Lineage, LineageCodec};
use axum::Router;
use axum::body::Body;
use axum::http::header::{HOST, TE};
use axum::http::{HeaderValue, Request, StatusCode};
use http_body_util::BodyExt;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::Failure;
use crate::allocation::Allocations;
use crate::cli::Service;

/// How long requests are sent before those that count.
const LEAD_IN: Duration = Duration::from_millis(20);

/// A service that runs, and the connections to it. Ends when it is dropped.
pub(super) struct Load {
    connections: Vec<SendRequest<Body>>,
    baggage: HeaderValue,
    slice: Duration,
    _tasks: JoinSet<()>,
}

/// What one slice of time gave.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slice {
    pub(super) requests: u64,
    pub(super) took: Duration,
    /// Of services and clients together.
    pub(super) allocations: u64,
}

impl Load {
    pub(super) async fn start(app: Router, lineage: &Lineage, settings: &Service) -> Result<Self, Failure> {
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(failed("be reached"))?;
        let address = listener.local_addr().map_err(failed("be reached"))?;
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            // It ends with the load.
            let _ = axum::serve(listener, app).await;
        });
        let mut connections = Vec::new();
        for _ in 0..settings.connections {
            let stream = TcpStream::connect(address).await.map_err(failed("be reached"))?;
            stream.set_nodelay(true).map_err(failed("be reached"))?;
            let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(failed("be reached"))?;
            tasks.spawn(async move {
                // A broken connection shows in the requests.
                let _ = connection.await;
            });
            connections.push(sender);
        }
        let baggage = Baggage::default().write(&LineageCodec::plain(), lineage).value;
        let baggage = HeaderValue::try_from(baggage).map_err(failed("be called"))?;
        Ok(Self { connections, baggage, slice: settings.slice, _tasks: tasks })
    }

    /// Sends requests for one slice of time, after some that do not count: the other service had its turn,
    /// and what this one's barriers knew has become old meanwhile.
    pub(super) async fn slice(&mut self) -> Result<Slice, Failure> {
        self.send(LEAD_IN).await?;
        self.send(self.slice).await
    }

    async fn send(&mut self, slice: Duration) -> Result<Slice, Failure> {
        let (before, began) = (Allocations::now().calls, Instant::now());
        let mut clients = JoinSet::new();
        for mut sender in self.connections.drain(..) {
            let baggage = self.baggage.clone();
            clients.spawn(async move {
                let mut requests = 0;
                while began.elapsed() < slice {
                    call(&mut sender, &baggage).await?;
                    requests += 1;
                }
                Ok::<_, Failure>((sender, requests))
            });
        }
        let mut requests = 0;
        while let Some(ended) = clients.join_next().await {
            let (sender, sent) = ended.map_err(failed("be called"))??;
            self.connections.push(sender);
            requests += sent;
        }
        let took = began.elapsed();
        Ok(Slice { requests, took, allocations: Allocations::now().calls - before })
    }
}

async fn call(sender: &mut SendRequest<Body>, baggage: &HeaderValue) -> Result<(), Failure> {
    let request = Request::builder().uri("/").header(HOST, "localhost").header("baggage", baggage);
    let request = request.header(TE, "trailers").body(Body::empty()).map_err(failed("be called"))?;
    sender.ready().await.map_err(failed("be called"))?;
    let response = sender.send_request(request).await.map_err(failed("be called"))?;
    let status = response.status();
    response.into_body().collect().await.map_err(failed("be called"))?;
    match status {
        StatusCode::OK => Ok(()),
        status => Err(Failure::Garbled { what: "the service's answer", found: status.to_string() }),
    }
}

fn failed<E: std::error::Error + Send + Sync + 'static>(
    operation: &'static str,
) -> impl FnOnce(E) -> Failure {
    Failure::store("service", operation)
}
