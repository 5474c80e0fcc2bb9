//! Postgres with the bare driver.

use std::error::Error;
use std::time::{Duration, Instant};

use antipode_docker::{PostgresOptions, PostgresTopology};
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, PgPool};

use crate::Failure;
use crate::cli::Pair;

/// How many connections a service has to a server.
const CONNECTIONS: u32 = 10;

/// How long the standby may take to get what is made before the first round.
const LIMIT: Duration = Duration::from_secs(60);

/// How far the log is, and whether the standby has applied so much of it. A server that is none has.
const WRITTEN: &str = "SELECT pg_current_wal_lsn()::text";
const APPLIED: &str = "SELECT NOT pg_is_in_recovery() OR pg_last_wal_replay_lsn() >= $1::pg_lsn";
const HAS_SCHEMA: &str = "SELECT to_regnamespace('antipode') IS NOT NULL";
const DROP_SCHEMA: &str = "DROP SCHEMA IF EXISTS antipode CASCADE";

/// A primary and a streaming standby behind a proxy that delays its replication; or such as are there.
pub(crate) struct PostgresServers {
    pub(crate) primary: String,
    pub(crate) replica: String,
    ownership: Ownership,
}

/// Whose the servers are, and so what to leave.
enum Ownership {
    Ours(Box<PostgresTopology>),
    /// They stay; the run removes these.
    Theirs(Vec<String>),
}

impl PostgresServers {
    /// Starts them, unless they are given. Commits then wait for the standby only where they ask for it.
    pub(crate) async fn open(given: Option<&Pair>, table: &str) -> Result<Self, Failure> {
        if let Some(Pair { primary, replica }) = given.cloned() {
            let mut leftovers = vec![format!("DROP TABLE IF EXISTS {table}")];
            let there = sqlx::query_scalar(HAS_SCHEMA).fetch_one(&pool(&primary).await?).await;
            if !there.map_err(failed("be asked for its schemas"))? {
                leftovers.push(DROP_SCHEMA.to_owned());
            }
            let servers = Self { primary, replica, ownership: Ownership::Theirs(leftovers) };
            servers.clean_up().await?;
            return Ok(servers);
        }
        let topology = PostgresTopology::start(PostgresOptions::default().standbys(1)).await?;
        topology.primary().set_setting("synchronous_commit", "local").await?;
        topology.primary().set_setting("synchronous_standby_names", "*").await?;
        let (primary, replica) = (topology.primary().url(), topology.standby(0).url());
        Ok(Self { primary, replica, ownership: Ownership::Ours(Box::new(topology)) })
    }

    /// Waits until the standby has all that was made at the primary, such as the table that is read there.
    pub(crate) async fn until_applied(primary: &PgPool, replica: &PgPool) -> Result<(), Failure> {
        const OPERATION: &str = "tell how far replication is";
        let written: String =
            sqlx::query_scalar(WRITTEN).fetch_one(primary).await.map_err(failed(OPERATION))?;
        let began = Instant::now();
        while began.elapsed() < LIMIT {
            let applied = sqlx::query_scalar(APPLIED).bind(&written).fetch_one(replica).await;
            if applied.map_err(failed(OPERATION))? {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Err(Failure::TooLate { what: "replication", seconds: LIMIT.as_secs() })
    }

    /// Delays replication, if the servers were started here.
    pub(crate) fn set_lag(&self, lag: Duration) {
        if let Ownership::Ours(topology) = &self.ownership {
            topology.link(0).set_delay_to_client(lag);
        }
    }

    /// Removes the table of the run, and the shim's schema if that was not there, on servers that stay.
    pub(crate) async fn clean_up(&self) -> Result<(), Failure> {
        let Ownership::Theirs(leftovers) = &self.ownership else { return Ok(()) };
        let pool = pool(&self.primary).await?;
        for statement in leftovers {
            let statement = sqlx::raw_sql(AssertSqlSafe(statement.as_str()));
            statement.execute(&pool).await.map_err(failed("remove the table of the run"))?;
        }
        Ok(())
    }
}

/// A service's pool, connected.
///
/// It does not ask a connection whether it lives before it is used, which the driver would: that is a
/// further round trip, beside which shims would look cheaper and polling dearer than they are.
pub(crate) async fn pool(url: &str) -> Result<PgPool, Failure> {
    let pool =
        PgPoolOptions::new().min_connections(2).max_connections(CONNECTIONS).test_before_acquire(false);
    pool.connect(url).await.map_err(failed("be reached"))
}

/// The server's version, such as `PostgreSQL 15.18`.
pub(crate) async fn version(pool: &PgPool) -> Result<String, Failure> {
    let version = sqlx::query_scalar("SHOW server_version").fetch_one(pool).await;
    let version: String = version.map_err(failed("tell its version"))?;
    Ok(format!("PostgreSQL {}", version.split(' ').next().unwrap_or_default()))
}

/// For `map_err`: Postgres could not do `operation`.
pub(crate) fn failed<E>(operation: &'static str) -> impl FnOnce(E) -> Failure
where
    E: Into<Box<dyn Error + Send + Sync>>,
{
    Failure::store("postgres", operation)
}
