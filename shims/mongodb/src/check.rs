//! Whether the servers, as they are configured, can keep the promise.

use std::sync::Arc;
use std::time::Duration;

use antipode_barrier::CheckError;
use futures_util::future::join_all;
use tokio::time::timeout;

use crate::error::Error;
use crate::hello::{Hello, Role};
use crate::server::Server;

/// What 6.0 says.
const OLDEST_WIRE_VERSION: i32 = 17;

/// How long a replica may keep a service from starting.
const REPLICA_LIMIT: Duration = Duration::from_secs(3);

/// Checks a store's servers. A replica that cannot be reached does not keep a service from starting;
/// the primary must answer.
pub(crate) async fn store(primary: &Server, replicas: &[Arc<Server>]) -> Result<(), CheckError> {
    let unreachable = |error| {
        refuse(primary, "could not be asked: check its address, and that the set has a primary")
            .with_source(error)
    };
    let leader = primary.hello().await.map_err(unreachable)?;
    if let Some(reason) = unfit(&leader) {
        return Err(refuse(primary, reason));
    }
    if leader.role != Role::Primary {
        return Err(refuse(primary, "is not the primary: give `.primary(..)` a client of the whole set"));
    }
    let privileges = |error| {
        refuse(primary, "does not tell the history of its log: grant clusterMonitor, and read on local")
            .with_source(error)
    };
    let set = primary.set_of(&leader).await.map_err(privileges)?;
    // An election under way settles later.
    if let Err(error @ Error::Driver { .. }) = primary.frontier().await {
        return Err(privileges(error));
    }
    let asked = join_all(replicas.iter().map(|replica| timeout(REPLICA_LIMIT, replica.hello()))).await;
    for (replica, answer) in replicas.iter().zip(asked) {
        let follower = match answer {
            Ok(Ok(follower)) => follower,
            Ok(Err(error)) => {
                unchecked(replica, &error);
                continue;
            }
            Err(elapsed) => {
                unchecked(replica, &elapsed);
                continue;
            }
        };
        if let Some(reason) = unfit(&follower) {
            return Err(refuse(replica, reason));
        }
        match timeout(REPLICA_LIMIT, replica.set_of(&follower)).await {
            Ok(Ok(other)) if other != set => {
                return Err(refuse(replica, "is a member of another replica set: check its address"));
            }
            Ok(Ok(_)) => {}
            Ok(Err(error)) => unchecked(replica, &error),
            Err(elapsed) => unchecked(replica, &elapsed),
        }
    }
    Ok(())
}

/// What no server of a store may be.
fn unfit(hello: &Hello) -> Option<&'static str> {
    match hello.role {
        Role::Alone => {
            Some("is no member of a replica set, so its writes have no position: start it with --replSet")
        }
        Role::Router => {
            Some("is a mongos: sharded clusters are not supported, make each shard a store of its own")
        }
        Role::Arbiter => Some("is an arbiter, which has no data: name a member that has"),
        _ if hello.wire_version < OLDEST_WIRE_VERSION => Some("is older than MongoDB 6.0: upgrade it"),
        Role::Primary | Role::Secondary | Role::Unready => None,
    }
}

fn unchecked(replica: &Server, error: &dyn std::error::Error) {
    let (store, name) = (replica.store, replica.name);
    tracing::warn!(%store, replica = %name, %error, "replica could not be checked");
}

fn refuse(server: &Server, reason: &str) -> CheckError {
    CheckError::new(server.store, format!("the server behind {} {reason}", server.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_keep_the_promise_is_refused() {
        let server = |role, wire_version| Hello {
            role,
            set: Some("rs".to_owned()),
            process: None,
            applied: None,
            committed: None,
            wire_version,
        };
        let reason = |role, wire_version| unfit(&server(role, wire_version));
        assert!(reason(Role::Alone, 17).unwrap().contains("--replSet"));
        assert!(reason(Role::Router, 17).unwrap().contains("mongos"));
        assert!(reason(Role::Arbiter, 17).unwrap().contains("arbiter"));
        assert!(reason(Role::Primary, 16).unwrap().contains("6.0"));
        for role in [Role::Primary, Role::Secondary, Role::Unready] {
            assert_eq!(reason(role, 17), None, "{role:?}");
        }
    }
}
