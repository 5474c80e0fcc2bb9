//! Whether the servers, as they are configured, can keep the promise.

use std::sync::Arc;

use antipode_barrier::CheckError;
use redis::cmd;

use crate::replication::{Replication, Role};
use crate::server::Server;

/// The first version whose replicas count exactly what they have applied.
const MIN_VERSION: u32 = 7;

/// Whether a server should be part of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cluster {
    Refused,
    #[cfg(feature = "cluster")]
    Required,
}

/// What a server says of itself.
pub(crate) struct Answer {
    info: String,
    replication: Replication,
}

/// Checks a store's servers. A replica that cannot be reached does not keep a service from starting;
/// the primary must answer.
pub(crate) async fn store(primary: &Server, replicas: &[Arc<Server>]) -> Result<(), CheckError> {
    let leader = ask(primary, Cluster::Refused).await?;
    if leader.replication.role != Role::Primary {
        return Err(refuse(primary, "is a replica: give `.primary(..)` the server that takes writes"));
    }
    for replica in replicas {
        let follower = match ask(replica, Cluster::Refused).await {
            Ok(follower) => follower,
            Err(error) if is_unreachable(&error) => {
                tracing::warn!(
                    store = %replica.store,
                    replica = %replica.name,
                    %error,
                    "replica could not be checked"
                );
                continue;
            }
            Err(error) => return Err(error),
        };
        if follower.replication.role == Role::Primary {
            if follower.field("run_id") != leader.field("run_id") {
                return Err(refuse(
                    replica,
                    "is a primary of its own: point it at the store's with REPLICAOF",
                ));
            }
        } else if !follower.replication.link_is_up {
            tracing::warn!(
                store = %replica.store,
                replica = %replica.name,
                "the link to the primary is down: barriers wait for it"
            );
        } else if follower.replication.history != leader.replication.history {
            return Err(refuse(replica, "follows another primary: point it at the store's with REPLICAOF"));
        }
    }
    Ok(())
}

pub(crate) async fn ask(server: &Server, cluster: Cluster) -> Result<Answer, CheckError> {
    let mut info = cmd("INFO");
    info.arg(&["server", "replication", "cluster", "memory"]);
    let failed = |error: redis::RedisError| {
        refuse(server, "could not be asked: check its address, and that its ACL allows INFO")
            .with_source(error)
    };
    let info: String = server.ask(&info).await.map_err(failed)?;
    let replication = Replication::parse(&info)
        .ok_or_else(|| refuse(server, "does not answer INFO as a Redis does: check its address"))?;
    let answer = Answer { info, replication };
    let version = answer.field("redis_version").unwrap_or("unknown");
    if !is_exact(version) {
        let reason =
            format!("is version {version}: Redis 7.0 or later counts exactly what a replica has applied");
        return Err(refuse(server, &reason));
    }
    let is_clustered = answer.field("cluster_enabled") == Some("1");
    #[cfg(feature = "cluster")]
    if cluster == Cluster::Required && !is_clustered {
        return Err(refuse(server, "is part of no cluster: build the store with `RedisStore::builder(..)`"));
    }
    if cluster == Cluster::Refused && is_clustered {
        return Err(refuse(
            server,
            "is part of a cluster: build the store with `RedisStore::cluster(..)` (feature `cluster`)",
        ));
    }
    if answer.field("maxmemory_policy").is_some_and(|policy| policy != "noeviction") {
        tracing::warn!(
            store = %server.store,
            replica = %server.name,
            "keys may be evicted, and the lineage beside a value before the value: set noeviction"
        );
    }
    Ok(answer)
}

/// Whether the server did not answer at all.
pub(crate) fn is_unreachable(error: &CheckError) -> bool {
    let cause = error.source.as_ref().and_then(|source| source.downcast_ref::<redis::RedisError>());
    cause.is_some_and(|cause| cause.is_io_error() || cause.is_timeout() || cause.is_connection_dropped())
}

/// Whether replicas of this version say exactly what they have applied.
fn is_exact(version: &str) -> bool {
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    major.is_some_and(|major| major >= MIN_VERSION)
}

impl Answer {
    fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.info.lines().filter_map(|line| line.split_once(':'));
        fields.find(|(field, _)| *field == name).map(|(_, value)| value)
    }
}

/// A store refused because of this server.
pub(crate) fn refuse(server: &Server, reason: &str) -> CheckError {
    CheckError::new(server.store, format!("the server behind {} {reason}", server.name))
}

#[cfg(test)]
mod tests {
    use super::is_exact;

    #[test]
    fn versions_are_compared_as_numbers() {
        for exact in ["7.0.0", "7.0.15", "8.2", "10.0.1"] {
            assert!(is_exact(exact), "{exact}");
        }
        for other in ["6.2.14", "5.0", "unknown", "", "x.7"] {
            assert!(!is_exact(other), "{other}");
        }
    }
}
