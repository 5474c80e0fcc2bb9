//! The client. It would be generated, over `Propagate<Channel>` in place of `Channel`.

use antipode::tower::{Propagate, PropagateLayer};
use http::uri::PathAndQuery;
use tonic::client::Grpc;
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};
use tower::Layer;

use crate::text_codec::TextCodec;

pub(crate) struct Client {
    grpc: Grpc<Propagate<Channel>>,
}

impl Client {
    pub(crate) fn new(channel: &Channel, propagate: &PropagateLayer) -> Self {
        Self { grpc: Grpc::new(propagate.layer(channel.clone())) }
    }

    pub(crate) async fn publish(&mut self, body: &str) -> Result<String, Status> {
        self.unary("/antipode.Posts/Publish", body).await
    }

    pub(crate) async fn show(&mut self, id: &str) -> Result<String, Status> {
        self.unary("/antipode.Posts/Show", id).await
    }

    pub(crate) async fn import(&mut self, bodies: Vec<String>) -> Result<Streaming<String>, Status> {
        self.ready().await?;
        let path = PathAndQuery::from_static("/antipode.Posts/Import");
        let bodies = Request::new(futures_util::stream::iter(bodies));
        Ok(self.grpc.streaming(bodies, path, TextCodec).await?.into_inner())
    }

    async fn unary(&mut self, method: &'static str, text: &str) -> Result<String, Status> {
        self.ready().await?;
        let path = PathAndQuery::from_static(method);
        Ok(self.grpc.unary(Request::new(text.to_owned()), path, TextCodec).await?.into_inner())
    }

    async fn ready(&mut self) -> Result<(), Status> {
        self.grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))
    }
}
