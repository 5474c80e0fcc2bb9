//! What the conformance suite runs on.
#![allow(clippy::expect_used)] // Helpers of tests.

use std::sync::Arc;
use std::time::Duration;

use antipode_barrier::{OnMissing, Store};
use antipode_conformance::{Bed, BedResult, Change, Fault, Node, Support};
use antipode_docker::{Member, PostgresNode, PostgresOptions, PostgresTopology};
use antipode_postgres::sqlx::postgres::{PgPoolOptions, Postgres};
use antipode_postgres::sqlx::{self, Executor, PgPool};
use antipode_postgres::{PostgresStore, PostgresStoreBuilder, StoredLineage};

pub(crate) struct PostgresBed {
    topology: PostgresTopology,
    primary: Member,
    store: PostgresStore,
}

const TABLE: &str = "CREATE TABLE posts (key text PRIMARY KEY, value text NOT NULL)";

impl PostgresBed {
    fn node(&self, member: Member) -> &PostgresNode {
        self.topology.node(member).expect("one of three")
    }

    fn builder(&self) -> PostgresStoreBuilder {
        let builder = PostgresStore::builder("posts").on_missing(OnMissing::Ignore);
        builder.primary(pool(self.node(self.primary)))
    }

    /// The store of a process that reads from these.
    fn store_over(&self, replicas: &[usize]) -> PostgresStore {
        let add = |builder: PostgresStoreBuilder, index: &usize| {
            builder.replica(format!("replica-{index}"), pool(self.topology.standby(*index)))
        };
        replicas.iter().fold(self.builder(), add).build().expect("good names")
    }

    fn all_replicas(&self) -> PostgresStore {
        let left = [0, 1].into_iter().filter(|index| {
            self.primary != Member::Replica(*index) && self.topology.standby(*index).is_running()
        });
        self.store_over(&left.collect::<Vec<_>>())
    }

    /// Puts the `other` standby behind the new primary. What it has that the new primary lacks has to go.
    async fn follow(&self, other: usize, to: usize) -> BedResult {
        let ahead = "SELECT pg_last_wal_replay_lsn() > (\
             SELECT split_part(line, E'\\t', 2)::pg_lsn \
             FROM regexp_split_to_table($1, E'\\n') AS line WHERE line <> '' ORDER BY 1 DESC LIMIT 1)";
        let history = "SELECT pg_read_file('pg_wal/00000002.history')";
        let history: String = sqlx::query_scalar(history).fetch_one(&pool(self.topology.standby(to))).await?;
        let standby = pool(self.topology.standby(other));
        let ahead: bool = sqlx::query_scalar(ahead).bind(history).fetch_one(&standby).await?;
        let member = Member::Replica(other);
        match ahead {
            true => self.topology.rejoin_as_standby(member, Member::Replica(to)).await?,
            false => self.topology.follow(other, Member::Replica(to)).await?,
        }
        Ok(())
    }
}

impl Bed for PostgresBed {
    async fn start() -> BedResult<Self> {
        let topology = PostgresTopology::start(PostgresOptions::default().provider(crate::PROVIDER)).await?;
        let placeholder = PostgresStore::builder("posts").primary(pool(topology.primary())).build()?;
        sqlx::query(TABLE).execute(placeholder.inner()).await?;
        placeholder.create_branch_ledger().await?;
        placeholder.migrate_table("posts").await?;
        let mut bed = Self { topology, primary: Member::Primary, store: placeholder };
        bed.store = bed.all_replicas();
        for index in [0, 1] {
            let standby = pool(bed.topology.standby(index));
            while sqlx::query("SELECT antipode_lineage FROM posts").execute(&standby).await.is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        Ok(bed)
    }

    fn store(&self) -> Arc<dyn Store> {
        Arc::new(self.store.clone())
    }

    fn store_reading(&self, replica: usize) -> Arc<dyn Store> {
        Arc::new(self.store_over(&[replica]))
    }

    fn store_forgetting(&self, after: Duration) -> Option<Arc<dyn Store>> {
        Some(Arc::new(self.builder().branch_retention(after).build().expect("good names")))
    }

    /// A single statement, with its lineage bound.
    async fn write(&self, change: Change<'_>) -> BedResult {
        let shim = self.store.shim();
        run(change, Some(shim.lineage().await?), &shim).await
    }

    /// The lineage is the transaction's business.
    async fn transaction(&self, changes: &[Change<'_>]) -> BedResult<Support> {
        let mut transaction = self.store.shim().begin().await?;
        for change in changes {
            run(*change, None, &mut transaction).await?;
        }
        transaction.commit().await?;
        Ok(Support::Done)
    }

    async fn read(&self, key: &str) -> BedResult<Option<String>> {
        let select = sqlx::query_as("SELECT value, antipode_lineage FROM posts WHERE key = $1");
        let row: Option<(String, Option<sqlx::types::JsonValue>)> =
            select.bind(key).fetch_optional(&self.store.reads()).await?;
        Ok(row.map(|(value, _)| value))
    }

    async fn peek(&self, node: Node, key: &str) -> BedResult<Option<String>> {
        let member = match node {
            Node::Primary => self.primary,
            Node::Replica(index) => Member::Replica(index),
        };
        let select = sqlx::query_scalar("SELECT value FROM posts WHERE key = $1").bind(key);
        Ok(select.fetch_optional(&pool(self.node(member))).await?)
    }

    async fn spoil_lineage(&self, key: &str) -> BedResult<Support> {
        let spoil = r#"UPDATE posts SET antipode_lineage = '{"posts/0/1/1": "no position"}' WHERE key = $1"#;
        sqlx::query(spoil).bind(key).execute(self.store.inner()).await?;
        Ok(Support::Done)
    }

    async fn fault(&mut self, fault: Fault) -> BedResult<Support> {
        match fault {
            Fault::Cut { replica } => self.topology.link(replica).cut(),
            Fault::Delay { replica, by } => self.topology.link(replica).set_delay_to_client(by),
            Fault::Freeze { replica } => self.topology.standby(replica).pause().await?,
            Fault::Stop { replica } => self.topology.standby(replica).stop().await?,
            // A fast shutdown would wait for standbys that are cut off.
            Fault::StopPrimary => self.node(self.primary).kill().await?,
            Fault::Failover { to } => {
                self.node(self.primary).kill().await?;
                for index in [0, 1] {
                    // What the links hold back is lost with the primary.
                    self.topology.link(index).cut();
                }
                self.topology.promote(to).await?;
                self.primary = Member::Replica(to);
                for index in [0, 1] {
                    self.topology.link(index).heal();
                }
                if self.topology.standby(1 - to).is_running() {
                    self.follow(1 - to, to).await?;
                }
                self.store = self.all_replicas();
            }
            _ => return Ok(Support::Unsupported),
        }
        Ok(Support::Done)
    }

    async fn heal(&mut self) -> BedResult {
        for index in [0, 1] {
            let (standby, link) = (self.topology.standby(index), self.topology.link(index));
            link.heal();
            link.set_delay(Duration::ZERO);
            if standby.is_running() {
                standby.resume().await?;
            } else if self.primary == Member::Primary {
                standby.restart().await?;
            }
        }
        if self.primary == Member::Primary && !self.node(Member::Primary).is_running() {
            self.node(Member::Primary).restart().await?;
            self.store = self.all_replicas();
        }
        Ok(())
    }
}

/// Makes a change. A bound lineage is joined to what the row has.
async fn run<'c>(
    change: Change<'_>,
    lineage: Option<StoredLineage>,
    executor: impl Executor<'c, Database = Postgres>,
) -> BedResult {
    let sql = match (change, lineage.is_some()) {
        (Change::Put(..), true) => {
            "INSERT INTO posts (key, value, antipode_lineage) VALUES ($1, $2, $3) ON CONFLICT (key) \
             DO UPDATE SET value = excluded.value, antipode_lineage = excluded.antipode_lineage"
        }
        (Change::Put(..), false) => {
            "INSERT INTO posts (key, value) VALUES ($1, $2) \
             ON CONFLICT (key) DO UPDATE SET value = excluded.value"
        }
        (Change::Append(..), true) => {
            "UPDATE posts SET value = value || $2, antipode_lineage = $3 WHERE key = $1"
        }
        (Change::Append(..), false) => "UPDATE posts SET value = value || $2 WHERE key = $1",
        (Change::Delete(_), _) => "DELETE FROM posts WHERE key = $1",
    };
    let query = sqlx::query(sql).bind(change.key().to_owned());
    let query = match change {
        Change::Put(_, value) | Change::Append(_, value) => {
            let query = query.bind(value.to_owned());
            if lineage.is_some() { query.bind(lineage) } else { query }
        }
        Change::Delete(_) => query,
    };
    query.execute(executor).await?;
    Ok(())
}

fn pool(node: &PostgresNode) -> PgPool {
    let options = PgPoolOptions::new().max_connections(8).acquire_timeout(Duration::from_secs(30));
    options.connect_lazy(&node.url()).expect("an address")
}
