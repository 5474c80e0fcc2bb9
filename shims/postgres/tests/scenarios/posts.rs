//! A cluster with a table of posts, for the tests of this directory.

use std::ops::Deref;
use std::time::Duration;

use antipode_barrier::{Registry, Shards, Store, Verdict};
use antipode_docker::{PostgresNode, PostgresOptions, PostgresTopology};
use antipode_lineage::{Lineage, LineageScope, Position, Shard, WriteId};
use antipode_postgres::sqlx::postgres::PgPoolOptions;
use antipode_postgres::sqlx::{self, AssertSqlSafe, PgPool};
use antipode_postgres::{PostgresStore, PostgresStoreBuilder};
use tokio::sync::{Mutex, MutexGuard, OnceCell};

pub(crate) type Test<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Generous: what waits this long hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

static TOPOLOGY: OnceCell<PostgresTopology> = OnceCell::const_new();
static TURN: Mutex<()> = Mutex::const_new(());

/// The cluster that the tests of one binary share, for one of them at a time: positions say more when
/// nobody else writes.
pub(crate) struct Turn {
    topology: &'static PostgresTopology,
    _turn: MutexGuard<'static, ()>,
}

impl Deref for Turn {
    type Target = PostgresTopology;

    fn deref(&self) -> &PostgresTopology {
        self.topology
    }
}

pub(crate) async fn shared() -> Test<Turn> {
    let _turn = TURN.lock().await;
    let topology = TOPOLOGY.get_or_try_init(|| PostgresTopology::start(options())).await?;
    Ok(Turn { topology, _turn })
}

/// The WAL writer sleeps long, so that asynchronous commits stay unflushed.
pub(crate) fn options() -> PostgresOptions {
    PostgresOptions::default().setting("wal_writer_delay", "10s")
}

pub(crate) async fn pool(node: &PostgresNode) -> Test<PgPool> {
    Ok(PgPoolOptions::new().max_connections(4).acquire_timeout(PATIENCE).connect(&node.url()).await?)
}

/// The store of posts with both standbys.
pub(crate) async fn builder(topology: &PostgresTopology) -> Test<PostgresStoreBuilder> {
    let mut builder = PostgresStore::builder("posts").primary(pool(topology.primary()).await?);
    for (name, standby) in ["eu", "us"].into_iter().zip(topology.standbys()) {
        builder = builder.replica(name, pool(standby).await?);
    }
    Ok(builder.capture_limit(PATIENCE))
}

pub(crate) async fn posts(topology: &PostgresTopology) -> Test<(PostgresStore, Registry)> {
    let store = builder(topology).await?.build()?;
    Ok((store.clone(), registry(store).await?))
}

pub(crate) async fn registry(store: PostgresStore) -> Test<Registry> {
    Ok(Registry::builder().store(store).deadline(PATIENCE).build().await?)
}

/// A table of its own for a test, with lineage, on every server.
pub(crate) async fn table(store: &PostgresStore, registry: &Registry, name: &str) -> Test {
    let create = format!("CREATE TABLE {name} (id serial PRIMARY KEY, body text NOT NULL)");
    execute(store.inner(), &create).await?;
    store.migrate_table(name).await?;
    let latest = Lineage::from(WriteId::unplaced(store.name()));
    registry.barrier_on(&latest).await?;
    // A barrier is content with the first standby that has it.
    let made = lsn(store.inner(), "pg_current_wal_flush_lsn").await?;
    for standby in store.replicas() {
        let applied = async {
            while standby.probe(Shards::All).await?.get(Shard::ONLY).is_none_or(|it| it.position.0 < made) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Ok::<_, antipode_barrier::ProbeError>(())
        };
        tokio::time::timeout(PATIENCE, applied).await??;
    }
    Ok(())
}

pub(crate) async fn execute(pool: &PgPool, sql: &str) -> Test {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(pool).await?;
    Ok(())
}

/// One value, with the plain driver.
pub(crate) async fn value<T>(pool: &PgPool, sql: &str) -> Test<T>
where
    T: Send + Unpin + sqlx::Type<sqlx::Postgres> + for<'r> sqlx::Decode<'r, sqlx::Postgres>,
{
    Ok(sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_one(pool).await?)
}

/// A position that the server answers with.
pub(crate) async fn lsn(pool: &PgPool, function: &str) -> Test<u64> {
    let lsn: i64 = value(pool, &format!("SELECT ({function}() - '0/0')::int8")).await?;
    Ok(lsn.cast_unsigned())
}

/// The one write of the lineage.
pub(crate) fn only(lineage: &Lineage) -> WriteId {
    let [write] = lineage.writes() else { panic!("one write, not {lineage}") };
    assert!(!write.is_unplaced(), "the write has a place");
    *write
}

pub(crate) fn at(write: WriteId, position: u64) -> WriteId {
    WriteId { position: Position(position), ..write }
}

/// What is known of a write now.
pub(crate) async fn verdict(registry: &Registry, write: WriteId) -> Verdict {
    let lineage = Lineage::from(write);
    let dependencies = registry.barrier_on(&lineage).probe().await;
    dependencies.first().map_or(Verdict::Visible, |dependency| dependency.verdict)
}

/// Inserts a post in a transaction of its own; where that stands.
pub(crate) async fn insert(store: &PostgresStore, table: &str, body: &str) -> Test<WriteId> {
    let scope = LineageScope::new();
    let mut transaction = store.shim().within(scope.clone()).begin().await?;
    let sql = format!("INSERT INTO {table} (body) VALUES ($1)");
    sqlx::query(AssertSqlSafe(sql)).bind(body).execute(&mut transaction).await?;
    transaction.commit().await?;
    Ok(only(&scope.lineage()))
}

/// How many rows have this body, with the plain driver.
pub(crate) async fn count(pool: &PgPool, table: &str, body: &str) -> Test<i64> {
    value(pool, &format!("SELECT count(*) FROM {table} WHERE body = '{body}'")).await
}
