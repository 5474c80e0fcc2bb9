//! A cluster with a table of posts, for the tests of this directory.
#![allow(dead_code, reason = "each test binary uses some of it")]

use std::time::Duration;

use antipode_barrier::{Registry, Store, Verdict};
use antipode_docker::{PostgresNode, PostgresOptions, PostgresTopology};
use antipode_lineage::{Lineage, Position, WriteId};
use antipode_postgres::sqlx::postgres::PgPoolOptions;
use antipode_postgres::sqlx::{self, AssertSqlSafe, PgPool};
use antipode_postgres::{PostgresStore, PostgresStoreBuilder};
use tokio::sync::OnceCell;

pub type Test<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Generous: what waits this long hangs.
pub const PATIENCE: Duration = Duration::from_secs(30);

static TOPOLOGY: OnceCell<PostgresTopology> = OnceCell::const_new();

/// The cluster that the tests of one binary share. The WAL writer sleeps long, so that asynchronous
/// commits stay unflushed.
pub async fn shared() -> Test<&'static PostgresTopology> {
    Ok(TOPOLOGY.get_or_try_init(|| PostgresTopology::start(options())).await?)
}

pub fn options() -> PostgresOptions {
    PostgresOptions::default().setting("wal_writer_delay", "10s")
}

pub async fn pool(node: &PostgresNode) -> Test<PgPool> {
    Ok(PgPoolOptions::new().max_connections(4).acquire_timeout(PATIENCE).connect(&node.url()).await?)
}

/// The store of posts with both standbys.
pub async fn builder(topology: &PostgresTopology) -> Test<PostgresStoreBuilder> {
    let mut builder = PostgresStore::builder("posts").primary(pool(topology.primary()).await?);
    for (name, standby) in ["eu", "us"].into_iter().zip(topology.standbys()) {
        builder = builder.replica(name, pool(standby).await?);
    }
    Ok(builder.capture_limit(PATIENCE))
}

pub async fn posts(topology: &PostgresTopology) -> Test<(PostgresStore, Registry)> {
    let store = builder(topology).await?.build()?;
    Ok((store.clone(), registry(store).await?))
}

pub async fn registry(store: PostgresStore) -> Test<Registry> {
    Ok(Registry::builder().store(store).deadline(PATIENCE).build().await?)
}

/// A table of its own for a test, with lineage, on every server.
pub async fn table(store: &PostgresStore, registry: &Registry, name: &str) -> Test {
    let create = format!("CREATE TABLE {name} (id serial PRIMARY KEY, body text NOT NULL)");
    execute(store.inner(), &create).await?;
    store.migrate_table(name).await?;
    let latest = Lineage::from(WriteId::unplaced(store.name()));
    registry.barrier_on(&latest).await?;
    Ok(())
}

pub async fn execute(pool: &PgPool, sql: &str) -> Test {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(pool).await?;
    Ok(())
}

/// One value, with the plain driver.
pub async fn value<T>(pool: &PgPool, sql: &str) -> Test<T>
where
    T: Send + Unpin + sqlx::Type<sqlx::Postgres> + for<'r> sqlx::Decode<'r, sqlx::Postgres>,
{
    Ok(sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_one(pool).await?)
}

/// A position that the server answers with.
pub async fn lsn(pool: &PgPool, function: &str) -> Test<u64> {
    let lsn: i64 = value(pool, &format!("SELECT ({function}() - '0/0')::int8")).await?;
    Ok(lsn.cast_unsigned())
}

/// The one write of the lineage.
pub fn only(lineage: &Lineage) -> WriteId {
    let [write] = lineage.writes() else { panic!("one write, not {lineage}") };
    assert!(!write.is_unplaced(), "the write has a place");
    *write
}

pub fn at(write: WriteId, position: u64) -> WriteId {
    WriteId { position: Position(position), ..write }
}

/// What is known of a write now.
pub async fn verdict(registry: &Registry, write: WriteId) -> Verdict {
    let lineage = Lineage::from(write);
    let dependencies = registry.barrier_on(&lineage).probe().await;
    dependencies.first().map_or(Verdict::Visible, |dependency| dependency.verdict)
}

