//! What is asked when a store is registered.

use std::sync::Arc;
use std::time::Duration;

use antipode_barrier::CheckError;
use antipode_lineage::StoreName;
use futures_util::future::join_all;
use sqlx::PgPool;
use tokio::time::timeout;

use crate::server::Server;

/// Whether the role must be able to read the history of timelines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HistoryPolicy {
    Required,
    Optional,
}

/// The oldest server with `CREATE OR REPLACE TRIGGER`.
const OLDEST: i32 = 140_000;

/// How long a replica may keep a service from starting.
const REPLICA_LIMIT: Duration = Duration::from_secs(3);

const FACTS: &str = "\
    SELECT current_setting('server_version_num')::int4 AS version, \
        current_setting('synchronous_commit') AS synchronous_commit, \
        pg_is_in_recovery() AS recovering, \
        control.system_identifier AS system, \
        pg_postmaster_start_time()::text AS started, \
        quote_ident(current_user) AS role, \
        quote_ident(current_database()) AS database, \
        has_function_privilege('pg_ls_waldir()', 'EXECUTE') \
            AND pg_has_role('pg_read_all_stats', 'USAGE') AS reads_state, \
        has_function_privilege('pg_read_file(text, bigint, bigint, boolean)', 'EXECUTE') AS reads_history \
    FROM pg_control_system() AS control";

#[derive(Debug, sqlx::FromRow)]
struct Facts {
    version: i32,
    synchronous_commit: String,
    recovering: bool,
    system: i64,
    started: String,
    role: String,
    database: String,
    reads_state: bool,
    reads_history: bool,
}

/// A replica that cannot be reached does not keep a service from starting; the primary must answer.
pub(crate) async fn check(
    store: StoreName,
    primary: &Server,
    replicas: &[Arc<Server>],
    history: HistoryPolicy,
) -> Result<(), CheckError> {
    let refuse = |reason: String| Err(CheckError::new(store, reason));
    let of_primary = match facts(&primary.pool).await {
        Ok(facts) => facts,
        Err(error) => {
            return Err(CheckError::new(store, "the primary could not be asked").with_source(error));
        }
    };
    if let Some(reason) = unfit(&of_primary, "primary", history) {
        return refuse(reason);
    }
    if of_primary.recovering {
        return refuse("the server given as the primary is a standby: give the primary's pool".to_owned());
    }
    if of_primary.synchronous_commit == "off" {
        let reason = "synchronous_commit is off, so acknowledged writes can vanish in a crash without a \
             trace: set it to local or more for this role (transactions may still differ)";
        return refuse(reason.to_owned());
    }
    let asked = join_all(replicas.iter().map(|replica| timeout(REPLICA_LIMIT, ask(replica)))).await;
    for (replica, answer) in replicas.iter().zip(asked) {
        let name = replica.name.as_str();
        let of_replica = match answer.unwrap_or(Err(sqlx::Error::PoolTimedOut)) {
            Ok(facts) => facts,
            Err(error) => {
                tracing::warn!(%store, replica = name, %error, "replica could not be checked");
                continue;
            }
        };
        if let Some(reason) = unfit(&of_replica, name, history) {
            return refuse(reason);
        }
        if of_replica.system != of_primary.system {
            return refuse(format!(
                "replica {name} is of another cluster than the primary (system identifier {}, not {}): \
                 only physical streaming standbys can be replicas",
                of_replica.system, of_primary.system
            ));
        }
        if !of_replica.recovering && of_replica.started != of_primary.started {
            return refuse(format!(
                "replica {name} is no standby: it takes writes of its own; rebuild it from the primary"
            ));
        }
    }
    let sample = primary.line.sample().await;
    sample.map(drop).map_err(|error| {
        CheckError::new(store, "the primary does not say how far its log is flushed").with_source(error)
    })
}

async fn ask(replica: &Server) -> sqlx::Result<Facts> {
    let facts = facts(&replica.pool).await?;
    // So that the first read does not have to make the connection. Probes tell if it fails.
    let _ = replica.line.sample().await;
    Ok(facts)
}

async fn facts(pool: &PgPool) -> sqlx::Result<Facts> {
    sqlx::query_as(FACTS).fetch_one(pool).await
}

/// What any server must offer.
fn unfit(facts: &Facts, server: &str, history: HistoryPolicy) -> Option<String> {
    let Facts { version, role, database, .. } = facts;
    if *version < OLDEST {
        return Some(format!("{server} is older than Postgres 14 (version {version}): upgrade it"));
    }
    if !facts.reads_state {
        return Some(format!(
            "the role of {server} may not see the replication state: GRANT pg_monitor TO {role}"
        ));
    }
    if !facts.reads_history && history == HistoryPolicy::Required {
        return Some(format!(
            "the role of {server} may not read which writes a failover cut off: in database {database}, \
             GRANT EXECUTE ON FUNCTION pg_read_file(text, bigint, bigint, boolean) TO {role} \
             (or build the store `without_history`)"
        ));
    }
    None
}
