//! A post in Redis.

use antipode::lineage::{Lineage, LineageScope};
use antipode::prelude::Registry;
use antipode::redis::RedisStore;
use antipode_docker::{Proxy, RedisOptions, RedisTopology};
use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use redis::aio::{ConnectionLike, ConnectionManager};
use redis::{AsyncCommands, Client, RedisResult};

use super::{AFAR, BODY, Case, apps, of_four_stores};
use crate::Failure;
use crate::servers::reached;
use crate::servers::redis::{failed, raw_connection, version};

const POST: &str = "post";

/// A primary and a replica that shows the post.
pub(super) struct RedisPost {
    store: RedisStore,
    registry: Registry,
    lineage: Lineage,
    /// The driver's, to the replica.
    raw: ConnectionManager,
    /// The same from [`AFAR`].
    afar: ConnectionManager,
    pub(super) version: String,
    _way: Option<Proxy>,
    _servers: RedisTopology,
}

impl RedisPost {
    pub(super) async fn start() -> Result<Self, Failure> {
        let servers = RedisTopology::start(RedisOptions::default().replicas(1)).await?;
        let (primary, replica) = (servers.primary().url(), servers.replica(0).url());
        let client = |url: &str| Client::open(url).map_err(failed("be reached"));
        let store = RedisStore::builder("posts").primary(client(&primary)?).replica("eu", client(&replica)?);
        let store = store.build().map_err(failed("be opened"))?;
        let registry = Registry::builder().store(store.clone()).build().await?;
        let scope = LineageScope::new();
        let write = async {
            let mut connection = store.connection().await.map_err(failed("be reached"))?;
            let written: RedisResult<()> = connection.set(POST, vec![b'x'; BODY]).await;
            written.map_err(failed("be written to"))
        };
        scope.run(write).await?;
        let lineage = of_four_stores(scope, &registry).await?;
        let (raw, version) = (raw_connection(&replica).await?, version(&primary).await?);
        let (afar, way) = reached((servers.replica(0), replica), AFAR).await?;
        let afar = raw_connection(&afar).await?;
        Ok(Self { store, registry, lineage, raw, afar, version, _way: way, _servers: servers })
    }

    pub(super) fn case(&self, handler: &'static str, plain: Router, guarded: Router) -> Case<'_> {
        let layered = apps::guarded(guarded, self.registry.clone());
        Case { handler, plain, layered, lineage: &self.lineage }
    }

    pub(super) fn by_driver(&self) -> Router {
        reading(self.raw.clone())
    }

    pub(super) fn by_driver_from_afar(&self) -> Router {
        reading(self.afar.clone())
    }

    pub(super) async fn by_shim(&self) -> Result<Router, Failure> {
        Ok(reading(self.store.read_connection().await.map_err(failed("be reached"))?))
    }
}

fn reading<C: ConnectionLike + Clone + Send + Sync + 'static>(connection: C) -> Router {
    let read = move || {
        let mut connection = connection.clone();
        async move {
            let post: RedisResult<Vec<u8>> = connection.get(POST).await;
            post.map_err(|error| (StatusCode::BAD_GATEWAY, error.to_string()))
        }
    };
    Router::new().route("/", get(read))
}
