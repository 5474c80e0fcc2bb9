//! Rows keep the lineage of all who wrote them, whoever writes next.

use antipode_lineage::{Epoch, Lineage, LineageScope, MAX_BRANCHES, Position, Shard, WriteId};
use antipode_postgres::sqlx::{self, AssertSqlSafe, Row};
use antipode_postgres::{PostgresShim, PostgresStore, StoredLineage};

use crate::posts::{Test, count, execute, pool, posts, shared, table, value};

/// A write in another store.
fn elsewhere(store: &str, position: u64) -> WriteId {
    let epoch = Epoch { history: 9, term: 1 };
    let store = store.parse().expect("a name");
    WriteId { store, shard: Shard(3), epoch, position: Position(position) }
}

fn depending_on(writes: impl IntoIterator<Item = WriteId>) -> LineageScope {
    LineageScope::from(Lineage::from_iter(writes))
}

/// Runs one statement in a transaction of this scope.
async fn run(shim: &PostgresShim, scope: &LineageScope, sql: &str) -> Test {
    let mut transaction = shim.within(scope.clone()).begin().await?;
    sqlx::query(AssertSqlSafe(sql.to_owned())).execute(&mut transaction).await?;
    transaction.commit().await?;
    Ok(())
}

/// What is stored beside the row, with the plain driver.
async fn stored(pool: &sqlx::PgPool, table: &str, body: &str) -> Test<Lineage> {
    let sql = format!("SELECT antipode_lineage FROM {table} WHERE body = '{body}'");
    Ok(value::<Option<StoredLineage>>(pool, &sql).await?.unwrap_or_default().into())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_stores_what_the_request_depends_on() -> Test {
    let topology = shared().await?;
    let (store, registry) = posts(&topology).await?;
    table(&store, &registry, "carried").await?;
    let (cache, queue) = (elsewhere("cache", 5), elsewhere("queue", 6));
    let scope = depending_on([cache]);
    let mut transaction = store.shim().within(scope.clone()).begin().await?;
    sqlx::query("INSERT INTO carried (body) VALUES ('first')").execute(&mut transaction).await?;
    // Between the statements the request reads elsewhere.
    scope.add(queue);
    sqlx::query("INSERT INTO carried (body) VALUES ('second')").execute(&mut transaction).await?;
    transaction.commit().await?;
    assert_eq!(stored(store.inner(), "carried", "first").await?, cache.into());
    assert_eq!(stored(store.inner(), "carried", "second").await?, Lineage::from_iter([cache, queue]));

    let scope = LineageScope::new();
    run(&store.shim(), &scope, "INSERT INTO carried (body) VALUES ('of nobody')").await?;
    assert!(stored(store.inner(), "carried", "of nobody").await?.is_empty(), "the setting did not stay");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_read_in_the_transaction_is_a_dependency_of_what_it_writes_next() -> Test {
    let topology = shared().await?;
    let (store, registry) = posts(&topology).await?;
    table(&store, &registry, "copied").await?;
    let cache = elsewhere("cache", 5);
    run(&store.shim(), &depending_on([cache]), "INSERT INTO copied (body) VALUES ('source')").await?;
    let scope = LineageScope::new();
    let mut transaction = store.shim().within(scope.clone()).begin().await?;
    sqlx::query("SELECT * FROM copied WHERE body = 'source'").fetch_one(&mut transaction).await?;
    sqlx::query("INSERT INTO copied (body) VALUES ('copy')").execute(&mut transaction).await?;
    transaction.commit().await?;
    assert!(stored(store.inner(), "copied", "copy").await?.covers_write(&cache));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn branches_beside_a_row_are_forgotten_before_its_writes() -> Test {
    let topology = shared().await?;
    let (store, registry) = posts(&topology).await?;
    table(&store, &registry, "busy").await?;
    let cache = elsewhere("cache", 5);
    run(&store.shim(), &depending_on([cache]), "INSERT INTO busy (body) VALUES ('a')").await?;
    for id in 0..=MAX_BRANCHES {
        let held = stored(store.inner(), "busy", "a").await?;
        assert_eq!((held.branches().len(), held.has_forgotten_branches()), (id, false));
        let scope = LineageScope::new();
        scope.add_branch(format!("posts/refund/{id:032x}").parse()?);
        run(&store.shim(), &scope, "UPDATE busy SET body = body").await?;
    }
    let sql = "SELECT count(*) FROM busy, jsonb_object_keys(antipode_lineage)";
    let fields: i64 = value(store.inner(), sql).await?;
    let held = stored(store.inner(), "busy", "a").await?;
    assert!(held.has_forgotten_branches() && held.covers_write(&cache) && !held.has_overflowed());
    assert!(fields < 5, "{fields} fields");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn updates_join_what_is_stored() -> Test {
    let topology = shared().await?;
    let (store, registry) = posts(&topology).await?;
    table(&store, &registry, "joined").await?;
    let shim = store.shim();
    run(
        &shim,
        &depending_on([elsewhere("cache", 5), elsewhere("queue", 9)]),
        "INSERT INTO joined (body) VALUES ('x')",
    )
    .await?;
    let later = depending_on([elsewhere("cache", 7), elsewhere("queue", 2), elsewhere("mail", 1)]);
    run(&shim, &later, "UPDATE joined SET body = 'y'").await?;
    let both = [elsewhere("cache", 7), elsewhere("queue", 9), elsewhere("mail", 1)];
    let joined = stored(store.inner(), "joined", "y").await?;
    assert!(both.iter().all(|write| joined.covers_write(write)), "{joined}");
    assert!(!joined.covers_write(&elsewhere("queue", 10)));

    // A legacy writer keeps it, also one that writes back every column, and one that clears it.
    for sql in [
        "UPDATE joined SET body = 'y'",
        "UPDATE joined SET body = 'y', antipode_lineage = antipode_lineage",
        "UPDATE joined SET body = 'y', antipode_lineage = NULL",
        "UPDATE joined SET body = 'y', antipode_lineage = '{}'",
    ] {
        execute(store.inner(), sql).await?;
        assert_eq!(stored(store.inner(), "joined", "y").await?, joined, "{sql}");
    }
    // So does one with a lineage that the row has already, whatever it sets the column to.
    let known = depending_on([elsewhere("cache", 7)]);
    run(&shim, &known, "UPDATE joined SET antipode_lineage = NULL").await?;
    assert_eq!(stored(store.inner(), "joined", "y").await?, joined);
    let more =
        r#"UPDATE joined SET antipode_lineage = antipode_lineage || '{"mail/3/9/1": "0000000000000002"}'"#;
    run(&shim, &known, more).await?;
    assert!(stored(store.inner(), "joined", "y").await?.covers_write(&elsewhere("mail", 2)));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn upserts_join_what_is_stored() -> Test {
    let topology = shared().await?;
    let (store, registry) = posts(&topology).await?;
    table(&store, &registry, "upserted").await?;
    let upsert = "INSERT INTO upserted (id, body) VALUES (1, 'x') \
         ON CONFLICT (id) DO UPDATE SET body = excluded.body";
    let writes = ["cache", "queue", "mail"].map(|store| elsewhere(store, 5));
    for write in &writes[..2] {
        run(&store.shim(), &depending_on([*write]), upsert).await?;
    }
    let shim = store.shim().within(depending_on([writes[2]]));
    let explicit = "INSERT INTO upserted (id, body, antipode_lineage) VALUES (1, 'x', $1) ON CONFLICT (id) \
         DO UPDATE SET body = excluded.body, antipode_lineage = excluded.antipode_lineage";
    sqlx::query(explicit).bind(shim.lineage().await?).execute(&shim).await?;
    let joined = stored(store.inner(), "upserted", "x").await?;
    assert!(writes.iter().all(|write| joined.covers_write(write)), "{joined}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn legacy_programs_neither_see_nor_break_anything() -> Test {
    let topology = shared().await?;
    let (store, registry) = posts(&topology).await?;
    table(&store, &registry, "legacy").await?;
    execute(store.inner(), "DROP ROLE IF EXISTS legacy; CREATE ROLE legacy LOGIN").await?;
    execute(store.inner(), "GRANT ALL ON legacy, legacy_id_seq TO legacy").await?;
    let url = topology.primary().url().replace("postgres@", "legacy@");
    let legacy = sqlx::PgPool::connect(&url).await?;
    execute(&legacy, "INSERT INTO legacy (body) VALUES ('plain')").await?;
    assert!(stored(&legacy, "legacy", "plain").await?.is_empty());
    let cache = elsewhere("cache", 5);
    run(&store.shim(), &depending_on([cache]), "UPDATE legacy SET body = 'shim'").await?;
    // On the shim's connections as well: there the setting is empty now, not missing.
    for _ in 0..8 {
        execute(store.inner(), "INSERT INTO legacy (body) VALUES ('of the pool')").await?;
    }
    execute(store.inner(), "DELETE FROM legacy WHERE body = 'of the pool'").await?;
    execute(&legacy, "UPDATE legacy SET body = 'plain again', antipode_lineage = NULL").await?;
    assert_eq!(stored(&legacy, "legacy", "plain again").await?, cache.into());
    let rows: Vec<(i32, String)> = sqlx::query_as("SELECT id, body FROM legacy").fetch_all(&legacy).await?;
    assert_eq!(rows, [(1, "plain again".to_owned())]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bound_lineage_comes_back_with_the_row() -> Test {
    let topology = shared().await?;
    let (store, registry) = posts(&topology).await?;
    table(&store, &registry, "bound").await?;
    let cache = elsewhere("cache", 5);
    let writer = store.shim().within(depending_on([cache]));
    let insert = "INSERT INTO bound (body, antipode_lineage) VALUES ('x', $1)";
    sqlx::query(insert).bind(writer.lineage().await?).execute(&writer).await?;
    let empty = store.shim().within(LineageScope::new()).lineage().await?;
    sqlx::query(insert).bind(&empty).execute(&writer).await?;
    assert_eq!(
        value::<i64>(store.inner(), "SELECT count(*) FROM bound WHERE antipode_lineage IS NULL").await?,
        1
    );

    // However rows come: one or all, as a stream, by a join of tables, by the simple protocol.
    let twice = "SELECT a.*, b.* FROM (SELECT NULL::jsonb AS antipode_lineage) a, bound b \
         UNION ALL SELECT b.antipode_lineage, 0, '', NULL FROM bound b";
    for sql in ["SELECT * FROM bound", twice] {
        let scopes = [(); 4].map(|()| LineageScope::new());
        let reader = |at: usize| store.shim().within(scopes[at].clone());
        sqlx::query(sql).fetch_optional(&reader(0)).await?;
        sqlx::query(sql).fetch_all(&reader(1)).await?;
        sqlx::query(sql).execute(&reader(2)).await?;
        sqlx::raw_sql(sql).fetch_all(&reader(3)).await?;
        for (at, scope) in scopes.iter().enumerate() {
            assert!(scope.settled().await.covers_write(&cache), "{at}");
        }
    }
    // The column as the user sees it.
    let row = sqlx::query("SELECT * FROM bound ORDER BY id").fetch_one(&store.reads()).await?;
    assert_eq!(row.try_get::<StoredLineage, _>("antipode_lineage")?.0, cache.into());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_lineage_is_everything() -> Test {
    let topology = shared().await?;
    let (store, registry) = posts(&topology).await?;
    table(&store, &registry, "unreadable").await?;
    for spoilt in [
        "[]",
        "null",
        r#""text""#,
        r#"{"posts": 1}"#,
        r#"{"posts": null}"#,
        r#"{"cache/3/9/1": ""}"#,
        r#"{"cache/3/9/1": "zz"}"#,
        r#"{"cache/3/9/1": "000000000000000-"}"#,
        r#"{"cache/3/9/1": null}"#,
    ] {
        let insert = "INSERT INTO unreadable (body, antipode_lineage) VALUES ('x', $1::text::jsonb)";
        execute(store.inner(), "TRUNCATE unreadable").await?;
        sqlx::query(insert).bind(spoilt).execute(store.inner()).await?;
        assert!(is_everything(&store).await?, "{spoilt}");
        // Whatever is joined to it, it stays so.
        let update = "UPDATE unreadable SET body = 'y'";
        run(&store.shim(), &depending_on([elsewhere("cache", 5)]), update).await?;
        assert!(is_everything(&store).await?, "{spoilt}, updated");
        // And it spoils whatever it is joined to: by the statement, or by what its writer says of itself.
        let set = "UPDATE unreadable SET antipode_lineage = $1::text::jsonb";
        for sql in [set, "SELECT set_config('antipode.lineage', $1, true)"] {
            execute(store.inner(), "TRUNCATE unreadable").await?;
            let insert = "INSERT INTO unreadable (body) VALUES ('x')";
            run(&store.shim(), &depending_on([elsewhere("cache", 5)]), insert).await?;
            let mut writer = store.inner().begin().await?;
            sqlx::query(sql).bind(spoilt).execute(&mut *writer).await?;
            sqlx::query(update).execute(&mut *writer).await?;
            writer.commit().await?;
            assert!(is_everything(&store).await?, "{spoilt}, {sql}");
        }
    }
    Ok(())
}

/// Whether whoever reads the table depends on everything.
async fn is_everything(store: &PostgresStore) -> Test<bool> {
    let scope = LineageScope::new();
    sqlx::query("SELECT * FROM unreadable").fetch_all(&store.shim().within(scope.clone())).await?;
    Ok(scope.settled().await.has_overflowed())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_may_be_repeated_and_takes_any_table_name() -> Test {
    let topology = shared().await?;
    let (store, _) = posts(&topology).await?;
    let name = r#""Odd ""Name""; DROP TABLE x""#;
    execute(store.inner(), &format!("CREATE TABLE {name} (body text)")).await?;
    execute(store.inner(), &format!("INSERT INTO {name} VALUES ('old')")).await?;
    let [first, second] = [store.migrate_table(name), store.migrate_table(name)];
    let (first, second) = futures_util::future::join(first, second).await;
    first.and(second)?;
    let lineages = format!("SELECT count(antipode_lineage) FROM {name}");
    assert_eq!(value::<i64>(store.inner(), &lineages).await?, 0, "old rows depend on nothing");
    run(&store.shim(), &depending_on([elsewhere("cache", 5)]), &format!("INSERT INTO {name} VALUES ('new')"))
        .await?;
    assert_eq!(value::<i64>(store.inner(), &lineages).await?, 1);
    let missing = store.migrate_table("x; DROP TABLE y").await.expect_err("no such table");
    assert!(missing.to_string().contains("posts"), "{missing}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_hands_on_the_lineage_of_the_writer_and_a_witness() -> Test {
    let topology = shared().await?;
    let (store, registry) = posts(&topology).await?;
    table(&store, &registry, "handed").await?;
    let cache = elsewhere("cache", 5);
    let writer = depending_on([cache]);
    run(&store.shim(), &writer, "INSERT INTO handed (body) VALUES ('x')").await?;
    writer.run(async { registry.barrier().await }).await?;
    let at = writer.route("posts".parse()?).expect("the barrier set it");

    let reader = LineageScope::new();
    reader.set_route("posts".parse()?, at);
    let reads = store.reads().within(reader.clone());
    let server = pool(topology.standby(usize::from(at.as_str() == "us"))).await?;
    assert_eq!(reads.inner().connect_options().get_port(), server.connect_options().get_port());
    sqlx::query("SELECT * FROM handed").fetch_all(&reads).await?;
    let lineage = reader.settled().await;
    assert!(lineage.covers_write(&cache), "{lineage}");
    assert!(lineage.covers(&writer.lineage()), "the witness covers the row: {lineage}");
    registry.barrier_on(&lineage).await?;
    assert_eq!(count(&server, "handed", "x").await?, 1);
    Ok(())
}
