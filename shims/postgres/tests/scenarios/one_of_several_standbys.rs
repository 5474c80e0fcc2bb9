//! A region reads from three standbys, one of them behind another. The barrier takes whichever is fresh, and
//! the reads of its scope follow it there.

use std::time::Duration;

use antipode_barrier::{OnTimeout, Registry, Store};
use antipode_docker::{Member, PostgresTopology};
use antipode_lineage::{Lineage, LineageScope, WriteId};
use antipode_postgres::PostgresStore;
use antipode_postgres::sqlx::{self, AssertSqlSafe};

use crate::posts::{self, PATIENCE, Test, count, options, pool, registry, table};

const NAMES: [&str; 3] = ["near", "far", "behind"];

/// A primary and three standbys, the last of which follows the first.
struct Region {
    topology: PostgresTopology,
    store: PostgresStore,
    registry: Registry,
}

impl Region {
    async fn start() -> Test<Self> {
        let topology = PostgresTopology::start(options().standbys(3)).await?;
        topology.follow(2, Member::Replica(0)).await?;
        let mut builder = PostgresStore::builder("posts").primary(pool(topology.primary()).await?);
        for (name, standby) in NAMES.into_iter().zip(topology.standbys()) {
            builder = builder.replica(name, pool(standby).await?);
        }
        let store = builder.capture_limit(PATIENCE).build()?;
        let registry = registry(store.clone()).await?;
        table(&store, &registry, "several").await?;
        for (index, name) in NAMES.into_iter().enumerate() {
            // Each has the table before any is cut off.
            let alone = PostgresStore::builder("posts").primary(store.inner().clone());
            let alone = alone.replica(name, pool(topology.standby(index)).await?).build()?;
            let latest = Lineage::from(WriteId::unplaced(alone.name()));
            posts::registry(alone).await?.barrier_on(&latest).await?;
        }
        Ok(Self { topology, store, registry })
    }

    /// Cuts these standbys' links, and no other's. What `near` does not get, `behind` does not either.
    fn cut(&self, stale: &[usize]) {
        for standby in 0..NAMES.len() {
            let link = self.topology.link(standby);
            if stale.contains(&standby) { link.cut() } else { link.heal() }
        }
    }

    /// Writes a post and waits for it; how many rows a read in the same scope finds.
    async fn write_and_read(&self, scope: &LineageScope, body: &str) -> Test<i64> {
        let mut transaction = self.store.shim().within(scope.clone()).begin().await?;
        execute_in(&mut transaction, &format!("INSERT INTO several (body) VALUES ('{body}')")).await?;
        transaction.commit().await?;
        scope.run(async { self.registry.barrier().await }).await?;
        self.read(scope, body).await
    }

    async fn read(&self, scope: &LineageScope, body: &str) -> Test<i64> {
        let sql = format!("SELECT count(*) FROM several WHERE body = '{body}'");
        let reads = self.store.reads().within(scope.clone());
        Ok(sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&reads).await?)
    }

    fn route(&self, scope: &LineageScope) -> Option<String> {
        Some(scope.route(self.store.name())?.to_string())
    }
}

async fn execute_in(transaction: &mut antipode_postgres::PostgresTransaction, sql: &str) -> Test {
    sqlx::query(AssertSqlSafe(sql.to_owned())).execute(transaction).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn whichever_standby_is_fresh_serves_the_reads() -> Test {
    let region = Region::start().await?;
    for (turn, (fresh, name, stale)) in
        [(1, "far", &[0][..]), (0, "near", &[1, 2]), (1, "far", &[0])].into_iter().enumerate()
    {
        region.cut(stale);
        let scope = LineageScope::new();
        let body = format!("{name} alone in turn {turn}");
        assert_eq!(region.write_and_read(&scope, &body).await?, 1, "{name} alone is fresh");
        assert_eq!(region.route(&scope).as_deref(), Some(name));
        let stale = pool(region.topology.standby(1 - fresh)).await?;
        assert_eq!(count(&stale, "several", &body).await?, 0, "the other one lacks it");
    }
    Ok(())
}

/// The log of a cascading standby comes through another standby; it counts the same positions.
#[tokio::test(flavor = "multi_thread")]
async fn a_standby_behind_a_standby_counts_as_well() -> Test {
    let region = Region::start().await?;
    let cascade = PostgresStore::builder("posts")
        .primary(pool(region.topology.primary()).await?)
        .replica("behind", pool(region.topology.standby(2)).await?)
        .capture_limit(PATIENCE)
        .build()?;
    let registry = registry(cascade.clone()).await?;
    let scope = LineageScope::new();
    region.topology.link(2).hang();
    assert_eq!(region.write_and_read(&scope, "cascaded").await?, 1);
    let behind = pool(region.topology.standby(2)).await?;
    assert_eq!(count(&behind, "several", "cascaded").await?, 0, "held back on its second way");

    let waiting = tokio::spawn({
        let (registry, scope) = (registry.clone(), scope.clone());
        async move { scope.run(async { registry.barrier().await }).await }
    });
    region.topology.link(2).heal();
    let report = waiting.await??;
    assert_eq!(report.route(cascade.name()).map(|route| route.to_string()).as_deref(), Some("behind"));
    assert_eq!(count(&behind, "several", "cascaded").await?, 1);
    Ok(())
}

/// The last fresh standby goes away after the barrier chose it: the next barrier chooses another one.
#[tokio::test(flavor = "multi_thread")]
async fn a_route_to_a_standby_that_is_gone_is_replaced_by_the_next_barrier() -> Test {
    let region = Region::start().await?;
    region.cut(&[0]);
    let scope = LineageScope::new();
    assert_eq!(region.write_and_read(&scope, "moved").await?, 1);
    assert_eq!(region.route(&scope).as_deref(), Some("far"));

    region.topology.standby(1).stop().await?;
    region.cut(&[]);
    assert!(region.read(&scope, "moved").await.is_err(), "reads are not sent to where nothing was proven");
    scope.run(async { region.registry.barrier().deadline(PATIENCE).await }).await?;
    assert!(matches!(region.route(&scope).as_deref(), Some("near" | "behind")));
    assert_eq!(region.read(&scope, "moved").await?, 1);
    Ok(())
}

/// No standby is fresh, and the caller would rather read from the primary.
#[tokio::test(flavor = "multi_thread")]
async fn when_all_standbys_lag_the_primary_serves_the_reads() -> Test {
    let region = Region::start().await?;
    region.cut(&[0, 1, 2]);
    let scope = LineageScope::new();
    let mut transaction = region.store.shim().within(scope.clone()).begin().await?;
    execute_in(&mut transaction, "INSERT INTO several (body) VALUES ('unseen')").await?;
    transaction.commit().await?;
    let barrier = region.registry.barrier().deadline(Duration::from_millis(300));
    scope.run(async { barrier.on_timeout(OnTimeout::Primary).await }).await?;
    assert_eq!(region.route(&scope).as_deref(), Some("primary"));
    assert_eq!(region.read(&scope, "unseen").await?, 1);
    Ok(())
}
