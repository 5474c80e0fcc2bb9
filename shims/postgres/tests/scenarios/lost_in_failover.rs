//! A standby takes over. What it had stays visible, what it lacked is lost, and nothing else is claimed.

use std::time::Duration;

use antipode_barrier::{Store, Verdict};
use antipode_docker::{Member, PostgresTopology, Proxy};
use antipode_lineage::{Epoch, Lineage, LineageScope, WriteId};
use antipode_postgres::PostgresStore;
use antipode_postgres::sqlx::postgres::PgPoolOptions;
use antipode_postgres::sqlx::{self, PgPool};

use crate::posts::{
    self, PATIENCE, Test, at, count, execute, insert, lsn, options, pool, posts, registry, table, value,
    verdict,
};

/// A cluster whose primary dies with a write that no standby has, and whose first standby takes over.
struct Failover {
    topology: PostgresTopology,
    kept: WriteId,
    lost: WriteId,
    /// The store as it was registered before, and as it would be afterwards.
    before: PostgresStore,
    after: PostgresStore,
    new_primary: PgPool,
}

async fn fail_over() -> Test<Failover> {
    let topology = PostgresTopology::start(options()).await?;
    let (before, registry) = posts(&topology).await?;
    table(&before, &registry, "failover").await?;
    let kept = insert(&before, "failover", "kept").await?;
    registry.barrier_on(&Lineage::from(kept)).await?;
    for standby in 0..2 {
        replayed(&pool(topology.standby(standby)).await?, kept).await?;
        topology.link(standby).cut();
    }
    let lost = insert(&before, "failover", "lost").await?;
    println!("captured {kept} and, cut off, {lost}");
    assert_eq!(verdict(&registry, kept).await, Verdict::Visible);
    assert_eq!(verdict(&registry, lost).await, Verdict::Pending);

    topology.primary().kill().await?;
    topology.promote(0).await?;
    topology.link(1).heal();
    topology.follow(1, Member::Replica(0)).await?;
    let new_primary = pool(topology.standby(0)).await?;
    let after = PostgresStore::builder("posts")
        .primary(new_primary.clone())
        .replica("us", pool(topology.standby(1)).await?)
        .capture_limit(PATIENCE)
        .build()?;
    Ok(Failover { topology, kept, lost, before, after, new_primary })
}

/// Waits, without the shim, until a standby has replayed a write.
async fn replayed(standby: &PgPool, write: WriteId) -> Test {
    let replayed = async {
        while lsn(standby, "pg_last_wal_replay_lsn").await? < write.position.0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    };
    tokio::time::timeout(PATIENCE, replayed).await?
}

/// Where the new primary's timeline branched off.
async fn switch_point(new_primary: &PgPool) -> Test<u64> {
    let history: String = value(new_primary, "SELECT pg_read_file('pg_wal/00000002.history')").await?;
    println!("new history: {}", history.trim());
    let lsn = history.split_whitespace().nth(1).expect("a switch point");
    let lsn: i64 = value(new_primary, &format!("SELECT ('{lsn}'::pg_lsn - '0/0')::int8")).await?;
    Ok(lsn.cast_unsigned())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_new_primary_lacked_is_lost_and_the_rest_is_visible() -> Test {
    let Failover { topology, kept, lost, before, after, new_primary } = fail_over().await?;
    let switch = switch_point(&new_primary).await?;
    assert!(kept.position.0 <= switch && switch < lost.position.0);
    let (before, after) = (registry_of_old(before).await?, (registry(after.clone()).await?, after));
    for registry in [&before, &after.0] {
        assert_eq!(verdict(registry, kept).await, Verdict::Visible);
        let error = registry.barrier_on(&Lineage::from(lost)).await.expect_err("lost");
        println!("{error}");
        assert!(error.is_lost(), "{error}");
    }

    // The new timeline grows past the positions of the old one.
    let mut grown = insert(&after.1, "failover", "grown").await?;
    while grown.position <= lost.position {
        let filler = "SELECT pg_logical_emit_message(true, 'fill', repeat('x', 10000))";
        sqlx::query(filler).execute(&new_primary).await?;
        grown = insert(&after.1, "failover", "grown").await?;
    }
    assert_eq!(grown.epoch, Epoch { term: 2, ..lost.epoch });
    let report = after.0.barrier_on(&Lineage::from(grown)).await?;
    assert!(report.route("posts".parse()?).is_some());
    for registry in [&before, &after.0] {
        assert_eq!(verdict(registry, lost).await, Verdict::Lost, "a larger position hides nothing");
        let fenceposts = [switch - 1, switch, switch + 1].map(|position| at(kept, position));
        let [below, on, above] = fenceposts;
        assert_eq!(verdict(registry, below).await, Verdict::Visible);
        assert_eq!(verdict(registry, on).await, Verdict::Visible);
        assert_eq!(verdict(registry, above).await, Verdict::Lost);
    }
    for standby in 0..2 {
        let standby = pool(topology.standby(standby)).await?;
        assert_eq!(count(&standby, "failover", "kept").await?, 1);
        assert_eq!(count(&standby, "failover", "lost").await?, 0);
    }
    Ok(())
}

/// The old primary is gone, so it cannot be checked again; the replicas are asked all the same.
async fn registry_of_old(store: PostgresStore) -> Test<antipode_barrier::Registry> {
    Ok(antipode_barrier::Registry::builder().store(Unchecked(store)).deadline(PATIENCE).build().await?)
}

struct Unchecked(PostgresStore);

impl Store for Unchecked {
    fn name(&self) -> antipode_lineage::StoreName {
        self.0.name()
    }

    fn primary(&self) -> Option<std::sync::Arc<dyn antipode_barrier::Replica>> {
        self.0.primary()
    }

    fn replicas(&self) -> Vec<std::sync::Arc<dyn antipode_barrier::Replica>> {
        self.0.replicas()
    }
}

/// Its link is cut after it went on to the new timeline, so nothing tells which one it applies.
#[tokio::test(flavor = "multi_thread")]
async fn a_standby_without_a_link_claims_no_more_than_both_timelines_share() -> Test {
    let Failover { topology, kept, lost, after, new_primary, .. } = fail_over().await?;
    let switch = switch_point(&new_primary).await?;
    let grown = insert(&after, "failover", "grown").await?;
    let filler = "SELECT pg_logical_emit_message(true, 'fill', repeat('x', 100000))";
    sqlx::query(filler).execute(&new_primary).await?;
    let standby = pool(topology.standby(1)).await?;
    replayed(&standby, lost.max(grown)).await?;
    topology.link(1).cut();
    let receiving = "SELECT count(*) FROM pg_stat_get_wal_receiver() WHERE status = 'streaming'";
    while value::<i64>(&standby, receiving).await? > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // A process that begins only now has not seen what was received.
    let late = PostgresStore::builder("posts")
        .primary(new_primary)
        .replica("us", standby)
        .capture_limit(PATIENCE)
        .build()?;
    let late = registry_of_old(late).await?;
    assert_eq!(verdict(&late, at(kept, switch)).await, Verdict::Visible, "common to both timelines");
    for position in [switch + 1, lost.position.0] {
        assert_ne!(verdict(&late, at(lost, position)).await, Verdict::Visible, "of the old timeline");
    }
    assert_ne!(verdict(&late, grown).await, Verdict::Visible, "cannot be told yet");
    topology.link(1).heal();
    late.barrier_on(&Lineage::from(grown)).await?;
    assert_eq!(verdict(&late, lost).await, Verdict::Lost);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_sees_the_promotion() -> Test {
    let topology = PostgresTopology::start(options()).await?;
    let (store, registry) = posts(&topology).await?;
    table(&store, &registry, "promoted").await?;
    let eu = PostgresStore::builder("posts")
        .primary(pool(topology.primary()).await?)
        .replica("eu", pool(topology.standby(0)).await?)
        .build()?;
    let eu = posts::registry(eu).await?;
    let kept = insert(&store, "promoted", "kept").await?;
    eu.barrier_on(&Lineage::from(kept)).await?;
    topology.link(0).cut();
    let lost = insert(&store, "promoted", "lost").await?;
    assert_eq!(verdict(&eu, lost).await, Verdict::Pending);
    // The old primary lives on, and says that the write is there. The replica knows better.
    topology.promote(0).await?;
    let error = eu.barrier_on(&Lineage::from(lost)).await.expect_err("lost");
    assert!(error.is_lost(), "{error}");
    eu.barrier_on(&Lineage::from(kept)).await?;
    Ok(())
}

/// Who starts a standby without its `standby.signal` gets a second primary on the same timeline.
#[tokio::test(flavor = "multi_thread")]
async fn a_standby_that_became_a_primary_without_a_timeline_shows_nothing() -> Test {
    let topology = PostgresTopology::start(options()).await?;
    let (store, registry) = posts(&topology).await?;
    table(&store, &registry, "signal").await?;
    let eu = PostgresStore::builder("posts")
        .primary(pool(topology.primary()).await?)
        .replica("eu", pool(topology.standby(0)).await?)
        .build()?;
    let eu_registry = posts::registry(eu.clone()).await?;
    let kept = insert(&store, "signal", "kept").await?;
    eu_registry.barrier_on(&Lineage::from(kept)).await?;

    let standby = pool(topology.standby(0)).await?;
    let directory: String = value(&standby, "SHOW data_directory").await?;
    topology.standby(0).stop().await?;
    std::fs::remove_file(std::path::Path::new(&directory).join("standby.signal"))?;
    topology.standby(0).restart().await?;
    let standby = pool(topology.standby(0)).await?;
    execute(&standby, "INSERT INTO signal (body) SELECT 'its own' FROM generate_series(1, 1000)").await?;

    let missing = insert(&store, "signal", "missing").await?;
    assert!(lsn(&standby, "pg_current_wal_flush_lsn").await? > missing.position.0, "bare positions pass");
    assert_ne!(verdict(&eu_registry, missing).await, Verdict::Visible);
    let refused = posts::registry(eu).await.expect_err("refused");
    assert!(refused.to_string().contains("no standby"), "{refused}");
    Ok(())
}

/// The primary is replaced behind the pool's back while the position of an acknowledged write is asked
/// for: a position of the new history would say that the write is there.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_acknowledged_just_before_the_failover_is_not_taken_for_one_of_the_new_history() -> Test {
    // Without connections to spare, positions are asked for together, on the connection for that. The
    // answer about the position comes from the new primary, or not at all within the limit.
    for (connections, limit) in [(1, PATIENCE), (4, PATIENCE), (4, Duration::from_millis(200))] {
        let topology = PostgresTopology::start(options()).await?;
        let proxy = Proxy::start(topology.primary().addr()).await?;
        let (plain, plain_registry) = posts(&topology).await?;
        table(&plain, &plain_registry, "address").await?;
        let url = format!("postgres://postgres@{}/postgres", proxy.addr());
        let moving = PgPoolOptions::new().min_connections(connections).max_connections(connections);
        let moving = moving.connect(&url).await?;
        while moving.num_idle() < connections as usize {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let store = PostgresStore::builder("posts").primary(moving).capture_limit(limit).build()?;
        let registry = posts::registry(store.clone()).await?;
        topology.link(0).cut();
        // The statement's answer still comes through, that about the position does not.
        proxy.set_delay_to_client(Duration::from_millis(150));
        let scope = LineageScope::new();
        let insert = sqlx::query("INSERT INTO address (body) VALUES ('lost')");
        insert.execute(&store.shim().within(scope.clone())).await?;
        proxy.hang();
        if limit < PATIENCE {
            scope.settled().await;
        }
        topology.primary().kill().await?;
        topology.promote(0).await?;
        proxy.set_target(topology.standby(0).addr());
        proxy.reset();
        proxy.set_delay_to_client(Duration::ZERO);
        proxy.heal();
        let write = scope.settled().await.writes()[0];
        println!("{connections} connections: {write}");
        assert_ne!(write.epoch.term, 2, "no position of the new history");
        assert_eq!(verdict(&registry, write).await, Verdict::Indeterminate);
        let error = registry.barrier_on(&write.into()).await.expect_err("it was lost");
        assert!(error.is_indeterminate(), "{error}");
    }
    Ok(())
}
