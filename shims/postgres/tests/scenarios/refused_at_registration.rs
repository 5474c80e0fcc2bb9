//! A store that cannot keep the promise as it is set up is refused, and told what to do.

use std::time::Duration;

use antipode_barrier::{OnMissing, Registry, RegistryError, Verdict};
use antipode_docker::{PostgresNode, PostgresOptions, PostgresTopology};
use antipode_lineage::{Lineage, LineageScope};
use antipode_postgres::sqlx::postgres::PgPoolOptions;
use antipode_postgres::sqlx::{self, PgPool};
use antipode_postgres::{PostgresError, PostgresStore};

use crate::posts::{self, Test, builder, execute, insert, pool, posts, registry, shared, table, verdict};

async fn pool_of(role: &str, node: &PostgresNode) -> Test<PgPool> {
    Ok(PgPool::connect(&node.url().replace("postgres@", &format!("{role}@"))).await?)
}

/// The text of the refusal.
async fn refusal(store: PostgresStore) -> String {
    match Registry::builder().store(store).build().await {
        Err(RegistryError::Refused(refused)) => refused.to_string(),
        Err(other) => panic!("refused for another reason: {other}"),
        Ok(_) => panic!("not refused"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_may_not_see_enough_is_told_the_grants() -> Test {
    let topology = shared().await?;
    let (store, all) = posts(&topology).await?;
    table(&store, &all, "granted").await?;
    execute(store.inner(), "CREATE ROLE app LOGIN; GRANT ALL ON granted, granted_id_seq TO app").await?;
    let as_app = async || -> Test<PostgresStore> {
        let store = PostgresStore::builder("posts").primary(pool_of("app", topology.primary()).await?);
        let standby = pool(topology.standby(0)).await?;
        Ok(store.replica("eu", standby).build()?)
    };
    let refused = refusal(as_app().await?).await;
    assert!(refused.contains("GRANT pg_monitor TO app"), "{refused}");

    execute(store.inner(), "GRANT pg_monitor TO app").await?;
    let refused = refusal(as_app().await?).await;
    let grant = "GRANT EXECUTE ON FUNCTION pg_read_file(text, bigint, bigint, boolean) TO app";
    assert!(refused.contains(grant), "{refused}");
    let without =
        PostgresStore::builder("posts").primary(pool_of("app", topology.primary()).await?).without_history();
    registry(without.build()?).await?;

    execute(store.inner(), grant).await?;
    let granted = as_app().await?;
    let registry = registry(granted.clone()).await?;
    let write = insert(&granted, "granted", "x").await?;
    registry.barrier_on(&Lineage::from(write)).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_history_a_failover_leaves_writes_indeterminate() -> Test {
    let topology = PostgresTopology::start(posts::options()).await?;
    let (store, all) = posts(&topology).await?;
    table(&store, &all, "unknown").await?;
    execute(store.inner(), "CREATE ROLE app LOGIN; GRANT pg_monitor TO app").await?;
    let write = insert(&store, "unknown", "kept").await?;
    all.barrier_on(&Lineage::from(write)).await?;
    let standby = pool(topology.standby(0)).await?;
    while posts::count(&standby, "unknown", "kept").await? == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    topology.primary().kill().await?;
    topology.promote(0).await?;
    let app = pool_of("app", topology.standby(0)).await?;
    let store = PostgresStore::builder("posts").primary(app).without_history().build()?;
    assert_eq!(verdict(&registry(store).await?, write).await, Verdict::Indeterminate);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_does_not_wait_for_flushes_is_refused() -> Test {
    let topology = shared().await?;
    let (store, _) = posts(&topology).await?;
    execute(store.inner(), "CREATE ROLE hasty LOGIN SUPERUSER").await?;
    execute(store.inner(), "ALTER ROLE hasty SET synchronous_commit = off").await?;
    let hasty = pool_of("hasty", topology.primary()).await?;
    let refused = refusal(PostgresStore::builder("posts").primary(hasty).build()?).await;
    assert!(refused.contains("synchronous_commit is off") && refused.contains("local"), "{refused}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_in_the_wrong_place_are_refused() -> Test {
    let topology = shared().await?;
    let primary = pool(topology.primary()).await?;
    let standby = pool(topology.standby(0)).await?;
    let refused = refusal(PostgresStore::builder("posts").primary(standby).build()?).await;
    assert!(refused.contains("is a standby"), "{refused}");

    let foreign = PostgresTopology::start(PostgresOptions::default().standbys(0)).await?;
    let foreign = pool(foreign.primary()).await?;
    let refused =
        refusal(PostgresStore::builder("posts").primary(primary.clone()).replica("eu", foreign).build()?)
            .await;
    assert!(refused.contains("replica eu is of another cluster"), "{refused}");

    // The primary itself, read from under another name, is always fresh.
    registry(PostgresStore::builder("posts").primary(primary.clone()).replica("eu", primary).build()?)
        .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_is_down_does_not_keep_a_service_from_starting() -> Test {
    let topology = shared().await?;
    let closed = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let gone = PgPoolOptions::new()
        .acquire_timeout(Duration::from_secs(1))
        .connect_lazy(&format!("postgres://postgres@{closed}/postgres"))?;
    let (plain, _) = posts(&topology).await?;
    let store = PostgresStore::builder("posts")
        .primary(pool(topology.primary()).await?)
        .replica("gone", gone.clone())
        .replica("eu", pool(topology.standby(0)).await?)
        .build()?;
    let registry = registry(store).await?;
    execute(plain.inner(), "CREATE TABLE started (body text)").await?;
    let write = insert(&plain, "started", "x").await?;
    let report = registry.barrier_on(&Lineage::from(write)).await?;
    assert_eq!(report.route("posts".parse()?), Some("eu".parse()?), "the one that answers");

    let refused = refusal(PostgresStore::builder("posts").primary(gone).build()?).await;
    assert!(refused.contains("primary could not be asked"), "{refused}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_checked_and_a_missing_lineage_is_refused_on_request() -> Test {
    let topology = shared().await?;
    let primary = pool(topology.primary()).await?;
    let named = |store: &str, replica: &str| {
        let builder = PostgresStore::builder(store).primary(primary.clone());
        builder.replica(replica, primary.clone()).replica("us", primary.clone()).build()
    };
    assert!(matches!(named("Posts", "eu"), Err(PostgresError::Name { .. })));
    assert!(matches!(named("posts", "E U"), Err(PostgresError::Name { .. })));
    for taken in ["us", "primary"] {
        assert!(matches!(named("posts", taken), Err(PostgresError::DuplicateReplica { .. })), "{taken}");
    }
    assert!(matches!(PostgresStore::builder("posts").build(), Err(PostgresError::NoPrimary { .. })));

    let strict = builder(&topology).await?.on_missing(OnMissing::Error).build()?;
    let select = || sqlx::query("SELECT 1");
    for error in [
        select().execute(&strict.shim()).await.expect_err("no lineage"),
        select().execute(&strict.reads()).await.expect_err("no lineage"),
    ] {
        assert!(error.to_string().contains("outside of a lineage"), "{error}");
    }
    assert!(matches!(strict.shim().begin().await, Err(PostgresError::MissingLineage(_))));
    assert!(matches!(strict.shim().lineage().await, Err(PostgresError::MissingLineage(_))));
    assert_eq!(strict.missed(), 4);
    select().execute(&strict.shim().within(LineageScope::new())).await?;
    LineageScope::new().run(async { select().execute(&strict.reads()).await }).await?;

    let lenient = builder(&topology).await?.build()?;
    select().execute(&lenient.shim()).await?;
    lenient.shim().begin().await?.commit().await?;
    assert_eq!(lenient.missed(), 2);
    Ok(())
}
