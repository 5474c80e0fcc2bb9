//! Single statements return at once; what is learnt beside the request is never less than happened.

use std::time::Duration;

use antipode_barrier::Verdict;
use antipode_docker::Proxy;
use antipode_lineage::{Lineage, LineageScope, WriteId};
use antipode_postgres::PostgresStore;
use antipode_postgres::sqlx::{self, PgPool, postgres::PgPoolOptions};
use futures_util::TryStreamExt;

use crate::posts::{
    self, PATIENCE, Test, count, insert, lsn, only, pool, posts, registry, shared, table, value, verdict,
};

fn has_unplaced(lineage: &Lineage) -> bool {
    lineage.writes().iter().any(WriteId::is_unplaced)
}

fn unplaced() -> Lineage {
    WriteId::unplaced("posts".parse().expect("a name")).into()
}

/// A pool that reaches the server through a proxy.
async fn through(proxy: &Proxy, connections: u32) -> Test<PgPool> {
    let url = format!("postgres://postgres@{}/postgres", proxy.addr());
    let options = PgPoolOptions::new().max_connections(connections).acquire_timeout(PATIENCE);
    Ok(options.test_before_acquire(false).connect(&url).await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_returns_before_its_position_is_known() -> Test {
    let topology = shared().await?;
    let (plain, plain_registry) = posts(&topology).await?;
    table(&plain, &plain_registry, "deferred").await?;
    let proxy = Proxy::start(topology.primary().addr()).await?;
    let store =
        PostgresStore::builder("posts").primary(through(&proxy, 4).await?).capture_limit(PATIENCE).build()?;
    let registry = registry(store.clone()).await?;
    let scope = LineageScope::new();
    let shim = store.shim().within(scope.clone());
    sqlx::query("INSERT INTO deferred (body) VALUES ('warm')").execute(&shim).await?;
    scope.settled().await;

    // The answer to the statement still comes through, the one to the capture does not.
    proxy.set_delay_to_client(Duration::from_millis(30));
    sqlx::query("INSERT INTO deferred (body) VALUES ('x')").execute(&shim).await?;
    proxy.hang();
    assert!(scope.try_settled().is_none(), "still under way");
    assert!(has_unplaced(&scope.lineage()), "counts as a write somewhere");
    proxy.heal();
    proxy.set_delay_to_client(Duration::ZERO);
    let write = only(&scope.settled().await);
    assert_eq!(verdict(&registry, write).await, Verdict::Visible);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_only_writes_learns_the_history_as_well() -> Test {
    let topology = shared().await?;
    let (plain, plain_registry) = posts(&topology).await?;
    table(&plain, &plain_registry, "only_written").await?;
    // Never registered: no probe asks on its behalf.
    let store = PostgresStore::builder("posts").primary(plain.inner().clone()).build()?;
    for _ in 0..1000 {
        let scope = LineageScope::new();
        let shim = store.shim().within(scope.clone());
        sqlx::query("INSERT INTO only_written (body) VALUES ('x')").execute(&shim).await?;
        let early = scope.lineage();
        let knows = |write: &WriteId| write.is_unplaced() && *write != WriteId::unplaced(write.store);
        if early.writes().iter().any(knows) {
            return Ok(());
        }
        scope.settled().await;
    }
    panic!("a capture under way still stands for a write of no history");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_capture_that_fails_leaves_an_unplaced_write() -> Test {
    let topology = shared().await?;
    let (plain, plain_registry) = posts(&topology).await?;
    table(&plain, &plain_registry, "uncaptured").await?;
    let proxy = Proxy::start(topology.primary().addr()).await?;
    let store = PostgresStore::builder("posts")
        .primary(through(&proxy, 4).await?)
        .capture_limit(Duration::from_millis(200))
        .build()?;
    let scope = LineageScope::new();
    let shim = store.shim().within(scope.clone());
    proxy.set_delay_to_client(Duration::from_millis(30));
    sqlx::query("INSERT INTO uncaptured (body) VALUES ('x')").execute(&shim).await?;
    proxy.hang();
    assert!(has_unplaced(&scope.settled().await), "at the limit");
    // A barrier on it waits for all that the primary holds.
    plain_registry.barrier_on(&scope.lineage()).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_statement_adds_nothing_and_an_interrupted_one_counts() -> Test {
    let topology = shared().await?;
    let (plain, plain_registry) = posts(&topology).await?;
    table(&plain, &plain_registry, "interrupted").await?;
    let proxy = Proxy::start(topology.primary().addr()).await?;
    let store =
        PostgresStore::builder("posts").primary(through(&proxy, 2).await?).capture_limit(PATIENCE).build()?;
    let scope = LineageScope::new();
    let shim = store.shim().within(scope.clone());
    sqlx::query("INSERT INTO interrupted (body) VALUES (NULL)").execute(&shim).await.expect_err("not null");
    sqlx::query("INSERT INTO nowhere VALUES (1)").execute(&shim).await.expect_err("no such table");
    assert!(scope.settled().await.is_empty());

    // The answer is on its way when the user gives up: the write is captured all the same.
    while store.inner().num_idle() == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    proxy.set_delay_to_client(Duration::from_millis(300));
    let insert = sqlx::query("INSERT INTO interrupted (body) VALUES ('given up')").execute(&shim);
    tokio::time::timeout(Duration::from_millis(100), insert).await.expect_err("given up");
    proxy.set_delay_to_client(Duration::ZERO);
    let write = only(&scope.settled().await);
    if count(plain.inner(), "interrupted", "given up").await? == 1 {
        assert_eq!(verdict(&plain_registry, write).await, Verdict::Visible);
        assert!(write.position.0 <= lsn(plain.inner(), "pg_current_wal_flush_lsn").await?);
    }

    // The connection breaks before the answer.
    let scope = LineageScope::new();
    let shim = store.shim().within(scope.clone());
    sqlx::query("INSERT INTO interrupted (body) VALUES ('y')").execute(&shim).await?;
    scope.settled().await;
    let slow = sqlx::query("INSERT INTO interrupted (body) SELECT 'z' FROM pg_sleep(0.3)");
    let broken = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        proxy.reset();
    };
    let (outcome, ()) = futures_util::future::join(slow.execute(&shim), broken).await;
    outcome.expect_err("no answer");
    assert!(has_unplaced(&scope.settled().await), "it may have happened");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_left_half_way_is_still_a_read() -> Test {
    let topology = shared().await?;
    let (store, registry) = posts(&topology).await?;
    table(&store, &registry, "half").await?;
    let first = insert(&store, "half", "x").await?;
    sqlx::query("INSERT INTO half (body) SELECT 'x' FROM generate_series(1, 1000)")
        .execute(store.inner())
        .await?;
    registry.barrier_on(&unplaced()).await?;
    let latest = insert(&store, "half", "last").await?;
    registry.barrier_on(&Lineage::from(latest)).await?;
    for reads in [true, false] {
        let scope = LineageScope::new();
        scope.set_route("posts".parse()?, "primary".parse()?);
        let sql = sqlx::query("SELECT * FROM half");
        let (reader, writer) = (store.reads().within(scope.clone()), store.shim().within(scope.clone()));
        let mut rows = if reads { sql.fetch(&reader) } else { sql.fetch(&writer) };
        assert!(rows.try_next().await?.is_some());
        drop(rows);
        let lineage = scope.settled().await;
        assert!(lineage.covers_write(&first) && lineage.covers_write(&latest), "{lineage}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn barriers_and_captures_work_with_the_pools_exhausted() -> Test {
    let topology = shared().await?;
    let (plain, plain_registry) = posts(&topology).await?;
    table(&plain, &plain_registry, "exhausted").await?;
    let single = async |node| -> Test<PgPool> {
        let options = PgPoolOptions::new().max_connections(1).acquire_timeout(PATIENCE);
        Ok(options.connect(&antipode_docker::PostgresNode::url(node)).await?)
    };
    let store = PostgresStore::builder("posts")
        .primary(single(topology.primary()).await?)
        .replica("eu", single(topology.standby(0)).await?)
        .capture_limit(PATIENCE)
        .build()?;
    let registry = registry(store.clone()).await?;
    let scope = LineageScope::new();
    sqlx::query("INSERT INTO exhausted (body) VALUES ('x')")
        .execute(&store.shim().within(scope.clone()))
        .await?;
    // Every connection is taken while the position is learnt and the barrier waits.
    let primary = store.inner().acquire().await?;
    let standby = store.reads().inner().acquire().await?;
    let report = scope.run(async { registry.barrier().await }).await?;
    assert_eq!(report.route("posts".parse()?), Some("eu".parse()?));
    drop((primary, standby));
    let rows = sqlx::query("SELECT * FROM exhausted").fetch_all(&store.reads().within(scope.clone())).await?;
    assert_eq!(rows.len(), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_that_compete_for_connections_share_their_captures() -> Test {
    let topology = shared().await?;
    let (plain, plain_registry) = posts(&topology).await?;
    table(&plain, &plain_registry, "crowd").await?;
    let options = PgPoolOptions::new().max_connections(2).acquire_timeout(PATIENCE);
    let store = PostgresStore::builder("posts")
        .primary(options.connect(&topology.primary().url()).await?)
        .replica("eu", pool(topology.standby(0)).await?)
        .capture_limit(PATIENCE)
        .build()?;
    let registry = registry(store.clone()).await?;
    let writes = (0..100).map(async |at| -> Test {
        let scope = LineageScope::new();
        let insert = sqlx::query("INSERT INTO crowd (body) VALUES ($1)").bind(format!("post {at}"));
        insert.execute(&store.shim().within(scope.clone())).await?;
        let write = only(&scope.settled().await);
        registry.barrier_on(&Lineage::from(write)).await?;
        let standby = store.reads().inner().clone();
        assert_eq!(count(&standby, "crowd", &format!("post {at}")).await?, 1);
        Ok(())
    });
    futures_util::future::try_join_all(writes).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_ends_with_a_capture_under_way_harms_no_other() -> Test {
    let topology = shared().await?;
    let (store, registry) = posts(&topology).await?;
    table(&store, &registry, "ended").await?;
    let of_ours = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'";
    insert(&store, "ended", "x").await?;
    for _ in 0..50 {
        let scope = LineageScope::new();
        sqlx::query("SELECT * FROM ended").fetch_all(&store.reads().within(scope.clone())).await?;
        sqlx::query("INSERT INTO ended (body) VALUES ('y')").execute(&store.shim().within(scope)).await?;
    }
    let standby = pool(topology.standby(0)).await?;
    let connections: i64 = value(&standby, of_ours).await?;
    assert!(connections < 20, "{connections} connections were left behind");
    let write = insert(&store, "ended", "last").await?;
    registry.barrier_on(&Lineage::from(write)).await?;
    Ok(())
}

/// The link to the replica is half-open for good; only a new connection gets through.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_does_not_answer_is_not_waited_for_again() -> Test {
    let topology = shared().await?;
    let silent = Proxy::start(topology.standby(0).addr()).await?;
    let replica = through(&silent, 2).await?;
    let store = PostgresStore::builder("posts")
        .primary(pool(topology.primary()).await?)
        .replica("eu", replica.clone())
        .build()?;
    let registry = registry(store).await?;
    registry.barrier_on(&unplaced()).await?;
    silent.hang();
    replica.set_connect_options(topology.standby(0).url().parse()?);
    posts::execute(&pool(topology.primary()).await?, "SELECT pg_logical_emit_message(true, '', '')").await?;
    // Less than the connection itself is given to answer.
    registry.barrier_on(&unplaced()).deadline(Duration::from_secs(8)).await?;
    Ok(())
}

/// A standby that has received a record and not applied it yet may show what it does already.
#[tokio::test(flavor = "multi_thread")]
async fn a_witness_covers_a_record_that_is_being_applied() -> Test {
    let topology = shared().await?;
    let (store, registry) = posts(&topology).await?;
    table(&store, &registry, "applying").await?;
    let standby = pool(topology.standby(0)).await?;
    posts::execute(&standby, "SELECT pg_wal_replay_pause()").await?;
    let write = insert(&store, "applying", "x").await?;
    while lsn(&standby, "pg_last_wal_receive_lsn").await? < write.position.0 {}
    let replayed = lsn(&standby, "pg_last_wal_replay_lsn").await?;
    let scope = LineageScope::new();
    scope.set_route("posts".parse()?, "eu".parse()?);
    sqlx::query("SELECT * FROM applying").fetch_all(&store.reads().within(scope.clone())).await?;
    let witness = only(&scope.settled().await);
    assert!(witness.position.0 > replayed && witness.position <= write.position, "{witness}");
    posts::execute(&standby, "SELECT pg_wal_replay_resume()").await?;
    // And it is reached.
    registry.barrier_on(&Lineage::from(witness)).await?;
    Ok(())
}
