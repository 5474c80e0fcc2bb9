//! The service: handlers as they are without Antipode, but for the shim that they write and read through.

use std::convert::Infallible;
use std::fmt::Display;
use std::pin::Pin;
use std::task::{Context, Poll};

use antipode::postgres::{PostgresStore, sqlx};
use futures_util::{Stream, StreamExt};
use tonic::body::Body;
use tonic::server::{Grpc, NamedService};
use tonic::{Request, Response, Status, Streaming};
use tower::{Service, service_fn};

use crate::text_codec::TextCodec;

#[derive(Clone)]
pub(crate) struct Posts {
    pub(crate) posts: PostgresStore,
}

type Ids = Pin<Box<dyn Stream<Item = Result<String, Status>> + Send>>;

impl Posts {
    /// Unary: stores a post.
    async fn publish(self, request: Request<String>) -> Result<Response<String>, Status> {
        self.store(request.into_inner()).await.map(Response::new)
    }

    /// Streaming in both directions: stores posts as they come, and answers each with its id.
    async fn import(self, request: Request<Streaming<String>>) -> Result<Response<Ids>, Status> {
        let ids = request.into_inner().then(move |body| {
            let posts = self.clone();
            async move { posts.store(body?).await }
        });
        Ok(Response::new(Box::pin(ids)))
    }

    /// Unary: a post from the region's replica.
    async fn show(self, request: Request<String>) -> Result<Response<String>, Status> {
        let id: i64 = request.into_inner().parse().map_err(|_| Status::invalid_argument("no id"))?;
        let body = sqlx::query_scalar("SELECT body FROM posts WHERE id = $1").bind(id);
        let body = body.fetch_optional(&self.posts.reads()).await.map_err(internal)?;
        body.map(Response::new).ok_or_else(|| Status::not_found("no such post"))
    }

    async fn store(&self, body: String) -> Result<String, Status> {
        let id = sqlx::query_scalar("INSERT INTO posts (body) VALUES ($1) RETURNING id").bind(body);
        let id: i64 = id.fetch_one(&self.posts.shim()).await.map_err(internal)?;
        Ok(id.to_string())
    }
}

fn internal(error: impl Display) -> Status {
    Status::internal(error.to_string())
}

// What follows is generated in a service that has a `.proto` file.

impl NamedService for Posts {
    const NAME: &'static str = "antipode.Posts";
}

impl Service<http::Request<Body>> for Posts {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let (posts, mut grpc) = (self.clone(), Grpc::new(TextCodec));
        Box::pin(async move {
            Ok(match request.uri().path() {
                "/antipode.Posts/Publish" => {
                    grpc.unary(service_fn(move |request| posts.clone().publish(request)), request).await
                }
                "/antipode.Posts/Import" => {
                    grpc.streaming(service_fn(move |request| posts.clone().import(request)), request).await
                }
                "/antipode.Posts/Show" => {
                    grpc.unary(service_fn(move |request| posts.clone().show(request)), request).await
                }
                _ => Status::unimplemented("no such method").into_http(),
            })
        })
    }
}
