//! Asking brokers.

use std::{fs, net::SocketAddr, path::PathBuf, time::Duration};

use futures_util::{FutureExt, future::BoxFuture};
use rdkafka::{
    ClientConfig,
    admin::AdminClient,
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, KafkaResult},
    metadata::Metadata,
};
use tokio::{net::TcpStream, task::spawn_blocking};

/// How long one question may take; whoever has more time asks again.
const PATIENCE: Duration = Duration::from_secs(3);

/// Whether a broker answers, belongs to the cluster of this directory, and is in service: known to
/// the controllers and not fenced off.
pub(super) fn probe(addr: SocketAddr, directory: PathBuf) -> BoxFuture<'static, bool> {
    async move {
        // A client takes longer to find out that nobody listens.
        if TcpStream::connect(addr).await.is_err() {
            return false;
        }
        spawn_blocking(move || {
            let meta = fs::read_to_string(directory.join("data/meta.properties")).unwrap_or_default();
            let Some(cluster) = meta.lines().find_map(|line| line.strip_prefix("cluster.id=")) else {
                return false;
            };
            let Ok(client) = client::<BaseConsumer>(&addr.to_string()) else { return false };
            let Ok(metadata) = client.fetch_metadata(None, PATIENCE) else { return false };
            let in_service = metadata.brokers().iter().any(|broker| broker.port() == i32::from(addr.port()));
            in_service && client.client().fetch_cluster_id(PATIENCE).as_deref() == Some(cluster)
        })
        .await
        .unwrap_or(false)
    }
    .boxed()
}

/// What a broker knows of a topic.
pub(super) async fn metadata(addr: SocketAddr, topic: &str) -> KafkaResult<Metadata> {
    let topic = topic.to_owned();
    let asked = spawn_blocking(move || {
        client::<BaseConsumer>(&addr.to_string())?.fetch_metadata(Some(&topic), PATIENCE)
    });
    asked.await.unwrap_or(Err(KafkaError::Canceled))
}

pub(super) fn admin(bootstrap: &str) -> KafkaResult<AdminClient<DefaultClientContext>> {
    client(bootstrap)
}

fn client<C: rdkafka::config::FromClientConfig>(bootstrap: &str) -> KafkaResult<C> {
    ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("reconnect.backoff.ms", "20")
        .set("reconnect.backoff.max.ms", "200")
        .set("allow.auto.create.topics", "false")
        .create()
}
