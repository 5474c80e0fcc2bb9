//! The four ways to capture a position that does not cover the commit, or is never reached.

use std::time::Duration;

use antipode_lineage::{Lineage, LineageScope, WriteId};
use antipode_postgres::PostgresStore;
use antipode_postgres::sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use antipode_postgres::sqlx::{self, AssertSqlSafe, Connection, PgConnection, Row};

use crate::posts::{PATIENCE, Test, execute, lsn, only, pool, posts, registry, shared, table, value};

const PAGE: u64 = 8192;

async fn insert_lsn(connection: &mut PgConnection) -> Test<u64> {
    let sql = "SELECT (pg_current_wal_insert_lsn() - '0/0')::int8 AS lsn";
    let row = sqlx::raw_sql(sql).fetch_one(connection).await?;
    Ok(row.try_get::<i64, _>("lsn")?.cast_unsigned())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_position_is_that_of_the_commit_not_of_the_statements() -> Test {
    let topology = shared().await?;
    let (store, registry) = posts(&topology).await?;
    table(&store, &registry, "commits").await?;
    for _ in 0..20 {
        let scope = LineageScope::new();
        let mut transaction = store.shim().within(scope.clone()).begin().await?;
        sqlx::query("INSERT INTO commits (body) VALUES ('x')").execute(&mut transaction).await?;
        let before = insert_lsn(transaction.inner()).await?;
        transaction.commit().await?;
        let captured = only(&scope.lineage()).position.0;
        assert!(captured > before, "{captured} covers the commit record, which comes after {before}");

        let before = lsn(store.inner(), "pg_current_wal_insert_lsn").await?;
        let scope = LineageScope::new();
        let insert = sqlx::query("INSERT INTO commits (body) VALUES ('y')");
        insert.execute(&store.shim().within(scope.clone())).await?;
        assert!(only(&scope.settled().await).position.0 > before);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_its_barrier_every_commit_shows_on_the_standbys() -> Test {
    let topology = shared().await?;
    let (store, registry) = posts(&topology).await?;
    table(&store, &registry, "shows").await?;
    let standbys = [pool(topology.standby(0)).await?, pool(topology.standby(1)).await?];
    for round in 0..60 {
        let scope = LineageScope::new();
        let shim = store.shim().within(scope.clone());
        let body = format!("post {round}");
        let insert = sqlx::query("INSERT INTO shows (body) VALUES ($1)").bind(&body);
        if round % 2 == 0 {
            let mut transaction = shim.begin().await?;
            insert.execute(&mut transaction).await?;
            transaction.commit().await?;
        } else {
            insert.execute(&shim).await?;
        }
        let report = scope.run(async { registry.barrier().await }).await?;
        let at = report.route(store_name()).expect("a route");
        let standby = if at.as_str() == "eu" { &standbys[0] } else { &standbys[1] };
        let sql = format!("SELECT count(*) FROM shows WHERE body = '{body}'");
        assert_eq!(value::<i64>(standby, &sql).await?, 1, "{body} at {at}");
        assert!(!scope.lineage().is_weak());
    }
    Ok(())
}

fn store_name() -> antipode_lineage::StoreName {
    "posts".parse().expect("a name")
}

/// An idle primary whose log ends on a page boundary: nobody flushes past it.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_ends_on_a_page_boundary_is_moved_on() -> Test {
    let topology = shared().await?;
    let (store, registry) = posts(&topology).await?;
    table(&store, &registry, "boundaries").await?;
    let mut met = 0;
    for _ in 0..200 {
        let scope = LineageScope::new();
        let mut transaction = store.shim().within(scope.clone()).begin().await?;
        sqlx::query("INSERT INTO boundaries (body) VALUES ('x')").execute(&mut transaction).await?;
        let end = pad_to_boundary(transaction.inner()).await?;
        transaction.commit().await?;
        let captured = only(&scope.lineage());
        assert_ne!(captured.position.0 % PAGE, 0, "captured on a boundary");
        registry.barrier_on(&Lineage::from(captured)).await?;
        // Others write now and then; only where nobody did was the boundary met.
        met += u32::from(end.is_some_and(|end| captured.position.0 > end && captured.position.0 < end + 400));
        if met == 3 {
            return Ok(());
        }
    }
    panic!("met no page boundary");
}

/// Somebody else's commit ends there.
async fn end_on_boundary(primary: &sqlx::PgPool) -> Test<u64> {
    for _ in 0..100 {
        let mut transaction = primary.begin().await?;
        pad_to_boundary(&mut transaction).await?;
        transaction.commit().await?;
        let end = lsn(primary, "pg_current_wal_flush_lsn").await?;
        if end % PAGE == 0 {
            return Ok(end);
        }
    }
    panic!("met no page boundary");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_of_a_log_that_ends_on_a_page_boundary_moves_it_on() -> Test {
    let topology = shared().await?;
    let (store, registry) = posts(&topology).await?;
    for by_reads in [false, true] {
        let end = end_on_boundary(store.inner()).await?;
        let scope = LineageScope::new();
        scope.set_route(store_name(), "primary".parse()?);
        let select = sqlx::query("SELECT 1");
        if by_reads {
            select.execute(&store.reads().within(scope.clone())).await?;
        } else {
            select.execute(&store.shim().within(scope.clone())).await?;
        }
        let witness = only(&scope.settled().await);
        assert!(witness.position.0 > end, "by reads: {by_reads}");
        registry.barrier_on(&Lineage::from(witness)).await?;
    }

    // All that the primary has, when its log ends there, is something that a standby reaches.
    end_on_boundary(store.inner()).await?;
    registry.barrier_on(&WriteId::unplaced(store_name()).into()).await?;

    // A standby that has received up to there may wait for the rest of a record.
    let standby = pool(topology.standby(0)).await?;
    execute(&standby, "SELECT pg_wal_replay_pause()").await?;
    let end = end_on_boundary(store.inner()).await?;
    while lsn(&standby, "pg_last_wal_receive_lsn").await? < end {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let scope = LineageScope::new();
    scope.set_route(store_name(), "eu".parse()?);
    sqlx::query("SELECT 1").execute(&store.reads().within(scope.clone())).await?;
    only(&scope.settled().await);
    assert!(lsn(store.inner(), "pg_current_wal_flush_lsn").await? > end, "the primary finished it");
    execute(&standby, "SELECT pg_wal_replay_resume()").await?;
    Ok(())
}

/// Pads the log so that the commit's record ends on a page boundary; says where.
async fn pad_to_boundary(connection: &mut PgConnection) -> Test<Option<u64>> {
    /// The size of a commit record, and of a message's record without its content.
    const COMMIT: u64 = 40;
    let mut overhead = 64;
    for _ in 0..50 {
        let here = insert_lsn(&mut *connection).await?;
        let rest = (2 * PAGE - here % PAGE - COMMIT) % PAGE;
        if rest == 0 {
            return Ok(Some(here + COMMIT));
        }
        let content = if rest > overhead + 8 { rest - overhead } else { rest + PAGE / 2 };
        let message = format!("SELECT pg_logical_emit_message(true, 'pad', repeat('x', {content}))::text");
        sqlx::raw_sql(AssertSqlSafe(message)).execute(&mut *connection).await?;
        let written = insert_lsn(&mut *connection).await? - here;
        if content + overhead == rest && written != rest {
            overhead = (overhead + written).saturating_sub(rest).clamp(8, 256);
        }
    }
    Ok(None)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_commits_durably_even_where_that_was_turned_off() -> Test {
    let topology = shared().await?;
    let (store, registry) = posts(&topology).await?;
    table(&store, &registry, "durable").await?;
    let scope = LineageScope::new();
    let mut transaction = store.shim().within(scope.clone()).begin().await?;
    sqlx::query("SET LOCAL synchronous_commit = off").execute(&mut transaction).await?;
    sqlx::query("INSERT INTO durable (body) VALUES ('x')").execute(&mut transaction).await?;
    let before = insert_lsn(transaction.inner()).await?;
    transaction.commit().await?;
    let captured = only(&scope.lineage());
    assert!(captured.position.0 > before, "flushed with the commit");
    assert!(!scope.lineage().is_weak());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_does_not_wait_for_flushes_is_weak_but_covered() -> Test {
    let topology = shared().await?;
    let (store, registry_) = posts(&topology).await?;
    table(&store, &registry_, "hasty").await?;
    let hasty: PgConnectOptions = topology.primary().url().parse()?;
    let hasty = hasty.options([("synchronous_commit", "off")]);
    let hasty = PgPoolOptions::new().max_connections(4).connect_with(hasty).await?;
    let store = PostgresStore::builder("posts")
        .primary(hasty)
        .replica("eu", pool(topology.standby(0)).await?)
        .capture_limit(PATIENCE)
        .build()?;
    let refused = registry(store.clone()).await.expect_err("refused");
    assert!(refused.to_string().contains("synchronous_commit"), "{refused}");

    let scope = LineageScope::new();
    let insert = sqlx::query("INSERT INTO hasty (body) VALUES ('x')");
    insert.execute(&store.shim().within(scope.clone())).await?;
    let before = lsn(store.inner(), "pg_current_wal_insert_lsn").await?;
    let lineage = scope.settled().await;
    assert!(only(&lineage).position.0 >= before, "everything so far was flushed before the capture");
    assert!(lineage.is_weak(), "the acknowledgement came before the flush");

    // What others committed so shows before it is flushed, too.
    execute(store.inner(), "INSERT INTO hasty (body) VALUES ('of a legacy program')").await?;
    let before = lsn(store.inner(), "pg_current_wal_insert_lsn").await?;
    assert!(lsn(store.inner(), "pg_current_wal_flush_lsn").await? < before, "not flushed");
    let scope = LineageScope::new();
    scope.set_route(store_name(), "primary".parse()?);
    sqlx::query("SELECT * FROM hasty").fetch_all(&store.reads().within(scope.clone())).await?;
    let lineage = scope.settled().await;
    assert!(only(&lineage).position.0 >= before && lineage.is_weak(), "{lineage}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_of_a_failed_transaction_is_an_error() -> Test {
    let topology = shared().await?;
    let (store, registry) = posts(&topology).await?;
    table(&store, &registry, "failed").await?;
    let scope = LineageScope::new();
    let shim = store.shim().within(scope.clone());
    let mut transaction = shim.begin().await?;
    sqlx::query("INSERT INTO failed (body) VALUES ('x')").execute(&mut transaction).await?;
    sqlx::query("SELECT 1 / 0").execute(&mut transaction).await.expect_err("division by zero");
    let error = transaction.commit().await.expect_err("nothing was committed");
    assert!(error.is_aborted(), "{error}");

    let mut transaction = shim.begin().await?;
    let constraint = "ALTER TABLE failed ADD UNIQUE (body) DEFERRABLE INITIALLY DEFERRED";
    sqlx::query(constraint).execute(&mut transaction).await?;
    let twice = "INSERT INTO failed (body) VALUES ('twice'), ('twice')";
    sqlx::query(twice).execute(&mut transaction).await?;
    let error = transaction.commit().await.expect_err("the constraint is checked at the commit");
    assert!(!error.is_aborted() && !error.is_unknown_outcome(), "{error}");

    assert!(scope.settled().await.is_empty(), "what did not happen is not depended on");
    assert_eq!(value::<i64>(store.inner(), "SELECT count(*) FROM failed").await?, 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolled_back_or_dropped_transaction_adds_no_write() -> Test {
    let topology = shared().await?;
    let (store, registry) = posts(&topology).await?;
    table(&store, &registry, "dropped").await?;
    let scope = LineageScope::new();
    let shim = store.shim().within(scope.clone());
    // As many as the pool has connections, twice: each comes back without the transaction.
    for round in 0..8 {
        let mut transaction = shim.begin().await?;
        sqlx::query("INSERT INTO dropped (body) VALUES ('x')").execute(&mut transaction).await?;
        if round % 2 == 0 {
            transaction.rollback().await?;
        }
    }
    assert!(scope.settled().await.is_empty());
    assert_eq!(value::<i64>(store.inner(), "SELECT count(*) FROM dropped").await?, 0);

    let mut transaction = shim.begin().await?;
    sqlx::query("SELECT count(*) FROM dropped").fetch_one(&mut transaction).await?;
    drop(transaction);
    only(&scope.settled().await);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_comes_back_outside_of_a_transaction_and_without_warnings() -> Test {
    let topology = shared().await?;
    let (plain, registry) = posts(&topology).await?;
    table(&plain, &registry, "clean").await?;
    let single = PgPoolOptions::new().max_connections(1).connect(&topology.primary().url()).await?;
    let store = PostgresStore::builder("posts").primary(single).build()?;
    let scope = LineageScope::new();
    for _ in 0..8 {
        let mut transaction = store.shim().within(scope.clone()).begin().await?;
        sqlx::query("INSERT INTO clean (body) VALUES ('x')").execute(&mut transaction).await?;
        transaction.commit().await?;
        let mut connection = store.inner().acquire().await?;
        let plain = connection.begin().await?;
        plain.commit().await?;
    }
    let process: i32 = value(store.inner(), "SELECT pg_backend_pid()").await?;
    let log = topology.primary().log();
    assert!(!log.contains(&format!("[{process}] WARNING")), "{log}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_forgot_what_its_positions_belong_to_learns_it_again() -> Test {
    let topology = shared().await?;
    let (plain, registry) = posts(&topology).await?;
    table(&plain, &registry, "reset").await?;
    let single = PgPoolOptions::new().max_connections(1).connect(&topology.primary().url()).await?;
    let store = PostgresStore::builder("posts").primary(single).build()?;
    let remembered = "SELECT current_setting('antipode.epoch', true)";
    let mut before = None;
    for reset in ["RESET ALL", "SELECT 1", "RESET antipode.epoch"] {
        let scope = LineageScope::new();
        let mut transaction = store.shim().within(scope.clone()).begin().await?;
        sqlx::query("INSERT INTO reset (body) VALUES ('x')").execute(&mut transaction).await?;
        transaction.commit().await?;
        let captured = only(&scope.lineage());
        assert!(before.is_none_or(|before| before == captured.epoch), "{captured}");
        before = Some(captured.epoch);
        registry.barrier_on(&scope.lineage()).await?;
        let kept: Option<String> = value(store.inner(), remembered).await?;
        assert!(kept.is_some_and(|kept| kept.starts_with("00000001/")));
        sqlx::raw_sql(reset).execute(store.inner()).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_does_not_wait_for_longer_than_its_limit_for_what_comes_after() -> Test {
    let topology = shared().await?;
    let (plain, registry) = posts(&topology).await?;
    table(&plain, &registry, "late").await?;
    let proxy = antipode_docker::Proxy::start(topology.primary().addr()).await?;
    let url = format!("postgres://postgres@{}/postgres", proxy.addr());
    let far = PgPoolOptions::new().max_connections(1).connect(&url).await?;
    let store =
        PostgresStore::builder("posts").primary(far).capture_limit(Duration::from_millis(1)).build()?;
    proxy.set_delay(Duration::from_millis(20));
    // The first commit of a session learns what its positions belong to; the second one knows.
    for is_learnt in [false, true] {
        let scope = LineageScope::new();
        let mut transaction = store.shim().within(scope.clone()).begin().await?;
        sqlx::query("INSERT INTO late (body) VALUES ('x')").execute(&mut transaction).await?;
        transaction.commit().await?;
        assert_eq!(scope.lineage().writes()[0].is_unplaced(), !is_learnt);
    }
    assert_eq!(value::<i64>(plain.inner(), "SELECT count(*) FROM late").await?, 2);
    Ok(())
}

/// The server ends the connection between the commit's arrival and its answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_without_an_answer_may_have_happened() -> Test {
    let topology = shared().await?;
    let proxy = antipode_docker::Proxy::start(topology.primary().addr()).await?;
    let url = format!("postgres://postgres@{}/postgres", proxy.addr());
    let behind = PgPoolOptions::new().max_connections(2).connect(&url).await?;
    let store = PostgresStore::builder("posts").primary(behind).capture_limit(PATIENCE).build()?;
    let (plain, plain_registry) = posts(&topology).await?;
    table(&plain, &plain_registry, "unanswered").await?;

    let scope = LineageScope::new();
    let shim = store.shim().within(scope.clone());
    let mut transaction = shim.begin().await?;
    sqlx::query("INSERT INTO unanswered (body) VALUES ('x')").execute(&mut transaction).await?;
    proxy.cut();
    let error = transaction.commit().await.expect_err("no answer");
    assert!(error.is_unknown_outcome(), "{error}");
    assert!(scope.lineage().writes()[0].is_unplaced());

    proxy.heal();
    let scope = LineageScope::new();
    let mut transaction = shim.within(scope.clone()).begin().await?;
    sqlx::query("INSERT INTO unanswered (body) VALUES ('y')").execute(&mut transaction).await?;
    proxy.hang();
    let late = tokio::time::timeout(Duration::from_millis(50), transaction.commit()).await;
    assert!(late.is_err(), "dropped while it waits for the answer");
    assert!(scope.lineage().writes()[0].is_unplaced());
    proxy.heal();
    execute(plain.inner(), "DROP TABLE unanswered").await?;
    Ok(())
}
