//! A post in Postgres.

use antipode::lineage::{Lineage, LineageScope};
use antipode::postgres::PostgresStore;
use antipode::prelude::Registry;
use antipode_docker::{PostgresOptions, PostgresTopology, Proxy};
use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use sqlx::PgPool;

use super::{AFAR, BODY, Case, apps, of_four_stores};
use crate::Failure;
use crate::servers::postgres::{failed, pool, version};
use crate::servers::reached;

const TABLE: &str = "CREATE TABLE posts (id int PRIMARY KEY, body bytea NOT NULL)";
const INSERT: &str = "INSERT INTO posts (id, body) VALUES (1, $1)";
const SELECT: &str = "SELECT body FROM posts WHERE id = $1";

/// A primary and a standby that shows the post.
pub(super) struct PostgresPost {
    registry: Registry,
    lineage: Lineage,
    /// The driver's, to the standby.
    raw: PgPool,
    /// The same from [`AFAR`].
    afar: PgPool,
    pub(super) version: String,
    _way: Option<Proxy>,
    _servers: PostgresTopology,
}

impl PostgresPost {
    pub(super) async fn start() -> Result<Self, Failure> {
        let servers = PostgresTopology::start(PostgresOptions::default().standbys(1)).await?;
        let (primary, raw) = (pool(&servers.primary().url()).await?, pool(&servers.standby(0).url()).await?);
        sqlx::raw_sql(TABLE).execute(&primary).await.map_err(failed("make the table"))?;
        let version = version(&primary).await?;
        let store = PostgresStore::builder("posts").primary(primary).replica("eu", raw.clone());
        let store = store.build().map_err(failed("be opened"))?;
        store.migrate_table("posts").await.map_err(failed("migrate the table"))?;
        let registry = Registry::builder().store(store.clone()).build().await?;
        let scope = LineageScope::new();
        let write = async { sqlx::query(INSERT).bind(vec![b'x'; BODY]).execute(&store.shim()).await };
        scope.run(write).await.map_err(failed("be written to"))?;
        let lineage = of_four_stores(scope, &registry).await?;
        let standby = servers.standby(0);
        let (afar, way) = reached((standby, standby.url()), AFAR).await?;
        let afar = pool(&afar).await?;
        Ok(Self { registry, lineage, raw, afar, version, _way: way, _servers: servers })
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
}

fn reading(pool: PgPool) -> Router {
    let read = move || {
        let pool = pool.clone();
        async move {
            let post = sqlx::query_scalar::<_, Vec<u8>>(SELECT).bind(1).fetch_one(&pool).await;
            post.map_err(|error| (StatusCode::BAD_GATEWAY, error.to_string()))
        }
    };
    Router::new().route("/", get(read))
}
